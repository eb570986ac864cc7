//! AWS Lambda: functions, their sources of invocations, and the fate of their answers.
//!
//! An invocation waits until an *execution environment* of the function takes it: a slot of an in-process executor
//! ([`in_process`]) or a real process at the Runtime API ([`runtime_api`], [`process`]). Each environment has an access key of
//! its own, so that a fault that kills the caller of an AWS call hits the invocation that made it, and no other. It ends with an
//! answer, an error, a timeout or a death ([`Ending`]). `invocation` tells the one that waits for it.

mod chain;
pub mod in_process;
mod invocation;
pub mod process;
pub mod runtime_api;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::{
    Sandbox,
    clock::Timestamp,
    iam::Policy,
    wire::{Answer, ApiError, Request},
    world::{ACCOUNT, REGION, World},
};

pub use chain::Chain;
pub use in_process::run_in_process;
pub use invocation::{Ended, Ending, Origin};
pub use runtime_api::serve_runtime;
pub use source::{BatchSettings, map_queue, record};

pub(crate) use chain::chain_of_caller;
pub(crate) use invocation::finish;
pub(crate) use source::{is_mapped, poll};

/// The log stream of every execution environment: its lines are not kept.
const LOG_STREAM: &str = "2026/01/05/[$LATEST]00000000000000000000000000000000";

/// The invocations that an account may run at the same time, for functions without a reservation.
const ACCOUNT_CONCURRENCY: usize = 1_000;

/// Functions, event source mappings, invocations.
#[derive(Debug, Default)]
pub struct State {
    functions: BTreeMap<String, Function>,
    mappings: Vec<source::Mapping>,
    /// The invocations that wait or run, by request id.
    invocations: BTreeMap<String, invocation::Record>,
    /// How long a process must stand still, by its access key, until its executor has seen it.
    frozen: BTreeMap<String, Duration>,
    /// Every attempt that ended, in order.
    pub log: Vec<Ended>,
    /// The invocations that Lambda has stopped as parts of a loop (the metric `RecursiveInvocationsDropped`), by function.
    pub dropped: Vec<String>,
}

/// The configuration of a function.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Its name.
    pub name: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// The first letters of its execution environments' access keys; four digits follow.
    pub access_key: String,
    /// Reserved concurrency.
    pub reserved_concurrency: Option<usize>,
    /// Environment variables, for real processes.
    pub environment: BTreeMap<String, String>,
    /// The role that it calls AWS with. Without one it may do everything.
    pub role: Option<String>,
    /// Its resource policy: the other callers that may invoke it. Without one, no service may.
    pub policy: Option<Policy>,
    /// How often an asynchronous invocation that failed is tried again.
    pub async_retries: u32,
    /// How old an asynchronous invocation may be when it is tried again.
    pub async_age: Duration,
    /// Megabytes.
    pub memory: u64,
    /// The settings of its log.
    pub log: LogSettings,
    /// Whether Lambda sends traces in its name.
    pub is_traced: bool,
    /// `RecursiveLoop: Allow`: one chain of requests may invoke it any number of times.
    pub may_loop: bool,
    /// The queue that is told of asynchronous invocations that failed for good (an on-failure destination).
    pub failure_queue: Option<String>,
}

impl FunctionSpec {
    /// Returns a function with Lambda's defaults.
    pub fn new(name: &str) -> Self {
        let letters = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_uppercase();
        Self {
            name: name.to_owned(),
            timeout: Duration::from_secs(3),
            access_key: format!("AKIA{letters}"),
            reserved_concurrency: None,
            role: None,
            policy: None,
            async_retries: 2,
            async_age: Duration::from_secs(21_600),
            memory: 128,
            log: LogSettings::of(name),
            is_traced: false,
            may_loop: false,
            environment: BTreeMap::new(),
            failure_queue: None,
        }
    }
}

/// The settings of a function's log: its group, and its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The log group.
    pub group: String,
    /// The lowest level that is logged; `None` if the log is plain text, for which Lambda has no levels.
    pub level: Option<String>,
}

