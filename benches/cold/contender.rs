//! Who is measured: a process at the Runtime API, from its start to the answers to three events.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sandbox::{
    deployment::INSTANCE_STATE,
    lambda::{
        process::{self, Launch},
        runtime_api::RuntimeApi,
        serve_runtime,
    },
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::{front::Hosts, scene::Scene};

/// The job in Python.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cold/python");

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often each action of a service was called.
pub(crate) type Calls = BTreeMap<String, usize>;

/// A function in some language.
pub(crate) struct Contender {
    /// What the table calls it.
    pub(crate) name: String,
    program: PathBuf,
    arguments: Vec<&'static str>,
    folder: PathBuf,
}

/// What one process took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// From the start of the process until it asks for its first event: Lambda's INIT.
    pub(crate) init: Duration,
    /// The first event: an instance stops.
    pub(crate) first: Duration,
    /// The same for another instance.
    pub(crate) second: Duration,
    /// The first one starts again.
    pub(crate) restart: Duration,
    /// Of the processor, up to the end of the first event.
    pub(crate) processor: Duration,
    /// How often the kernel had to bring a page of memory in, up to the end of the first event.
    pub(crate) faults: u64,
    /// The most memory in use until the end of all.
    pub(crate) memory_kib: u64,
}

impl Contender {
    /// The function itself.
    pub(crate) fn function(binary: &Path) -> Self {
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = binary.parent().unwrap_or(Path::new(".")).to_owned();
        Self { name, program: binary.to_owned(), arguments: Vec::new(), folder }
    }

    /// The function's calls by hyper and rustls alone.
    pub(crate) fn limit(binary: &Path) -> Self {
        Self { name: "the limit".into(), ..Self::function(binary) }
    }

    /// The same job in Python, by Lambda's own client of the Runtime API.
    pub(crate) fn python(interpreter: &Path) -> Self {
        let arguments = vec!["-m", "awslambdaric", "handler.handler"];
        Self { name: "Python".into(), program: interpreter.to_owned(), arguments, folder: PYTHON.into() }
    }

    /// Starts a process and has it serve three events, over TLS. Returns what that took, and what it called.
    pub(crate) async fn measure(&self, certificates: &Path) -> Result<(Measured, Calls), String> {
        let scene = Scene::new(2)?;
        let hosts = Hosts::open(&scene, certificates).await?;
        let runtime = serve_runtime(&scene.sandbox, INSTANCE_STATE).await.map_err(told)?;
        let mut environment = trust(certificates);
        environment.extend(hosts.variables());
        // Of what has no host here, the calls would be refused: plain HTTP is told from TLS.
        let launch = Launch {
            function: INSTANCE_STATE.into(),
            binary: self.program.clone(),
            endpoint_url: hosts.inner.endpoint_url(),
            environment,
        };
        let variables = process::variables(&scene.sandbox, &launch, &runtime);
        let within = tokio::time::timeout(PATIENCE, self.serve(&scene, &runtime, variables)).await;
        let measured = within.unwrap_or_else(|_| Err("it takes too long".into()));
        let measured = measured.map_err(|error| format!("{}: {error}", self.name))?;
        Ok((measured, calls(&scene)))
    }

    async fn serve(
        &self,
        scene: &Scene,
        runtime: &RuntimeApi,
        variables: BTreeMap<String, String>,
    ) -> Result<Measured, String> {
        let mut measured = Measured::default();
        let begun = Instant::now();
        let mut child = self.start(variables).map_err(told)?;
        runtime.ready().await;
        measured.init = begun.elapsed();
        measured.first = serve_one(scene, scene.stop(0).await?, (0, (0, 3))).await?;
        measured.processor = processor(&child).map_err(told)?;
        measured.faults = faults(&child).map_err(told)?;
        measured.second = serve_one(scene, scene.stop(1).await?, (1, (0, 3))).await?;
        // Held until no invocation can still be about to deregister it.
        measured.restart = serve_one(scene, scene.start(0).await?, (0, (3, 3))).await?;
        measured.memory_kib = memory_kib(&child).map_err(told)?;
        // Its end would otherwise be a part of what the next contender takes.
        child.kill().await.map_err(told)?;
        Ok(measured)
    }

    fn start(&self, variables: BTreeMap<String, String>) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(variables)
            .stdin(Stdio::null())
            // CloudWatch is not measured.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }
}

/// All contenders trust the same roots: as many as everywhere, and the one of this run.
pub(crate) fn trust(certificates: &Path) -> BTreeMap<String, String> {
    let bundle = certificates.join("bundle.pem").display().to_string();
    let cache = certificates.join("bytecode").display().to_string();
    [("SSL_CERT_FILE", bundle.clone()), ("AWS_CA_BUNDLE", bundle), ("PYTHONPYCACHEPREFIX", cache)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn calls(scene: &Scene) -> Calls {
    scene.sandbox.with(|world| {
        let mut calls = Calls::new();
        for call in &world.calls {
            *calls.entry(format!("{:?} {}", call.service, call.action)).or_default() += 1;
        }
        calls
    })
}

/// Serves one event, and sees that it was.
async fn serve_one(
    scene: &Scene,
    batch: Value,
    (index, expected): (usize, (usize, usize)),
) -> Result<Duration, String> {
    let begun = Instant::now();
    let answer = scene.sandbox.invoke(INSTANCE_STATE, batch).await;
    let took = begun.elapsed();
    let answer = answer.unwrap_or_else(|error| json!({ "failed": error }));
    let standing = scene.standing(index)?;
    match standing == expected {
        true => Ok(took),
        false => Err(format!("in {} places with {} held, answered {answer}", standing.0, standing.1)),
    }
}

fn told(error: io::Error) -> String {
    error.to_string()
}

/// What the threads of a process have used; of a thread that has ended it is lost, and the contenders keep theirs.
fn processor(child: &Child) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{}/task", child.id().unwrap_or_default()))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Page faults of a process (`minflt` and `majflt` of proc_pid_stat(5)).
fn faults(child: &Child) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id().unwrap_or_default()))?;
    // Behind the name in brackets, which may have spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    field(7)
        .zip(field(9))
        .map(|(minor, major)| minor + major)
        .ok_or_else(|| io::Error::other("no page faults are told"))
}

/// The most memory that a process has had (`VmHWM` of proc(5)).
fn memory_kib(child: &Child) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id().unwrap_or_default()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.ok_or_else(|| io::Error::other("the process has ended"))
}
