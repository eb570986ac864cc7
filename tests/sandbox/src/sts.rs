//! AWS Security Token Service: who the caller is. Cloud Custodian asks for the account, to make ARNs with it.

use crate::{
    wire::{Answer, ApiError, Request, xml::Element},
    world::ACCOUNT,
};

/// Does a call's work.
///
/// # Errors
/// Returns the errors of STS.
pub fn answer(request: &Request) -> Result<Answer, ApiError> {
    let params = request.params()?;
    // The decoder has read them already; here they count as read.
    let _ = (params.optional("Action"), params.optional("Version"));
    match request.action.as_str() {
        "GetCallerIdentity" => Ok(Answer::Xml(caller(&request.access_key))),
        action => Err(ApiError::not_modelled(format!("the operation {action} of STS"))),
    }
}

/// Returns the identity of a caller: a user of the account, since every key is accepted here.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
fn caller(access_key: &str) -> Element {
    Element::result()
        .text("UserId", access_key)
        .text("Account", ACCOUNT)
        .text("Arn", format!("arn:aws:iam::{ACCOUNT}:user/sandbox"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::{Reply, Sandbox, world::ACCOUNT};

    #[tokio::test(start_paused = true)]
    async fn a_caller_learns_its_account_and_no_more() {
        let sandbox = Sandbox::in_virtual_time();
        for (action, status, word) in [("GetCallerIdentity", 200, ACCOUNT), ("AssumeRole", 501, "NotModelledBySandbox")]
        {
            let body = Bytes::from(format!("Action={action}&Version=2011-06-15"));
            let Reply::Answered(response) = sandbox.call(http::Request::post("/").body(body).unwrap()).await else {
                panic!("no answer to {action}")
            };
            assert_eq!(response.status().as_u16(), status);
            assert!(String::from_utf8_lossy(response.body()).contains(word), "{action}");
        }
    }
}
