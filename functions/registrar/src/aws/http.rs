//! How HTTP is spoken: hyper and rustls, one stack for all clients, and HTTP/1.1, as AWS's endpoints of these services speak it.
//!
//! The SDK's own stack (aws-smithy-http-client) cannot leave out HTTP/2, a megabyte that no call needs in each binary. What that stack does
//! for the SDK is done here, too: time limits, proxies, and connections that are not used again after a failure.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        connection::{CaptureSmithyConnection, ConnectionMetadata},
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
};
use aws_smithy_types::body::SdkBody;
use futures::future::BoxFuture;
use hyper::{Uri, http::uri::Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{CaptureConnection, HttpConnector as TcpConnector, capture_connection, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::{
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tower_service::Service;

/// Opening a connection. Within a Region that takes milliseconds; a black hole should not cost the whole attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An HTTP stack for the SDK's clients, which share its connections: Classic load balancers and target groups are one host.
///
/// Trusts the operating system's root certificates. Heeds `HTTPS_PROXY` and `NO_PROXY` for what is encrypted; all that is not goes to the
/// endpoint itself, which is a test's.
///
/// # Errors
///
/// Of rustls, where AWS-LC offers no version of TLS that it wants.
pub fn client() -> Result<SharedHttpClient, rustls::Error> {
    let stack = SharedHttpConnector::new(Stack::new(Matcher::from_env())?);
    // Nobody sets other limits of time for connections, which would need a stack of their own.
    Ok(http_client_fn(move |_settings, _components| stack.clone()))
}

/// What the SDK sends requests with.
#[derive(Debug)]
struct Stack {
    client: Client<HttpsConnector<Way>, SdkBody>,
}

impl Stack {
    fn new(proxies: Matcher) -> Result<Self, rustls::Error> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let way = Way { tcp, proxies: Arc::new(proxies) };
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls()?).https_or_http().enable_http1().wrap_connector(way);
        // Without a timer connections that nobody uses are never closed.
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(https);
        Ok(Self { client })
    }
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        tracing::warn!(errors = ?found.errors, "no root certificate of the operating system was found: nothing can be called over TLS");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

impl HttpConnector for Stack {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || Some(that_can_be_given_up(&connection)));
        }
        let response = self.client.request(request);
        HttpConnectorFuture::new(async move {
            let response = response.await.map_err(|error| classify(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The SDK gives up a connection after what may well be its fault.
fn that_can_be_given_up(connection: &CaptureConnection) -> ConnectionMetadata {
    let connection = connection.clone();
    let give_up = move || {
        if let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
    };
    ConnectionMetadata::builder().proxied(false).poison_fn(give_up).build()
}

/// Whether the SDK may try again. It may, unless the request itself is wrong: whatever is called here can be called twice.
fn classify(error: BoxError) -> ConnectorError {
    let causes = || std::iter::successors(Some(&*error as &(dyn Error + 'static)), |&error| error.source());
    if causes().any(<dyn Error>::is::<Elapsed>) {
        ConnectorError::timeout(error)
    } else if causes().any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user)) {
        ConnectorError::user(error)
    } else {
        ConnectorError::io(error)
    }
}

/// The way to an endpoint: there, or through a proxy.
#[derive(Clone, Debug)]
struct Way {
    tcp: TcpConnector,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for Way {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let is_encrypted = to.scheme() == Some(&Scheme::HTTPS);
        let proxy = if is_encrypted { self.proxies.intercept(&to) } else { None };
        let connect = async move {
            let Some(proxy) = proxy else { return Ok(tcp.call(to).await?) };
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            Ok(tunnel.call(to).await?)
        };
        Box::pin(async { timeout(CONNECT_TIMEOUT, connect).await? })
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::Request;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Takes one connection, reads what comes first, and answers so.
    async fn once(listener: TcpListener, answer: &str) -> String {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 4096];
        let length = connection.read(&mut read).await.unwrap();
        connection.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&read[..length]).into_owned()
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, format!("http://{address}"))
    }

    fn get(url: &str) -> HttpRequest {
        Request::try_from(hyper::Request::get(url).body(SdkBody::empty()).unwrap()).unwrap()
    }

    /// Sends a request, answers how that went and what reached the listener.
    async fn send(
        proxies: Matcher,
        to: &str,
        listener: TcpListener,
        answer: &str,
    ) -> (Result<u16, ConnectorError>, String) {
        let response = Stack::new(proxies).unwrap().call(get(to));
        let (response, heard) = tokio::join!(response, once(listener, answer));
        (response.map(|response| response.status().as_u16()), heard)
    }

    #[tokio::test]
    async fn what_is_not_encrypted_goes_to_the_endpoint_itself() {
        let (listener, url) = listen().await;
        let proxies = Matcher::builder().all("http://127.0.0.1:1").build();
        let (status, heard) =
            send(proxies, &url, listener, "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(status.unwrap(), 503);
        assert!(heard.starts_with("GET / HTTP/1.1\r\n"), "{heard}");
    }

    #[tokio::test]
    async fn what_is_encrypted_goes_through_the_proxy_unless_it_is_excepted() {
        let (listener, url) = listen().await;
        let proxies = |no| Matcher::builder().https(url.replace("//", "//me:secret@")).no(no).build();
        let refused = "HTTP/1.1 403 Forbidden\r\n\r\n";
        let (status, heard) = send(proxies(""), "https://ec2.eu-west-1.amazonaws.com/", listener, refused).await;
        assert!(status.unwrap_err().is_io());
        assert!(heard.starts_with("CONNECT ec2.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{heard}");
        // Nobody listens there any more.
        let (listener, direct) = listen().await;
        let direct = direct.replace("http:", "https:");
        let (status, heard) = send(proxies("127.0.0.1"), &direct, listener, "what?").await;
        assert!(status.unwrap_err().is_io());
        assert!(heard.starts_with('\u{16}'), "a handshake of TLS: {heard:?}");
    }

    #[tokio::test]
    async fn a_lost_answer_may_be_asked_for_again() {
        let (listener, url) = listen().await;
        let (status, _) = send(Matcher::builder().build(), &url, listener, "").await;
        assert!(status.unwrap_err().is_io());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_come_about_is_given_up() {
        let (_silent, url) = listen().await;
        let stack = Stack::new(Matcher::builder().https(url).build()).unwrap();
        let begun = tokio::time::Instant::now();
        let error = stack.call(get("https://ec2.eu-west-1.amazonaws.com/")).await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), CONNECT_TIMEOUT.as_secs());
    }
}
