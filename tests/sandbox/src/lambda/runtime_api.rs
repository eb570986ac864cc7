//! The Lambda Runtime API (version 2018-06-01): how a real function binary gets its invocations and answers them.
//!
//! One listener is one execution environment: `AWS_LAMBDA_RUNTIME_API` has no room for a path, so the port must tell the
//! function, and the environment of it, that asks.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Ending, Invocation, finish,
    invocation::{Taker, take, time_out},
    kill_caller,
};
use crate::{
    Sandbox, Shared,
    server::{Server, json_response, listen},
};

/// The beginning of every path.
const PREFIX: &str = "/2018-06-01/runtime/";

/// An execution environment that a process can connect to. Dropping it ends the listener.
#[derive(Debug)]
pub struct RuntimeApi {
    server: Server,
    access_key: String,
    pub(super) deaths: watch::Receiver<u64>,
    asked: watch::Receiver<bool>,
}

impl RuntimeApi {
    /// Returns the value for `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the value for `AWS_ACCESS_KEY_ID`, so that a fault can kill the process that makes a call.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Waits until a process has asked for its first invocation, which ends its INIT.
    pub async fn ready(&self) {
        // Its sender lives as long as the listener, which this owns.
        let _ = self.asked.clone().wait_for(|asked| *asked).await;
    }
}

/// Opens a new execution environment of a function for a process that speaks the Runtime API.
///
/// # Errors
/// If there is no such function, or no free port.
pub async fn serve_runtime(sandbox: &Sandbox, function: &str) -> io::Result<RuntimeApi> {
    let opened = sandbox.with(|world| {
        let found = world.lambda.functions.get_mut(function)?;
        let (access_key, deaths) = (found.new_environment(), watch::Sender::new(0));
        let seen = deaths.subscribe();
        found.deaths.insert(access_key.clone(), deaths);
        Some((access_key, seen, found.work.subscribe(), found.spec.timeout))
    });
    let no_function = || io::Error::other(format!("there is no function {function}"));
    let (access_key, deaths, work, timeout) = opened.ok_or_else(no_function)?;
    let shared = Arc::downgrade(&sandbox.shared);
    let asking = watch::Sender::new(false);
    let asked = asking.subscribe();
    let environment = Environment {
        shared,
        function: function.to_owned(),
        access_key: access_key.clone(),
        work,
        timeout,
        asking: Arc::new(asking),
    };
    let server = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), move |request| {
        let environment = environment.clone();
        async move { Some(environment.answer(request).await) }
    })
    .await?;
    Ok(RuntimeApi { server, access_key, deaths, asked })
}

#[derive(Clone)]
struct Environment {
    /// Weak: a process that waits for work does not keep the sandbox alive.
    shared: Weak<Shared>,
    function: String,
    access_key: String,
    work: watch::Receiver<u64>,
    timeout: Duration,
    asking: Arc<watch::Sender<bool>>,
}

impl Environment {
    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let body = || serde_json::from_slice::<Value>(request.body()).ok();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => {
                // The process may answer anything. If it is not JSON, the invocation fails.
                let malformed =
                    json!({ "errorType": "Runtime.MarshalError", "errorMessage": "the answer is not JSON" });
                self.finish(id, body().map_or(Ending::Failed(malformed), Ending::Answered))
            }
            (&Method::POST, ["invocation", id, "error"]) => self.finish(id, Ending::Failed(body().unwrap_or_default())),
            (&Method::POST, ["init", "error"]) => {
                // It is only accepted: the process ends next, and the invocation goes on waiting for a better one.
                json_response(StatusCode::ACCEPTED, Some(&json!({ "status": "OK" })))
            }
            _ => invalid(StatusCode::NOT_FOUND, "UnknownPath", request.uri().path()),
        }
    }

    /// Waits for work, as long as it takes.
    async fn next(&self) -> Response<Bytes> {
        self.asking.send_replace(true);
        let mut work = self.work.clone();
        if let Some(sandbox) = self.sandbox() {
            // A process that asks for more without having answered is a new one: the old one died.
            sandbox.with(|world| kill_caller(world, &self.access_key));
        }
        loop {
            // It is marked before the look, so that a change between look and wait is seen.
            work.mark_unchanged();
            let Some(sandbox) = self.sandbox() else { break };
            let taken = sandbox.with(|world| take(world, &self.function, &Taker::Process(&self.access_key)));
            drop(sandbox);
            if let Some((invocation, over)) = taken {
                tokio::spawn(enforce_timeout(self.clone(), invocation.request_id.clone(), over));
                return self.handed_out(&invocation);
            }
            if work.changed().await.is_err() {
                break;
            }
        }
        invalid(StatusCode::GONE, "SandboxEnded", "the sandbox ended")
    }

    #[expect(clippy::disallowed_methods, reason = "a process compares the deadline with the wall's clock")]
    fn handed_out(&self, invocation: &Invocation) -> Response<Bytes> {
        let mut response = json_response(StatusCode::OK, Some(&invocation.payload));
        // In real milliseconds from now, whatever the sandbox's clock says: the process compares it with its own clock, which is
        // the wall's.
        let deadline = SystemTime::now() + self.timeout;
        let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let trace = format!("Root=1-00000000-{};Sampled=0", "0".repeat(24));
        for (name, value) in [
            ("lambda-runtime-aws-request-id", invocation.request_id.as_str()),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", &invocation.function_arn),
            ("lambda-runtime-trace-id", &trace),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn finish(&self, request_id: &str, ending: Ending) -> Response<Bytes> {
        let sandbox = self.sandbox();
        match sandbox.is_some_and(|sandbox| sandbox.with(|world| finish(world, request_id, ending))) {
            true => json_response(StatusCode::ACCEPTED, Some(&json!({ "status": "OK" }))),
            // It has timed out, or never existed.
            false => invalid(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
        }
    }

    fn sandbox(&self) -> Option<Sandbox> {
        self.shared.upgrade().map(|shared| Sandbox { shared })
    }
}

/// Ends an invocation on the wall's clock, which is the process's own.
async fn enforce_timeout(environment: Environment, request_id: String, over: tokio::sync::oneshot::Receiver<()>) {
    tokio::select! {
        _ = over => {}
        () = tokio::time::sleep(environment.timeout) => {
            if let Some(sandbox) = environment.sandbox() {
                sandbox.with(|world| time_out(world, &request_id, &environment.access_key));
            }
        }
    }
}

fn invalid(status: StatusCode, kind: &str, message: &str) -> Response<Bytes> {
    json_response(status, Some(&json!({ "errorType": kind, "errorMessage": message })))
}