impl LogSettings {
    /// Returns Lambda's own settings for a function of this name.
    pub fn of(function: &str) -> Self {
        Self { group: format!("/aws/lambda/{function}"), level: None }
    }

    /// Returns the ARN of the log stream of one execution environment.
    fn stream_arn(&self) -> String {
        format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{}:log-stream:{LOG_STREAM}", self.group)
    }
}

/// One invocation, as an executor gets it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// In the form of a UUID.
    pub request_id: String,
    /// The event.
    pub payload: Value,
    /// When Lambda will end it, on the simulated clock.
    pub deadline: Timestamp,
    /// Of the function.
    pub function_arn: String,
    /// The key of the execution environment: its AWS clients must sign with it.
    pub access_key: String,
}

#[derive(Debug)]
struct Function {
    spec: FunctionSpec,
    /// Request ids, the oldest first.
    waiting: VecDeque<String>,
    /// Counts up whenever an executor should look for work. Closed with the sandbox, which ends the executors.
    work: watch::Sender<u64>,
    environments: u32,
    /// Keys of in-process environments that can be used again, the first made first.
    idle: BTreeSet<String>,
    /// For each environment that is a process: counts its deaths, and so tells its keeper to end it.
    deaths: BTreeMap<String, watch::Sender<u64>>,
}

impl Function {
    fn limit(&self) -> usize {
        self.spec.reserved_concurrency.unwrap_or(ACCOUNT_CONCURRENCY)
    }

    fn new_environment(&mut self) -> String {
        self.environments += 1;
        format!("{}{:04}", self.spec.access_key, self.environments)
    }

    fn tell_executors(&self) {
        self.work.send_modify(|count| *count += 1);
    }
}

impl State {
    /// Returns the configuration of a function.
    pub fn function(&self, name: &str) -> Option<&FunctionSpec> {
        self.functions.get(name).map(|function| &function.spec)
    }

    /// Returns the function that one of its environments' access keys belongs to.
    pub fn function_with_key(&self, access_key: &str) -> Option<&FunctionSpec> {
        let (stem, _) = access_key.split_at_checked(access_key.len().checked_sub(4)?)?;
        self.functions.values().map(|function| &function.spec).find(|spec| spec.access_key == stem)
    }

    /// Returns how many invocations of a function run.
    pub fn running(&self, function: &str) -> usize {
        self.invocations.values().filter(|record| record.function == function && record.is_running()).count()
    }

    /// Returns how many invocations wait or run, of all functions.
    pub fn open_invocations(&self) -> usize {
        self.invocations.len()
    }

    /// Returns how an invocation ended, at its last attempt so far.
    pub fn ended(&self, request_id: &str) -> Option<&Ended> {
        self.log.iter().rev().find(|ended| ended.request_id == request_id)
    }
}

/// Creates a function, or changes its configuration.
pub fn create_function(world: &mut World, spec: FunctionSpec) {
    if let Some(existing) = world.lambda.functions.get_mut(&spec.name) {
        existing.spec = spec;
        return;
    }
    let function = Function {
        spec,
        waiting: VecDeque::new(),
        work: watch::Sender::new(0),
        environments: 0,
        idle: BTreeSet::new(),
        deaths: BTreeMap::new(),
    };
    world.lambda.functions.insert(function.spec.name.clone(), function);
}

/// Invokes a function synchronously. Its answer is in [`State::ended`] under the request id that this returns.
///
/// # Errors
/// If there is no such function, or it runs as often as it may.
pub fn invoke(world: &mut World, function: &str, payload: Value) -> Result<String, ApiError> {
    invocation::begin(world, function, payload, Origin::Direct, None)
}

/// Invokes a function asynchronously: a failure is retried twice. Returns the request id.
///
/// # Errors
/// If there is no such function.
pub fn invoke_async(world: &mut World, function: &str, payload: Value) -> Result<String, ApiError> {
    invocation::begin(world, function, payload, Origin::Async { attempt: 1 }, None)
}

