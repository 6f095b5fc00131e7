//! `GetRecords` and `SubscribeToShard` through the SDK, in the encoding that costs least.
//!
//! The SDK speaks JSON, where payloads are base64: to decode that is most of what reading costs. Kinesis speaks CBOR, too, where
//! they are bytes, and records can be slices of the answer. Signing, retries, time-outs and errors stay the SDK's.

mod cbor;
mod cbor_reads;
mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
mod plug;
mod subscribe_from;
mod subscribing;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;

use super::children::Child;
use crate::aws::{CallError, ErrorClass};
use crate::config::ReadEncoding;
use crate::record::Record;

pub(super) use self::cbor::subscription as subscription_in_cbor;
pub(super) use self::cbor_reads::{CborReads, NoAnswer};
pub(crate) use self::subscribe_from::SubscribeFrom;
pub(super) use self::subscribing::Subscribing;
pub(crate) use self::subscription::Subscription;

/// What `GetRecords` answered, or an event of a subscription said.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) records: Vec<Record>,
    /// Where reading goes on: a shard iterator, or the number behind which a subscription continues. `None` at the end of the
    /// shard.
    pub(crate) next: Option<String>,
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
            next: answer.next_shard_iterator,
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
pub(super) struct Spoken(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    state: AtomicU8,
    /// How many answers were CBOR that cannot be read.
    malformed: AtomicU8,
}

/// Below this: how many reads failed in CBOR and succeeded in JSON, and none succeeded in CBOR.
const PROVEN: u8 = 3;
const CBOR: u8 = 10;
const JSON: u8 = 11;

impl Spoken {
    pub(super) fn new(wanted: ReadEncoding) -> Self {
        let first = match wanted {
            ReadEncoding::Cbor => 0,
            ReadEncoding::Json => JSON,
        };
        Self(Arc::new(Known {
            state: AtomicU8::new(first),
            malformed: AtomicU8::new(0),
        }))
    }

    fn known(&self) -> u8 {
        self.0.state.load(Ordering::Relaxed)
    }

    pub(super) fn is_json(&self) -> bool {
        self.known() == JSON
    }

    /// Whether something in CBOR was understood.
    pub(super) fn is_proven(&self) -> bool {
        self.known() == CBOR
    }

    /// A read in CBOR was answered.
    pub(super) fn cbor_is_understood(&self) {
        self.0.state.store(CBOR, Ordering::Relaxed);
    }

    /// Whether this failure of a read in CBOR may mean that the server does not speak it: nothing that it understood was said yet.
    pub(super) fn may_be_a_misunderstanding(&self, error: &CallError) -> bool {
        let may_be = match error.class {
            ErrorClass::Transient | ErrorClass::InvalidArgument | ErrorClass::Other => true,
            // Who answers so has read the request.
            ErrorClass::Throttled
            | ErrorClass::InUse
            | ErrorClass::Expired
            | ErrorClass::NotFound
            | ErrorClass::AccessDenied
            | ErrorClass::NotSigned(_) => false,
        };
        may_be && self.known() < PROVEN
    }

    /// The same read succeeded in JSON. It may be chance, if the other one was merely lost; not several times.
    pub(super) fn json_is_understood(&self) {
        let proven = self
            .0
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| {
                let known = (known < PROVEN).then_some(known + 1)?;
                Some(if known == PROVEN { JSON } else { known })
            });
        if proven.is_ok() && self.is_json() {
            tell();
        }
    }

    /// An answer in CBOR could not be read, and the same read succeeded in JSON: the server has an idea of its own of CBOR.
    pub(super) fn cbor_was_malformed(&self) {
        let before = self.0.malformed.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= PROVEN {
            self.json_is_spoken();
        }
    }

    /// What was asked in CBOR was answered in JSON.
    pub(super) fn json_is_spoken(&self) {
        if self.0.state.swap(JSON, Ordering::Relaxed) != JSON {
            tell();
        }
    }
}

fn tell() {
    tracing::info!("the server does not answer in CBOR; reading in JSON, which costs more");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: ErrorClass) -> CallError {
        CallError::new(class, "GetRecords", "for a test")
    }

    #[test]
    fn one_read_that_was_lost_does_not_make_all_others_cost_more() {
        let spoken = Spoken::new(ReadEncoding::Cbor);
        let lost = failed(ErrorClass::Transient);
        for _ in 0..2 {
            assert!(spoken.may_be_a_misunderstanding(&lost));
            spoken.json_is_understood();
            assert!(!spoken.is_json());
        }
        spoken.cbor_is_understood();
        assert!(!spoken.may_be_a_misunderstanding(&lost));
        spoken.json_is_understood();
        assert!(!spoken.is_json());
    }

    #[test]
    fn a_server_that_never_understands_is_not_asked_for_ever() {
        let spoken = Spoken::new(ReadEncoding::Cbor);
        for _ in 0..PROVEN {
            assert!(!spoken.is_json());
            assert!(spoken.may_be_a_misunderstanding(&failed(ErrorClass::InvalidArgument)));
            spoken.json_is_understood();
        }
        assert!(spoken.is_json());
    }

    #[test]
    fn a_server_whose_cbor_cannot_be_read_is_asked_in_json_soon() {
        let spoken = Spoken::new(ReadEncoding::Cbor);
        for _ in 0..PROVEN {
            // Pages without records can be read.
            spoken.cbor_is_understood();
            assert!(!spoken.is_json());
            spoken.cbor_was_malformed();
        }
        assert!(spoken.is_json());
    }

    #[test]
    fn who_has_read_the_request_understands_it() {
        let spoken = Spoken::new(ReadEncoding::Cbor);
        for class in [
            ErrorClass::Throttled,
            ErrorClass::Expired,
            ErrorClass::NotFound,
            ErrorClass::AccessDenied,
        ] {
            assert!(!spoken.may_be_a_misunderstanding(&failed(class)), "{class:?}");
        }
    }
}
