//! `GetRecords` through the SDK, in the encoding that costs least.
//!
//! The SDK speaks JSON, where payloads are base64: to decode that is nearly all that reading costs. Kinesis speaks CBOR, too, where
//! they are bytes, and records can be slices of the answer. Signing, retries, time-outs and errors stay the SDK's.

mod cbor;
mod plug;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;

use super::children::Child;
use crate::aws::{CallError, ErrorClass};
use crate::config::ReadEncoding;
use crate::record::Record;

pub(super) use self::plug::CborReads;

/// What `GetRecords` answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) records: Vec<Record>,
    /// `None` at the end of the shard.
    pub(crate) next_iterator: Option<String>,
    pub(crate) millis_behind_latest: Option<u64>,
    /// At the end of the shard: those that follow, if the server names them.
    pub(crate) children: Vec<Child>,
    /// The bytes of the answer, if the records are slices of it: whoever holds one of them holds all of it.
    pub(crate) block: Option<u64>,
}

impl Answer {
    /// Takes over what the SDK read.
    pub(super) fn from_sdk(answer: GetRecordsOutput) -> Result<Self, CallError> {
        let records = answer.records.into_iter().map(Record::from_sdk);
        let records = records
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CallError::new(ErrorClass::Other, "GetRecords", error.to_string()))?;
        let children = answer.child_shards.iter().flatten();
        Ok(Self {
            records,
            next_iterator: answer.next_shard_iterator,
            millis_behind_latest: answer
                .millis_behind_latest
                .and_then(|millis| u64::try_from(millis).ok()),
            children: children.map(Child::from_sdk).collect(),
            block: None,
        })
    }
}

/// Which encoding the server speaks, as far as it is known. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Spoken(Arc<AtomicU8>);

const UNKNOWN: u8 = 0;
const CBOR: u8 = 1;
const JSON: u8 = 2;

impl Spoken {
    pub(super) fn new(wanted: ReadEncoding) -> Self {
        let first = match wanted {
            ReadEncoding::Cbor => UNKNOWN,
            ReadEncoding::Json => JSON,
        };
        Self(Arc::new(AtomicU8::new(first)))
    }

    pub(super) fn is_json(&self) -> bool {
        self.0.load(Ordering::Relaxed) == JSON
    }

    /// A read in CBOR was answered.
    pub(super) fn cbor_is_understood(&self) {
        self.0.store(CBOR, Ordering::Relaxed);
    }

    /// Whether this failure of a read in CBOR may mean that the server does not speak it: nothing that it understood was said yet.
    pub(super) fn may_be_a_misunderstanding(&self, error: &CallError) -> bool {
        let may_be = match error.class {
            ErrorClass::Transient | ErrorClass::InvalidArgument | ErrorClass::Other => true,
            // Who answers so has read the request.
            ErrorClass::Throttled
            | ErrorClass::Expired
            | ErrorClass::NotFound
            | ErrorClass::AccessDenied
            | ErrorClass::NotSigned(_) => false,
        };
        may_be && self.0.load(Ordering::Relaxed) == UNKNOWN
    }

    /// The same read succeeded in JSON.
    pub(super) fn only_json_is_understood(&self) {
        if self.0.swap(JSON, Ordering::Relaxed) != JSON {
            tracing::info!(
                "the server does not answer GetRecords in CBOR; reading in JSON, which costs more"
            );
        }
    }
}
