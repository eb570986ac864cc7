//! The sandbox on a socket, for real binaries, the AWS CLI and boto3: every AWS call, and Lambda's Invoke.
//!
//! It is hyper itself, without a framework: a lost answer is a connection that ends without one.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::{Reply, Sandbox, lambda, wire::ApiError};

pub use lambda::serve_runtime;

/// A listener and its connections, which end when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Returns the address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the value for `AWS_ENDPOINT_URL`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves every service of a sandbox at one address, such as `127.0.0.1:4566`; port 0 is any free one.
///
/// # Errors
/// If it cannot listen there.
pub async fn serve(sandbox: &Sandbox, address: impl Into<SocketAddr>) -> io::Result<Server> {
    let sandbox = sandbox.clone();
    listen(address.into(), move |request| {
        let sandbox = sandbox.clone();
        async move {
            match invoked_function(&request) {
                Some(function) => Some(invoke(&sandbox, &function, &request).await),
                None => match sandbox.call(request).await {
                    Reply::Answered(response) => Some(response),
                    Reply::Lost | Reply::CallerKilled => None,
                },
            }
        }
    })
    .await
}

/// Serves HTTP; `None` as an answer ends the connection without one.
pub(crate) async fn listen<F>(
    address: SocketAddr,
    answer: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static,
) -> io::Result<Server>
where
    F: Future<Output = Option<Response<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    let (address, answer) = (listener.local_addr()?, Arc::new(answer));
    let task = tokio::spawn(async move {
        // It ends its tasks when it is dropped, as it is when this task is aborted.
        let mut connections = JoinSet::new();
        loop {
            let accepted = listener.accept().await;
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = accepted else { continue };
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move { serve_one(request, &*answer).await }
            });
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(Server { address, task })
}

/// Serves one request. An error makes hyper end the connection.
async fn serve_one<F>(
    request: Request<Incoming>,
    answer: &(impl Fn(Request<Bytes>) -> F + Sync),
) -> io::Result<Response<Full<Bytes>>>
where
    F: Future<Output = Option<Response<Bytes>>>,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let response = answer(Request::from_parts(parts, body)).await;
    response.map(|response| response.map(Full::new)).ok_or_else(|| io::Error::other("the answer is lost"))
}

/// Returns the name in `POST /2015-03-31/functions/{name}/invocations`, which may be an ARN.
fn invoked_function(request: &Request<Bytes>) -> Option<String> {
    let name = request.uri().path().strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?;
    let name = form_urlencoded::parse(format!("={name}").as_bytes()).next()?.1.into_owned();
    (request.method() == Method::POST).then(|| lambda::name_of_arn(&name).unwrap_or(&name).to_owned())
}

async fn invoke(sandbox: &Sandbox, function: &str, request: &Request<Bytes>) -> Response<Bytes> {
    let payload = match request.body().as_ref() {
        b"" => Ok(json!({})),
        body => serde_json::from_slice(body),
    };
    let payload: Value = match payload {
        Ok(payload) => payload,
        Err(error) => {
            let message = format!("Could not parse request body into json: {error}");
            return refused(&ApiError::sender("InvalidRequestContentException", message));
        }
    };
    let kind = request.headers().get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok());
    if sandbox.with(|world| world.lambda.function(function).is_none()) {
        let message = format!("Function not found: {}", lambda::arn(function));
        return refused(&ApiError::receiver(404, "ResourceNotFoundException", message));
    }
    match kind.unwrap_or("RequestResponse") {
        "RequestResponse" => answered(sandbox.invoke(function, payload).await),
        "Event" => match sandbox.with(|world| lambda::invoke_async(world, function, payload)) {
            Ok(_) => json_response(StatusCode::ACCEPTED, None),
            Err(error) => refused(&error),
        },
        "DryRun" => json_response(StatusCode::NO_CONTENT, None),
        kind => refused(&ApiError::not_modelled(format!("the invocation type {kind}"))),
    }
}

fn answered(result: Result<Value, Value>) -> Response<Bytes> {
    let header = |response: &mut Response<Bytes>, name: &'static str, value: &'static str| {
        response.headers_mut().insert(name, http::HeaderValue::from_static(value));
    };
    let mut response = match result {
        Ok(value) => json_response(StatusCode::OK, Some(&value)),
        Err(error) if error["errorType"] == "TooManyRequestsException" => {
            return refused(&ApiError::receiver(429, "TooManyRequestsException", "Rate Exceeded."));
        }
        Err(error) => {
            let mut response = json_response(StatusCode::OK, Some(&error));
            header(&mut response, "x-amz-function-error", "Unhandled");
            response
        }
    };
    header(&mut response, "x-amz-executed-version", "$LATEST");
    response
}

/// Lambda's errors are of the `restJson1` protocol.
fn refused(error: &ApiError) -> Response<Bytes> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, Some(&json!({ "Type": "User", "Message": error.message })));
    if let Ok(code) = http::HeaderValue::from_str(&error.code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

pub(crate) fn json_response(status: StatusCode, body: Option<&Value>) -> Response<Bytes> {
    let mut response = Response::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