/// Ends the process that calls with this access key, and with it the process's invocation.
pub fn kill_caller(world: &mut World, access_key: &str) {
    let running = |record: &invocation::Record| record.runs_in(access_key);
    let found = world.lambda.invocations.iter().find(|(_, record)| running(record)).map(|(id, _)| id.clone());
    if let Some(request_id) = found {
        finish(world, &request_id, Ending::Died);
    }
}

/// Lets the process that calls with this access key stand still for a time.
///
/// # Panics
/// If it is a process of its own, whose clock is not simulated.
pub fn freeze_caller(world: &mut World, access_key: &str, duration: Duration) {
    let mut functions = world.lambda.functions.values();
    let is_process = functions.any(|function| function.deaths.contains_key(access_key));
    assert!(!is_process, "{access_key} is a process of its own, and freezing one is not modelled");
    world.lambda.frozen.insert(access_key.to_owned(), duration);
}

/// Functions on one page of ListFunctions: "up to 50 items in each response, even if you set the number higher"
/// (<https://docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html>).
const FUNCTIONS_PER_PAGE_MAX: usize = 50;

/// Does the work of a call that is not Invoke.
///
/// # Errors
/// Returns the errors of Lambda.
pub(crate) fn answer(world: &World, request: &Request) -> Result<Answer, ApiError> {
    let params = request.params()?;
    match request.action.as_str() {
        "ListFunctions" => {
            let most = params.optional("MaxItems").map(|text| text.parse::<usize>());
            let most =
                most.transpose().ok().flatten().unwrap_or(FUNCTIONS_PER_PAGE_MAX).clamp(1, FUNCTIONS_PER_PAGE_MAX);
            let after = params.optional("Marker").unwrap_or_default();
            let mut left =
                world.lambda.functions.values().map(|function| &function.spec).filter(|spec| spec.name > after);
            let page: Vec<&FunctionSpec> = left.by_ref().take(most).collect();
            let mut listed = json!({ "Functions": page.iter().map(|spec| described(spec)).collect::<Vec<_>>() });
            if let (Some(last), true) = (page.last(), left.next().is_some()) {
                listed["NextMarker"] = last.name.as_str().into();
            }
            Ok(Answer::Json(listed))
        }
        action => Err(ApiError::not_modelled(format!("the operation {action} of Lambda"))),
    }
}

fn described(spec: &FunctionSpec) -> Value {
    let mut described = json!({
        "FunctionName": spec.name,
        "FunctionArn": arn(&spec.name),
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Timeout": spec.timeout.as_secs(),
        "MemorySize": spec.memory,
        "Version": "$LATEST",
        "PackageType": "Zip",
    });
    // "If there are no environment variables", the field is not there.
    if !spec.environment.is_empty() {
        described["Environment"] = json!({ "Variables": spec.environment });
    }
    described
}

/// Returns the ARN of a function.
pub fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// Returns the name in the ARN of a function of this account and Region.
pub fn name_of_arn(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:aws:lambda:")?.strip_prefix(REGION)?.strip_prefix(':')?;
    rest.strip_prefix(ACCOUNT)?.strip_prefix(":function:")
}

impl Sandbox {
    /// Invokes a function and waits for its answer.
    ///
    /// # Errors
    /// The function's error, or the reason why it was not invoked, in Lambda's form of an error.
    pub async fn invoke(&self, function: &str, payload: Value) -> Result<Value, Value> {
        let (told, answer) = oneshot::channel();
        let begun = self.with(|world| invocation::begin(world, function, payload, Origin::Direct, Some(told)));
        begun.map_err(|error| json!({ "errorType": error.code, "errorMessage": error.message }))?;
        let gone = || Err(json!({ "errorType": "Sandbox.Gone", "errorMessage": "the sandbox ended" }));
        answer.await.unwrap_or_else(|_| gone())
    }
}
