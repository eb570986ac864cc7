//! The life of an invocation: it begins, an environment takes it, it ends, and its caller is told.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Chain, Function, FunctionSpec, Invocation, arn, source};
use crate::{
    clock::{Timestamp, delta},
    iam, sqs,
    wire::ApiError,
    world::World,
};

/// How long the n-th retry of an asynchronous invocation waits: one minute, then two (Lambda guide, "Asynchronous invocation").
const ASYNC_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The cause of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A caller that waits.
    Direct,
    /// A rule, or a caller that does not wait.
    Async {
        /// From 1.
        attempt: u32,
    },
    /// An event source mapping, with the message ids of the batch.
    Queue {
        /// The queue's name.
        queue: String,
        /// Message ids and receipt handles.
        messages: Vec<(String, String)>,
        /// The chain of requests, this invocation included.
        chain: Chain,
    },
}

/// How one attempt at an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With an answer.
    Answered(Value),
    /// With an error that the function reported.
    Failed(Value),
    /// It took longer than the function may; its environment is gone.
    TimedOut,
    /// Its process ended without an answer; its environment is gone.
    Died,
}

/// One attempt that ended, for tests and for people who watch.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The request id, which is the same at each attempt.
    pub request_id: String,
    /// The function's name.
    pub function: String,
    /// The environment's.
    pub access_key: String,
    /// The cause.
    pub origin: Origin,
    /// The event.
    pub payload: Value,
    /// When an environment took it.
    pub started: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// The way in which it ended.
    pub ending: Ending,
    /// The answer, or the error in Lambda's form.
    pub result: Result<Value, Value>,
}

/// An invocation that waits or runs.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) function: String,
    payload: Value,
    origin: Origin,
    /// When it was entered, for an age limit.
    entered: Timestamp,
    running: Option<Running>,
    told: Option<oneshot::Sender<Result<Value, Value>>>,
}

#[derive(Debug)]
struct Running {
    access_key: String,
    started: Timestamp,
    /// Dropped with the record: the task with the other end sees that the invocation is over.
    _over: oneshot::Sender<()>,
}

/// The environment that takes an invocation.
pub(super) enum Taker<'a> {
    /// An idle one of the in-process executor, or a new one. The simulated clock enforces the timeout.
    InProcess,
    /// A process, by its access key. It has a real clock, so its keeper enforces the timeout.
    Process(&'a str),
}

impl Record {
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Returns the chain of requests that it belongs to. Only events of a queue have one here.
    pub(super) fn chain(&self) -> Option<&Chain> {
        match &self.origin {
            Origin::Queue { chain, .. } => Some(chain),
            Origin::Direct | Origin::Async { .. } => None,
        }
    }

    /// Returns whether it needs room at once. Lambda keeps asynchronous invocations in a queue of its own until there is room.
    fn takes_room(&self) -> bool {
        self.is_running() || !matches!(self.origin, Origin::Async { .. })
    }

    pub(super) fn runs_in(&self, access_key: &str) -> bool {
        self.running.as_ref().is_some_and(|running| running.access_key == access_key)
    }
}

/// Enters an invocation, and returns its request id.
pub(super) fn begin(
    world: &mut World,
    function: &str,
    payload: Value,
    origin: Origin,
    told: Option<oneshot::Sender<Result<Value, Value>>>,
) -> Result<String, ApiError> {
    let request_id = world.invent_uuid();
    let open = world.lambda.invocations.values().filter(|r| r.function == function && r.takes_room()).count();
    let Some(found) = world.lambda.functions.get_mut(function) else {
        let message = format!("Function not found: {}", arn(function));
        return Err(ApiError::receiver(404, "ResourceNotFoundException", message));
    };
    if !matches!(origin, Origin::Async { .. }) && open >= found.limit() {
        return Err(ApiError::receiver(429, "TooManyRequestsException", "Rate Exceeded."));
    }
    found.waiting.push_back(request_id.clone());
    found.tell_executors();
    let (entered, function) = (world.now(), function.to_owned());
    let record = Record { function, payload, origin, entered, running: None, told };
    world.lambda.invocations.insert(request_id.clone(), record);
    Ok(request_id)
}

