//! What stands between the SDK and Kinesis where records are read: another request, another reader of the answer.

use aws_sdk_kinesis::config::interceptors::{
    BeforeSerializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::{BoxError, ErrorMetadata};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use futures_util::FutureExt;

use super::cbor;

pub(super) const CONTENT_TYPE: &str = "content-type";
const CBOR: &str = "application/x-amz-cbor-1.1";

/// Makes one call ask in CBOR, if a request in it is given, and gives the answer to a reader of ours.
#[derive(Debug, Clone)]
pub(in crate::stream) struct Plug<R> {
    request: Option<Bytes>,
    reader: R,
}

impl<R> Plug<R> {
    pub(super) fn new(request: Option<Vec<u8>>, reader: R) -> Self {
        Self {
            request: request.map(Bytes::from),
            reader,
        }
    }
}

impl<R: DeserializeResponse + Clone + 'static> Intercept for Plug<R> {
    fn name(&self) -> &'static str {
        "records as they come"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let deserializer = SharedResponseDeserializer::new(self.reader.clone());
        config.interceptor_state().store_put(deserializer);
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(request) = &self.request {
            ask_in_cbor(context.request_mut(), request);
        }
        Ok(())
    }
}

/// Replaces what the SDK wrote.
fn ask_in_cbor(request: &mut HttpRequest, body: &Bytes) {
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, CBOR);
    headers.insert("content-length", body.len().to_string());
    *request.body_mut() = SdkBody::from(body.clone());
}

/// The body of an answer, which the SDK has in memory by now. Copies nothing.
pub(super) fn body(response: &HttpResponse) -> Option<Bytes> {
    let body = response.body().try_clone()?;
    let collected = ByteStream::new(body).collect().now_or_never()?.ok()?;
    Some(collected.into_bytes())
}

/// The code and the message that a failure tells, in whatever encoding: proxies and gateways have their own.
pub(super) fn told(body: &Bytes) -> (Option<String>, Option<String>) {
    cbor::failure(body).unwrap_or_else(|_| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| body.get(name)?.as_str());
            found.map(str::to_owned)
        };
        (member(["__type", "code"]), member(["message", "Message"]))
    })
}

/// What a failure says of itself.
pub(super) fn failure(response: &HttpResponse, body: &Bytes) -> ErrorMetadata {
    let (code, message) = told(body);
    let headers = response.headers();
    let code = code.or_else(|| headers.get("x-amzn-errortype").map(str::to_owned));
    // Some servers put a namespace before the code, and a link behind it.
    let code = code.as_deref().and_then(|code| code.split(':').next());
    let code = code.and_then(|code| code.rsplit('#').next());
    let mut told = ErrorMetadata::builder();
    if let Some(code) = code {
        told = told.code(code);
    }
    if let Some(message) = message {
        told = told.message(message);
    }
    told.build()
}
