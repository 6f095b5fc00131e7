//! `GetRecords` in CBOR.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::config::ConfigBag;
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::ser_de::DeserializeResponse;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

use super::cbor::Malformed;
use super::plug::{CONTENT_TYPE, Plug, body, failure};
use super::{Answer, cbor};

/// Keeps what one call of `GetRecords` is answered in CBOR. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(in crate::stream) struct CborReads {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    body: Option<SdkBody>,
    /// It was answered, but not in CBOR.
    is_foreign: bool,
}

impl CborReads {
    /// What makes a call ask in CBOR, and leave the answer here.
    pub(in crate::stream) fn plug(&self, iterator: &str, limit: u32, stream_arn: Option<&str>) -> Plug<Self> {
        Plug::new(Some(cbor::request(iterator, limit, stream_arn)), self.clone())
    }

    /// The answer, of which nothing was read yet.
    pub(in crate::stream) fn take(&self) -> Option<CborAnswer> {
        self.kept().body.take().map(CborAnswer)
    }

    /// Whether it was answered, but not in CBOR.
    pub(in crate::stream) fn is_foreign(&self) -> bool {
        self.kept().is_foreign
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(in crate::stream) struct CborAnswer(SdkBody);

/// Why there is none.
#[derive(Debug)]
pub(in crate::stream) enum NoAnswer {
    BrokenOff(aws_smithy_types::byte_stream::error::Error),
    Malformed(Malformed),
}

impl CborAnswer {
    /// Waits until all of it came, and reads it. The SDK would join the pieces, which copies every payload, and holds it twice.
    pub(in crate::stream) async fn read(self) -> Result<Answer, NoAnswer> {
        let mut body = ByteStream::new(self.0);
        let mut pieces = Vec::new();
        while let Some(piece) = body.next().await {
            pieces.push(piece.map_err(NoAnswer::BrokenOff)?);
        }
        cbor::answer(&pieces, cbor::NEXT_ITERATOR).map_err(NoAnswer::Malformed)
    }
}

impl DeserializeResponse for CborReads {
    /// The SDK is given an answer without records, so that it has something to return.
    fn deserialize_streaming_with_config(
        &self,
        response: &mut HttpResponse,
        _: &ConfigBag,
    ) -> Option<Result<Output, OrchestratorError<Error>>> {
        if !response.status().is_success() || !content_type(response).contains("cbor") {
            return None;
        }
        self.kept().body = Some(std::mem::replace(response.body_mut(), SdkBody::empty()));
        let empty = GetRecordsOutput::builder().set_records(Some(Vec::new())).build();
        Some(empty.map(Output::erase).map_err(OrchestratorError::other))
    }

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
        self.kept().is_foreign = true;
        let text = format!(
            "GetRecords was asked in CBOR and answered in {:?}",
            content_type(response)
        );
        Err(OrchestratorError::other(text))
    }
}

fn content_type(response: &HttpResponse) -> &str {
    response.headers().get(CONTENT_TYPE).unwrap_or_default()
}
