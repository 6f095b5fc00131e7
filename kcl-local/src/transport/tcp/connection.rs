//! One TCP connection: its protocol, its requests, and what protects the server from its peer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ListenOptions;
use super::cors::Cors;
use crate::Backend;
use crate::admin::{Admin, Site};
use crate::body::Body;
use crate::faults::{FaultInjector, Loss};
use crate::handler::{Handler, MAX_BODY};
use crate::transport::deliver;
use crate::transport::events::until;

/// HTTP/2 flow control windows, in bytes: room for a large PutRecords without a round trip.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;

/// How many requests a connection carries side by side in HTTP/2: enough for a subscription to each shard of a large stream, since
/// some clients have one connection and wait for ever for what it does not carry.
const STREAMS: u32 = 10_000;

/// What every connection of a server shares.
#[derive(Debug)]
pub(super) struct Connection {
    handler: Handler,
    faults: Arc<dyn FaultInjector>,
    admin: Admin,
    cors: Cors,
    options: ListenOptions,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Connection {
    pub(super) fn new(
        backend: &Backend,
        options: ListenOptions,
        is_loopback: bool,
        stop: CancellationToken,
        kill: CancellationToken,
    ) -> Arc<Self> {
        let site = Site {
            scheme: options.scheme(),
            names: options.hosts.clone(),
            is_remote: !is_loopback,
        };
        Arc::new(Self {
            handler: backend.handler().clone(),
            faults: backend.faults().clone(),
            admin: Admin::new(backend.clone(), site),
            cors: Cors::new(&options.origins),
            options,
            stop,
            kill,
        })
    }

    /// Serves requests until the peer leaves, falls silent, or the server stops.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream) {
        // Answers are small and wait for nothing; without this they would wait for the peer's acknowledgements.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.options.tls {
            let agreed = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                agreed = timeout(self.options.idle_timeout, tls.accept(stream)) => agreed,
            };
            match agreed {
                Ok(Ok(stream)) => self.speak(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS was agreed upon"),
                Err(_) => tracing::debug!("no TLS was agreed upon in time"),
            }
            return;
        }
        self.speak(stream).await;
    }

    /// Speaks HTTP over what carries it.
    async fn speak(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let heard = Arc::new(AtomicBool::new(false));
        let builder = self.protocols();
        let service = {
            let (server, heard) = (self.clone(), heard.clone());
            service_fn(move |request| {
                heard.store(true, Ordering::Relaxed);
                server.clone().answer(request)
            })
        };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut silence = pin!(sleep(self.options.idle_timeout));
        let (mut stopping, mut watching) = (false, true);
        loop {
            tokio::select! {
                biased;
                () = self.kill.cancelled() => return,
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended badly");
                    }
                    return;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                // The HTTP library watches headers only once it knows the protocol.
                () = silence.as_mut(), if watching => {
                    if !heard.load(Ordering::Relaxed) {
                        return;
                    }
                    watching = false;
                }
            }
        }
    }

    fn protocols(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.idle_timeout);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.options.idle_timeout)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        builder
    }

    /// Answers one request; an error breaks the connection (HTTP/1.1) or resets the stream (HTTP/2).
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Loss> {
        let (parts, body) = request.into_parts();
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(unread) => {
                let (status, code) = unread;
                let request = Request::from_parts(parts, Bytes::new());
                let said = "The request body cannot be read.";
                let mut refusal = self.handler.refusal(&request, status, code, said);
                refusal
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
                return Ok(refusal);
            }
        };
        let client = signer(&parts.headers).to_owned();
        let request = Request::from_parts(parts, body);
        if self.admin.is_asked(&request) {
            return Ok(self.admin.answer(&request));
        }
        if let Some(leave) = self.cors.preflight(&request) {
            return Ok(leave);
        }
        let origin = request.headers().get(ORIGIN).cloned();
        if let Some(origin) = &origin
            && !self.cors.may_ask(origin)
            && !self.admin.is_page_from_here(&request, origin)
        {
            // Not shown to the page, it would still have taken effect.
            let said = "A page of this origin may not ask: name the origin where the server is started.";
            return Ok(self.handler.refusal(&request, 403, "AccessDeniedException", said));
        }
        let mut answer = deliver(&self.handler, &self.faults, &client, request).await?;
        self.cors.show(origin.as_ref(), &mut answer);
        let stop = self.stop.clone();
        Ok(answer.map(|body| body.map_messages(|messages| until(messages, stop))))
    }

    /// Reads a body within the limits of size and time, or tells the status and code to refuse it with.
    async fn read(&self, body: Incoming) -> Result<Bytes, (u16, &'static str)> {
        const TOO_LARGE: (u16, &str) = (413, "RequestEntityTooLargeException");
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(TOO_LARGE);
        }
        match timeout(self.options.body_timeout, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LARGE),
            Ok(Err(_)) => Err((400, "SerializationException")),
            Err(_) => Err((408, "RequestTimeoutException")),
        }
    }
}

/// The access key id in a request's signature, which stands for the client's name; empty if there is none.
fn signer(headers: &HeaderMap) -> &str {
    let signature = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let credential = signature.split_once("Credential=").map_or("", |(_, rest)| rest);
    credential.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_key_id_names_the_client() {
        let mut headers = HeaderMap::new();
        assert_eq!(signer(&headers), "");
        let signature =
            "AWS4-HMAC-SHA256 Credential=worker-1/20261121/us-east-1/kinesis/aws4_request, Signature=0";
        headers.insert(AUTHORIZATION, HeaderValue::from_static(signature));
        assert_eq!(signer(&headers), "worker-1");
    }
}
