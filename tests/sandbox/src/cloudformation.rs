//! AWS CloudFormation: the description of a deployed stack. The sandbox deploys `template.yaml` by itself, so no other operation is modelled.

use crate::{
    deployment::{STACK, Stack},
    wire::{Answer, ApiError, Request, xml::Element},
    world::{ACCOUNT, REGION, World},
};

/// Does a call's work.
///
/// # Errors
/// Returns the errors of CloudFormation.
pub fn answer(world: &World, request: &Request) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // The decoder has read them already; here they count as read.
    let _ = (params.optional("Action"), params.optional("Version"));
    match request.action.as_str() {
        "DescribeStacks" => {
            let name = params.optional("StackName");
            // The words of <https://github.com/boto/boto3/issues/2807>.
            let missing = |name: &String| name != STACK || world.stack.is_none();
            if let Some(name) = name.filter(missing) {
                return Err(ApiError::sender("ValidationError", format!("Stack with id {name} does not exist")));
            }
            Ok(Answer::Xml(Element::result().list("Stacks", world.stack.as_ref().map(show))))
        }
        action => Err(ApiError::not_modelled(format!("the operation {action} of CloudFormation"))),
    }
}

/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Stack.html>
fn show(stack: &Stack) -> Element {
    let pair = |names: (&str, &str), (name, value): (&String, &String)| {
        Element::new("member").text(names.0, name).text(names.1, value)
    };
    let parameters = stack.parameters.iter().map(|one| pair(("ParameterKey", "ParameterValue"), one));
    let outputs = stack.outputs.iter().map(|one| pair(("OutputKey", "OutputValue"), one));
    Element::new("member")
        .text(
            "StackId",
            format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/00000000-0000-4000-8000-000000000001"),
        )
        .text("StackName", STACK)
        .text("StackStatus", "CREATE_COMPLETE")
        .text("CreationTime", "2026-01-05T08:00:00.000Z")
        .list("Parameters", parameters.collect::<Vec<_>>())
        .list("Outputs", outputs.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::{Reply, Sandbox, deployment};

    async fn describe(sandbox: &Sandbox, name: &str) -> (u16, String) {
        let body = Bytes::from(format!("Action=DescribeStacks&Version=2010-05-15&StackName={name}"));
        let Reply::Answered(response) = sandbox.call(http::Request::post("/").body(body).unwrap()).await else {
            panic!("no answer")
        };
        (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_deployed_stack_tells_its_parameters_and_outputs() {
        let sandbox = Sandbox::in_virtual_time();
        assert_eq!(describe(&sandbox, deployment::STACK).await.0, 400);
        sandbox.with(|world| deployment::deploy(world, &[("Mode", "enforce")])).unwrap();
        let (status, body) = describe(&sandbox, deployment::STACK).await;
        let mode = "<ParameterKey>Mode</ParameterKey><ParameterValue>enforce</ParameterValue>";
        assert!(status == 200 && body.contains(mode) && body.contains("<OutputKey>LifecycleHookPrefix</OutputKey>"));
        let (status, body) = describe(&sandbox, "another").await;
        assert!(status == 400 && body.contains("Stack with id another does not exist"), "{body}");
    }
}
