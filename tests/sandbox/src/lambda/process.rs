//! Keeps a real function binary running at the Runtime API, with the environment that Lambda would give it.

use std::{collections::BTreeMap, io, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use super::{FunctionSpec, LOG_STREAM, kill_caller, runtime_api::RuntimeApi, serve_runtime};
use crate::{Sandbox, world::REGION};

/// How long after the end of a process the next one starts, in real time. Too small: a binary that ends at once keeps a core
/// busy. Too large: invocations wait.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// The program to run.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The function's name; it must have been created.
    pub function: String,
    /// Its binary.
    pub binary: PathBuf,
    /// The address of the simulated AWS: [`crate::server::Server::endpoint_url`].
    pub endpoint_url: String,
    /// Variables besides the function's own.
    pub environment: BTreeMap<String, String>,
}

/// A function's process, and its successors after a crash. The process ends when this is dropped.
#[derive(Debug)]
pub struct FunctionProcess {
    access_key: String,
    keeper: JoinHandle<()>,
}

impl FunctionProcess {
    /// Returns the key that it calls AWS with.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }
}

impl Drop for FunctionProcess {
    fn drop(&mut self) {
        // This drops the child with it, which is killed then.
        self.keeper.abort();
    }
}

/// Starts a process of a function: one execution environment. Each line that it writes goes to `on_line`.
///
/// It is killed and started again if an invocation of it times out or a fault kills it. It is also started again if it ends by
/// itself, as Lambda does with an environment that broke.
///
/// # Errors
/// If there is no such function, or the binary cannot be started.
pub async fn spawn(
    sandbox: &Sandbox,
    launch: Launch,
    on_line: impl Fn(&str) + Send + Sync + 'static,
) -> io::Result<FunctionProcess> {
    let runtime = serve_runtime(sandbox, &launch.function).await?;
    let variables = variables(sandbox, &launch, &runtime);
    let access_key = runtime.access_key().to_owned();
    let on_line: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(on_line);
    // The first start is awaited, so that a wrong path is the caller's error.
    let first = start(&launch, &variables, &on_line)?;
    let keeper = tokio::spawn(keep(sandbox.clone(), launch, runtime, variables, first, on_line));
    Ok(FunctionProcess { access_key, keeper })
}

async fn keep(
    sandbox: Sandbox,
    launch: Launch,
    runtime: RuntimeApi,
    variables: BTreeMap<String, String>,
    mut child: Child,
    on_line: Arc<dyn Fn(&str) + Send + Sync>,
) {
    let mut deaths: watch::Receiver<u64> = runtime.deaths.clone();
    loop {
        tokio::select! {
            _ = child.wait() => {}
            _ = deaths.changed() => {
                // This fails only if it has ended by itself meanwhile.
                let _ = child.kill().await;
            }
        }
        sandbox.with(|world| kill_caller(world, runtime.access_key()));
        tokio::time::sleep(RESTART_AFTER).await;
        // Earlier deaths were those of the process that is gone.
        deaths.mark_unchanged();
        match start(&launch, &variables, &on_line) {
            Ok(next) => child = next,
            Err(error) => return on_line(&format!("cannot start {}: {error}", launch.binary.display())),
        }
    }
}

fn start(
    launch: &Launch,
    variables: &BTreeMap<String, String>,
    on_line: &Arc<dyn Fn(&str) + Send + Sync>,
) -> io::Result<Child> {
    let mut child = Command::new(&launch.binary)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    pass_on(child.stdout.take(), on_line);
    pass_on(child.stderr.take(), on_line);
    Ok(child)
}

fn pass_on(stream: Option<impl AsyncRead + Unpin + Send + 'static>, on_line: &Arc<dyn Fn(&str) + Send + Sync>) {
    let Some(stream) = stream else { return };
    let on_line = on_line.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            on_line(&line);
        }
    });
}

/// Returns the environment of a function's process, for callers that start it otherwise than by [`spawn`].
///
/// As in Lambda's guide, "Using environment variables": the reserved ones, then the function's own, then the caller's.
pub fn variables(sandbox: &Sandbox, launch: &Launch, runtime: &RuntimeApi) -> BTreeMap<String, String> {
    let spec = sandbox.with(|world| world.lambda.function(&launch.function).cloned());
    let spec = spec.unwrap_or_else(|| FunctionSpec::new(&launch.function));
    let (name, address) = (launch.function.as_str(), runtime.address().to_string());
    let reserved = [
        ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
        ("AWS_ENDPOINT_URL", &launch.endpoint_url),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", runtime.access_key()),
        ("AWS_SECRET_ACCESS_KEY", "sandbox"),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &spec.memory.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &spec.log.group),
        ("AWS_LAMBDA_LOG_FORMAT", if spec.log.level.is_some() { "JSON" } else { "Text" }),
        ("AWS_LAMBDA_LOG_STREAM_NAME", LOG_STREAM),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("_HANDLER", "bootstrap"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("TZ", ":UTC"),
    ];
    let mut variables: BTreeMap<String, String> =
        reserved.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.extend(std::env::var("PATH").map(|path| ("PATH".to_owned(), path)));
    variables.extend(spec.log.level.map(|level| ("AWS_LAMBDA_LOG_LEVEL".to_owned(), level)));
    variables.extend(spec.environment);
    variables.extend(launch.environment.clone());
    variables
}
