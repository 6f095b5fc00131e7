//! Puts CBOR into the SDK's `GetRecords`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::config::interceptors::{
    BeforeSerializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::{BoxError, ErrorMetadata};
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use futures_util::FutureExt;

use super::{Answer, cbor};

pub(super) const CONTENT_TYPE: &str = "content-type";
pub(super) const CBOR: &str = "application/x-amz-cbor-1.1";

/// Makes one call of `GetRecords` ask in CBOR, and keeps what was answered. Clones are the same one.
#[derive(Debug, Clone)]
pub(in crate::stream) struct CborReads {
    request: Bytes,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    answer: Option<Answer>,
    /// It was answered, but not in CBOR.
    is_foreign: bool,
    /// It was answered in CBOR that cannot be read.
    is_malformed: bool,
}

impl CborReads {
    pub(in crate::stream) fn new(iterator: &str, limit: u32, stream_arn: Option<&str>) -> Self {
        Self {
            request: cbor::request(iterator, limit, stream_arn).into(),
            kept: Arc::default(),
        }
    }

    /// What was answered.
    pub(in crate::stream) fn take(&self) -> Option<Answer> {
        self.kept().answer.take()
    }

    /// Whether it was answered, but not in CBOR.
    pub(in crate::stream) fn is_foreign(&self) -> bool {
        self.kept().is_foreign
    }

    /// Whether it was answered in CBOR that cannot be read.
    pub(in crate::stream) fn is_malformed(&self) -> bool {
        self.kept().is_malformed
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for CborReads {
    fn name(&self) -> &'static str {
        "reads in CBOR"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let deserializer = SharedResponseDeserializer::new(self.clone());
        config.interceptor_state().store_put(deserializer);
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        ask_in_cbor(context.request_mut(), &self.request);
        Ok(())
    }
}

impl DeserializeResponse for CborReads {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let body = body(response).ok_or_else(|| OrchestratorError::other("the answer has no body"))?;
        if !response.status().is_success() {
            let failure = GetRecordsError::generic(failure(response, &body));
            return Err(OrchestratorError::operation(Error::erase(failure)));
        }
        let content_type = response.headers().get(CONTENT_TYPE).unwrap_or_default();
        if !content_type.contains("cbor") {
            self.kept().is_foreign = true;
            let text = format!("GetRecords was asked in CBOR and answered in {content_type:?}");
            return Err(OrchestratorError::other(text));
        }
        let answer = cbor::answer(&body, cbor::NEXT_ITERATOR);
        self.kept().is_malformed = answer.is_err();
        self.kept().answer = Some(answer.map_err(OrchestratorError::other)?);
        let empty = GetRecordsOutput::builder().set_records(Some(Vec::new())).build();
        empty.map(Output::erase).map_err(OrchestratorError::other)
    }
}

/// Replaces what the SDK wrote.
pub(super) fn ask_in_cbor(request: &mut HttpRequest, body: &Bytes) {
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
