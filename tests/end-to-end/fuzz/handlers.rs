//! The three functions as Lambda calls them. Whatever comes, the answer is one of the documented ones, and no function panics. No
//! function changes an instance that the input does not name, or one that is already as it should be.

use proptest::{option, prelude::*};
use sandbox::deployment::{INSTANCE_STATE, LIFECYCLE, RECONCILE};
use serde_json::Value;

use crate::{
    campaign::{Verdict, fuzz},
    mutation::any_metadata,
    sample::{Payload, any_payload},
    scene::{Lasting, Scene},
};

/// Cases in a round that share one scene at rest: they take some seconds.
const CASES_AT_REST: u32 = 120;

/// Cases in a round that each get a scene of their own.
const CASES_AT_WORK: u32 = 8;

/// A function, the first words of the names of its samples, and the payload made of them.
type Call = (&'static str, &'static str, Payload);

fn any_call(functions: &'static [&'static str]) -> impl Strategy<Value = Call> {
    let function = prop::sample::select(functions);
    (function, prop::bool::weighted(0.9), any_payload()).prop_map(|(function, is_its_own, payload)| match function {
        INSTANCE_STATE if is_its_own => (function, "instance-", payload),
        LIFECYCLE if is_its_own => (function, "lifecycle-", payload),
        RECONCILE if is_its_own => (function, "report-", payload),
        _ => (function, "", payload),
    })
}

/// Events are hints: an instance that is as it should be stays so, whatever an event says. A sweep finds no work either.
#[test]
fn no_input_changes_a_world_at_rest() {
    let lasting = Lasting::new(Scene::at_rest);
    let calls = any_call(&[INSTANCE_STATE, LIFECYCLE, RECONCILE]);
    fuzz("no_input_changes_a_world_at_rest", CASES_AT_REST, &calls, |(function, name, payload)| {
        lasting.with(|scene| {
            let payload = scene.with_ids(payload.value(&scene.samples(name)));
            let before = scene.belongings();
            let answer = scene.call(function, payload.clone());
            prop_assert_eq!(&scene.belongings(), &before, "{} of {}", function, payload);
            is_documented(&payload, &answer)
        })
    });
}

#[test]
fn an_input_changes_only_the_instance_that_it_names() {
    let calls = (any_call(&[INSTANCE_STATE, LIFECYCLE]), option::weighted(0.3, any_metadata()));
    fuzz("an_input_changes_only_the_instance_that_it_names", CASES_AT_WORK, &calls, |(call, metadata)| {
        let (scene, (function, name, payload)) = (Scene::at_work(), call);
        metadata.iter().for_each(|metadata| scene.write_at_hooks(metadata));
        let payload = scene.with_ids(payload.value(&scene.samples(name)));
        let before = scene.belongings();
        let answer = scene.call(function, payload.clone());
        let (after, text) = (scene.belongings(), payload.to_string());
        for (id, had) in before.into_iter().filter(|(id, _)| !text.contains(id.as_str())) {
            prop_assert_eq!(after.get(&id), Some(&had), "{} of {}", function, text);
        }
        // An event names an instance, and never decides about its registrations.
        if !metadata.is_some_and(|metadata| metadata.contains("clb:other")) {
            prop_assert_eq!(scene.taken_in(), Vec::<String>::new(), "{} of {}", function, text);
        }
        is_documented(&payload, &answer)
    });
}

#[test]
fn whatever_is_written_at_a_hook_is_taken_or_named() {
    fuzz("whatever_is_written_at_a_hook_is_taken_or_named", CASES_AT_WORK, &any_metadata(), |metadata| {
        let scene = Scene::at_work();
        scene.write_at_hooks(&metadata);
        let is_declared = metadata.contains("register");
        for sample in scene
            .samples("lifecycle-launch-from-ec2-to-group")
            .into_iter()
            .chain(scene.samples("lifecycle-terminate-from-group"))
        {
            let event = scene.with_ids(sample);
            let answer = scene.call(LIFECYCLE, event.clone());
            is_documented(&event, &answer)?;
            if let Err(error) = answer {
                let why = error["errorMessage"].as_str().unwrap_or_default();
                prop_assert!(is_declared || why.contains("`elb-registrar-"), "{metadata}: {error}");
            }
        }
        Ok(())
    });
}

/// A batch is answered with the messages that failed. All other calls are answered with a report, or with an error with a stable
/// name.
fn is_documented(payload: &Value, answer: &Result<Value, Value>) -> Verdict {
    match answer {
        Ok(answer) if answer.get("batchItemFailures").is_some() => is_answer_to_batch(payload, answer),
        Ok(report) => {
            prop_assert_eq!(&report["mode"], "enforce", "{}", report);
            prop_assert!(report["instances"].is_object(), "{report}");
            Ok(())
        }
        Err(error) => {
            let known = ["EventNotUnderstood", "CallFailed", "Incomplete"];
            prop_assert!(known.iter().any(|known| error["errorType"] == *known), "{error}");
            prop_assert!(error["errorMessage"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
            Ok(())
        }
    }
}

/// Every message that failed was in the batch. An empty id stands for all messages, if one of them had no id.
fn is_answer_to_batch(payload: &Value, answer: &Value) -> Verdict {
    prop_assert_eq!(answer.as_object().map(serde_json::Map::len), Some(1), "{}", answer);
    let records = payload["Records"].as_array();
    let sent = |id: &Value| records.is_some_and(|records| records.iter().any(|record| record["messageId"] == *id));
    for failure in answer["batchItemFailures"].as_array().into_iter().flatten() {
        let id = &failure["itemIdentifier"];
        prop_assert!(sent(id) || id == "", "{answer} to {payload}");
    }
    Ok(())
}
