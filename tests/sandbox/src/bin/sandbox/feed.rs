//! Everything that happens, as lines for people.

use std::time::Duration;

use sandbox::{Call, Sandbox, Timestamp, events::Event, lambda::Ended, log_line::LogLine};
use tokio::sync::mpsc::UnboundedReceiver;

/// How often new lines are printed. Calls are printed after their answer, so a little late and in their order.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks after which a call is printed although it has no answer: its caller was killed, or it takes long.
const LOOKS_FOR_AN_ANSWER: u32 = 50;

/// A line, and its time.
pub(crate) type Line = (Timestamp, String);

/// Prints events, calls, invocations and lines of functions, until it is dropped.
pub(crate) async fn print_what_happens(sandbox: &Sandbox, mut said: UnboundedReceiver<Line>) {
    let (mut events_seen, mut calls_seen, mut ended_seen, mut looks) = (0, 0, 0, 0);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut lines: Vec<Line> = Vec::new();
        let (events, calls, ended): (Vec<Event>, Vec<Call>, Vec<Ended>) = sandbox.with(|world| {
            let events = world.events.log[events_seen..].to_vec();
            (events, world.calls[calls_seen..].to_vec(), world.lambda.log[ended_seen..].to_vec())
        });
        events_seen += events.len();
        lines.extend(events.iter().map(of_event));
        for call in calls {
            if call.outcome.is_none() && looks < LOOKS_FOR_AN_ANSWER {
                looks += 1;
                break;
            }
            (calls_seen, looks) = (calls_seen + 1, 0);
            lines.push(of_call(&call));
        }
        lines.extend(std::iter::from_fn(|| said.try_recv().ok()));
        ended_seen += ended.len();
        lines.extend(ended.iter().map(of_invocation));
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().for_each(|(at, text)| println!("{} {text}", at.format("%H:%M:%S")));
    }
}

fn of_event(event: &Event) -> Line {
    (event.time, format!("event {}: {}", event.detail_type, event.detail))
}

pub(crate) fn sentence(function: &str, line: &LogLine) -> String {
    let instance = line.instance.as_deref().map(|id| format!("{id}: ")).unwrap_or_default();
    format!("{function} says: {instance}{line}")
}

fn of_call(call: &Call) -> Line {
    let outcome = match &call.outcome {
        Some(Ok(())) => "ok",
        Some(Err(code)) => code,
        None => "no answer",
    };
    let hidden = |name: &str| name == "Action" || name == "Version";
    let parameters: Vec<String> = call
        .parameters
        .iter()
        .filter(|(name, _)| !hidden(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (call.at, format!("{} {} {} -> {outcome}", call.access_key, call.iam_action(), parameters.join(" ")))
}

fn of_invocation(ended: &Ended) -> Line {
    let (Ok(result) | Err(result)) = &ended.result;
    let word = if ended.result.is_ok() { "answered" } else { "failed" };
    (ended.at, format!("{} lambda:{} {} {word} {result}", ended.access_key, ended.function, ended.request_id))
}
