//! The log of a run as text: the same for the same plan, byte for byte.

use std::fmt::Write as _;

use sandbox::{Timestamp, World};

/// Returns the log of everything in a world so far, with the deeds of the plan.
pub fn of(world: &World, deeds: &[(Timestamp, String)]) -> String {
    let mut lines: Vec<(Timestamp, String)> = deeds.iter().map(|(at, deed)| (*at, format!("deed  {deed}"))).collect();
    lines.extend(world.events.log.iter().map(|event| {
        let (id, state) = (&event.detail["instance-id"], &event.detail["state"]);
        (event.time, format!("event {id} {state}"))
    }));
    lines.extend(world.calls.iter().map(|call| {
        let parameters = call.parameters.iter().filter(|(name, _)| !["Action", "Version"].contains(&name.as_str()));
        let parameters: Vec<String> = parameters.map(|(name, value)| format!("{name}={value}")).collect();
        let outcome = match &call.outcome {
            None => "no work was done",
            Some(Ok(())) => "ok",
            Some(Err(code)) => code,
        };
        let (number, key, action) = (call.number, &call.access_key, call.iam_action());
        (call.at, format!("call  {number} {key} {action} {}: {outcome}", parameters.join(" ")))
    }));
    lines.extend(world.lambda.log.iter().map(|ended| {
        let how = match &ended.result {
            Ok(answer) => answer.to_string(),
            Err(error) => format!("failed: {error}"),
        };
        (ended.at, format!("ended {} {}: {how}", ended.function, ended.access_key))
    }));
    // The sort is stable: events of the same time stay in their own order.
    lines.sort_by_key(|(at, _)| *at);
    lines.iter().fold(String::new(), |mut text, (at, line)| {
        let _ = writeln!(text, "{} {line}", at.format("%H:%M:%S%.3f"));
        text
    })
}