/// Gives the oldest waiting invocation to an environment, with a receiver that ends when the invocation is over.
pub(super) fn take(world: &mut World, name: &str, taker: &Taker<'_>) -> Option<(Invocation, oneshot::Receiver<()>)> {
    let (now, running) = (world.now(), world.lambda.running(name));
    let function = world.lambda.functions.get_mut(name).filter(|function| running < function.limit())?;
    let request_id = function.waiting.pop_front()?;
    let access_key = match taker {
        Taker::InProcess => function.idle.pop_first().unwrap_or_else(|| function.new_environment()),
        Taker::Process(access_key) => (*access_key).to_owned(),
    };
    let timeout = function.spec.timeout;
    let (over, is_over) = oneshot::channel();
    let record = world.lambda.invocations.get_mut(&request_id)?;
    record.running = Some(Running { access_key: access_key.clone(), started: now, _over: over });
    let invocation = Invocation {
        request_id: request_id.clone(),
        payload: record.payload.clone(),
        deadline: now + delta(timeout),
        function_arn: arn(name),
        access_key: access_key.clone(),
    };
    use_role(world, name);
    if matches!(taker, Taker::InProcess) {
        world.after(timeout, move |world| time_out(world, &request_id, &access_key));
    }
    Some((invocation, is_over))
}

/// Does Lambda's work in the name of a function's role at each invocation: it writes the log, and sends traces. If the role may
/// not, the function runs all the same.
fn use_role(world: &mut World, function: &str) {
    let Some(FunctionSpec { role: Some(role), log, is_traced, .. }) = world.lambda.function(function).cloned() else {
        return;
    };
    let stream = log.stream_arn();
    let mut needed = vec![("logs:CreateLogStream", stream.as_str()), ("logs:PutLogEvents", &stream)];
    if is_traced {
        needed.extend([("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")]);
    }
    for (action, resource) in needed {
        iam::role_may(world, Some(&role), action, resource);
    }
}

/// Ends an attempt that an environment is still working on. A retry has the same request id, so the environment decides.
pub(super) fn time_out(world: &mut World, request_id: &str, access_key: &str) {
    let record = world.lambda.invocations.get(request_id);
    if record.is_some_and(|record| record.runs_in(access_key)) {
        finish(world, request_id, Ending::TimedOut);
    }
}

/// Ends the running attempt at an invocation. Returns whether there was one: after a timeout, an answer comes too late.
pub(crate) fn finish(world: &mut World, request_id: &str, ending: Ending) -> bool {
    if !world.lambda.invocations.get(request_id).is_some_and(Record::is_running) {
        return false;
    }
    let Some(record) = world.lambda.invocations.remove(request_id) else { return false };
    let (Record { function, payload, origin, entered, running: Some(running), told }, now) = (record, world.now())
    else {
        return false;
    };
    let Some(found) = world.lambda.functions.get_mut(&function) else { return false };
    release(found, &running.access_key, &ending);
    let result = result_of(&ending, request_id, found.spec.timeout);
    let (failure_queue, retries, age) =
        (found.spec.failure_queue.clone(), found.spec.async_retries, found.spec.async_age);
    let is_young = |attempt| now + delta(ASYNC_RETRY_AFTER * attempt) <= entered + delta(age);
    world.lambda.log.push(Ended {
        request_id: request_id.to_owned(),
        function: function.clone(),
        access_key: running.access_key.clone(),
        origin: origin.clone(),
        payload: payload.clone(),
        started: running.started,
        at: now,
        ending,
        result: result.clone(),
    });
    match origin {
        Origin::Direct => {
            // The caller may have gone away meanwhile.
            let _ = told.map(|told| told.send(result));
        }
        Origin::Async { attempt } => match result {
            Ok(_) => {}
            Err(_) if attempt <= retries && is_young(attempt) => {
                retry(world, request_id, &function, payload, attempt, entered);
            }
            Err(error) => {
                if let Some(queue) = failure_queue {
                    // Lambda has two words for it.
                    let condition = if attempt <= retries { "EventAgeExceeded" } else { "RetriesExhausted" };
                    let ending = (condition, attempt, &error);
                    give_up(world, request_id, &function, &queue, payload, ending);
                }
            }
        },
        Origin::Queue { queue, messages, .. } => source::settle(world, &queue, &messages, &result),
    }
    source::poll_all_of(world, &function);
    true
}

