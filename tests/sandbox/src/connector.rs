//! The sandbox as the HTTP client of the AWS SDK, in-process: signing, paging, retries and parsing stay the SDK's own.

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::{Reply, Sandbox};

/// Returns an HTTP client for SDK configurations, whose every request is answered by this sandbox.
pub fn http_client(sandbox: &Sandbox) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector { sandbox: sandbox.clone() });
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct Connector {
    sandbox: Sandbox,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sandbox = self.sandbox.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or_default()));
            match sandbox.call(request).await {
                Reply::Answered(response) => HttpResponse::try_from(response.map(SdkBody::from))
                    .map_err(|e| ConnectorError::other(e.into(), None)),
                Reply::Lost => Err(ConnectorError::io("the sandbox lost the answer".into())),
                // The process that waits for this answer is being ended, and never gets it.
                Reply::CallerKilled => std::future::pending().await,
            }
        })
    }
}
