//! One request and its answer, on a connection of their own.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::{Connect, ImdsError, LIFE};
use crate::endpoint::Endpoint;

/// What is asked for is a few words; more is not read.
const LONGEST_ANSWER: usize = 16 << 10;

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The life of the token that it brings.
    pub(super) life: Option<Duration>,
    pub(super) body: Bytes,
}

pub(super) async fn exchange(
    connect: &dyn Connect,
    endpoint: &Endpoint,
    what: &str,
    method: Method,
    path: &str,
    (name, value): (&'static str, HeaderValue),
) -> Result<Answer, ImdsError> {
    let unexpected = |how: String| ImdsError::Unexpected {
        what: what.to_owned(),
        how,
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, endpoint.authority())
        .header(CONNECTION, "close")
        .header(CONTENT_LENGTH, "0")
        .header(name, value)
        .body(Empty::<Bytes>::new())
        .map_err(|error| unexpected(format!("nothing, as it cannot be asked: {error}")))?;
    let stream = connect.connect().await.map_err(|source| ImdsError::Unreachable {
        endpoint: endpoint.clone(),
        source,
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ImdsError::Broken)?;
    let exchanged = async move {
        let response = sender.send_request(request).await.map_err(ImdsError::Broken)?;
        let (head, body) = response.into_parts();
        let life = head
            .headers
            .get(LIFE)
            .and_then(|life| life.to_str().ok()?.parse().ok());
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| unexpected(format!("what cannot be read: {error}")))?;
        Ok(Answer {
            status: head.status,
            life: life.map(Duration::from_secs),
            body: body.to_bytes(),
        })
    };
    // The connection moves the bytes. It may be over before the answer was read to its end; what went wrong the answer says.
    let (mut connection, mut exchanged) = (pin!(connection), pin!(exchanged));
    tokio::select! {
        biased;
        answer = &mut exchanged => answer,
        _ = &mut connection => exchanged.await,
    }
}
