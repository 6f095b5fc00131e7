//! An HTTP client for the AWS SDK that has no network: requests are answered inside the process.
//!
//! Nothing waits in real time, so under `tokio::time::pause` the SDK's retries, back-off and time-outs, and every
//! injected delay, take virtual time only.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;

use super::deliver;
use crate::body::Body;
use crate::faults::{FaultInjector, Loss};
use crate::handler::Handler;

/// The `HttpClient` of one named client of a backend; see [`Backend::sdk_config_named`](crate::Backend::sdk_config_named).
#[derive(Debug, Clone)]
pub struct InProcessClient {
    connector: InProcessConnector,
}

/// What carries the requests of one client.
#[derive(Debug, Clone)]
struct InProcessConnector {
    name: Arc<str>,
    handler: Handler,
    faults: Arc<dyn FaultInjector>,
    read_timeout: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within the read time-out of {0:?}")]
struct ReadTimedOut(Duration);

impl InProcessClient {
    /// A client whose requests pass `faults` under the name `name` on their way to `handler`.
    pub fn new(name: impl Into<Arc<str>>, handler: Handler, faults: Arc<dyn FaultInjector>) -> Self {
        Self {
            connector: InProcessConnector {
                name: name.into(),
                handler,
                faults,
                read_timeout: None,
            },
        }
    }
}

impl HttpClient for InProcessClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let read_timeout = settings.read_timeout();
        SharedHttpConnector::new(InProcessConnector {
            read_timeout,
            ..self.connector.clone()
        })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("kcl-local", None))
    }
}

impl HttpConnector for InProcessConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move {
            let Some(limit) = connector.read_timeout else {
                return connector.send(request).await;
            };
            match tokio::time::timeout(limit, connector.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(ConnectorError::timeout(ReadTimedOut(limit).into())),
            }
        })
    }
}

impl InProcessConnector {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = collect(request).await.map_err(ConnectorError::user)?;
        // A request over a network always lets other tasks run; without this, a loop of requests would starve them.
        tokio::task::yield_now().await;
        let answer = deliver(&self.handler, &self.faults, &self.name, request)
            .await
            .map_err(lost)?;
        sdk_response(answer).map_err(ConnectorError::user)
    }
}

/// The request with its whole body in memory; a body that is one buffer already is not copied.
async fn collect(request: HttpRequest) -> Result<Request<Bytes>, BoxError> {
    let (parts, body) = request.try_into_http1x()?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Request::from_parts(parts, body))
}

fn sdk_response(response: Response<Body>) -> Result<HttpResponse, BoxError> {
    let response = response.map(|body| match body.whole() {
        Some(bytes) => SdkBody::from(bytes.clone()),
        None => SdkBody::from_body_1_x(body),
    });
    Ok(HttpResponse::try_from(response)?)
}

/// The SDK takes both kinds for transient and retries them.
fn lost(loss: Loss) -> ConnectorError {
    match loss {
        Loss::TimedOut => ConnectorError::timeout(loss.into()),
        Loss::Reset | Loss::Hang => ConnectorError::io(loss.into()),
    }
}
