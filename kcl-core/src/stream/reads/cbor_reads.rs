//! `GetRecords` in CBOR.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::config::ConfigBag;
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::ser_de::DeserializeResponse;

use super::plug::{CONTENT_TYPE, Plug, body, failure};
use super::{Answer, cbor};

/// Keeps what one call of `GetRecords` is answered in CBOR. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(in crate::stream) struct CborReads {
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
    /// What makes a call ask in CBOR, and leave the answer here.
    pub(in crate::stream) fn plug(&self, iterator: &str, limit: u32, stream_arn: Option<&str>) -> Plug<Self> {
        Plug::new(Some(cbor::request(iterator, limit, stream_arn)), self.clone())
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