/// Uses a healthy in-process environment again, but not one that died. The keeper of a process that died is told.
fn release(function: &mut Function, access_key: &str, ending: &Ending) {
    let is_process = function.deaths.get(access_key);
    match (ending, is_process) {
        (Ending::Answered(_) | Ending::Failed(_), None) => {
            function.idle.insert(access_key.to_owned());
        }
        (Ending::TimedOut | Ending::Died, Some(deaths)) => deaths.send_modify(|count| *count += 1),
        _ => {}
    }
    function.tell_executors();
}

/// The most bytes of an answer (Lambda guide, "Lambda quotas", "Invocation payload":
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). The figure and the sentence are as people quote them:
/// <https://github.com/serverless/serverless/issues/2484>.
const ANSWER_MAX: usize = 6_291_556;

fn result_of(ending: &Ending, request_id: &str, timeout: Duration) -> Result<Value, Value> {
    match ending {
        Ending::Answered(value) if value.to_string().len() > ANSWER_MAX => {
            let message = format!("Response payload size exceeded maximum allowed payload size ({ANSWER_MAX} bytes).");
            Err(json!({ "errorType": "Function.ResponseSizeTooLarge", "errorMessage": message }))
        }
        Ending::Answered(value) => Ok(value.clone()),
        Ending::Failed(error) => Err(error.clone()),
        Ending::TimedOut => {
            let message =
                format!("RequestId: {request_id} Error: Task timed out after {:.2} seconds", timeout.as_secs_f64());
            Err(json!({ "errorType": "Sandbox.Timedout", "errorMessage": message }))
        }
        Ending::Died => {
            let message = format!("RequestId: {request_id} Error: Runtime exited with error: signal: killed");
            Err(json!({ "errorType": "Runtime.ExitError", "errorMessage": message }))
        }
    }
}

fn retry(world: &mut World, request_id: &str, function: &str, payload: Value, attempt: u32, entered: Timestamp) {
    let origin = Origin::Async { attempt: attempt + 1 };
    let record = Record { function: function.to_owned(), payload, origin, entered, running: None, told: None };
    world.lambda.invocations.insert(request_id.to_owned(), record);
    let (request_id, function) = (request_id.to_owned(), function.to_owned());
    world.after(ASYNC_RETRY_AFTER * attempt, move |world| {
        if let Some(function) = world.lambda.functions.get_mut(&function) {
            function.waiting.push_back(request_id);
            function.tell_executors();
        }
    });
}

/// Tells the failure destination, if the function's role may.
fn give_up(
    world: &mut World,
    request_id: &str,
    function: &str,
    queue: &str,
    payload: Value,
    (condition, attempts, error): (&str, u32, &Value),
) {
    let role = world.lambda.function(function).and_then(|spec| spec.role.clone());
    if !iam::role_may(world, role.as_deref(), "sqs:SendMessage", &sqs::arn(queue)) {
        return;
    }
    let record = json!({
        "version": "1.0",
        "timestamp": world.now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "requestContext": {
            "requestId": request_id,
            "functionArn": format!("{}:$LATEST", arn(function)),
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": payload,
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "responsePayload": error,
    });
    let draft =
        sqs::Draft { body: record.to_string(), sender: "AIDALAMBDA000000000A".to_owned(), ..Default::default() };
    // If that queue is gone, the record is lost, as at AWS.
    let _ = sqs::send(world, queue, draft);
}
