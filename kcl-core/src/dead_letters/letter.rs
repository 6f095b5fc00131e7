//! A record that was given up, with what it takes to put it back.

mod written;

use std::error::Error as StdError;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use kcl_lease::{ExtendedSequenceNumber, SequenceNumber, WorkerId};
use serde::{Deserialize, Serialize};

use crate::config::{ShardId, Stream};
use crate::record::Record;

/// Of one error of a chain no more is kept than this, in bytes: some errors cite what they could not read.
const LONGEST_MESSAGE: usize = 2048;
/// So many errors of a chain are kept.
const LONGEST_CHAIN: usize = 16;

/// A record that could not be processed and was given up, with what it takes to put it back into the stream or through a
/// processor.
///
/// In JSON it is one object, with the payload in base64 and times as RFC 3339. Who reads it ignores members that it does not
/// know.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use kcl_core::dead_letters::{DeadLetter, GivenUp};
/// use kcl_core::{ProcessorError, ShardId, Stream};
///
/// let record = kcl_core::testing::record("{").partition_key("customer-7").sequence_number(4965).build();
/// let error = ProcessorError::from("no JSON");
/// let letter = DeadLetter::new(&record, &GivenUp {
///     application: "billing",
///     worker: &"worker-1".into(),
///     stream: &Stream::parse("orders")?,
///     shard_id: &ShardId::from("shardId-000000000003"),
///     error: error.as_error(),
///     attempts: 10,
///     first_failed_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
///     given_up_at: UNIX_EPOCH + Duration::from_secs(1_800_000_060),
/// });
/// assert_eq!(letter.id(), "orders/shardId-000000000003/4965/0");
///
/// let json = serde_json::to_string(&letter)?;
/// assert!(json.contains(r#""data":"ew==""#) && json.contains("2027-01-15T08:01:00Z"), "{json}");
/// assert_eq!(serde_json::from_str::<DeadLetter>(&json)?, letter);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    id: String,
    /// The application that gave the record up.
    pub application: String,
    /// The worker that did.
    pub worker: WorkerId,
    /// The stream, by the name or the ARN that the worker was given.
    pub stream: String,
    /// The shard.
    pub shard_id: String,
    /// The Kinesis record's number in its shard.
    pub sequence_number: SequenceNumber,
    /// The index of the user record in its aggregate; 0 for a plain record.
    #[serde(default)]
    pub sub_sequence_number: u64,
    /// Whether it was in an aggregate, together with others.
    #[serde(default)]
    pub is_aggregated: bool,
    /// The key that the producer gave; empty if it gave none.
    pub partition_key: String,
    /// The hash key that the producer gave; known for aggregated records only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explicit_hash_key: Option<String>,
    /// When Kinesis received the record.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "written::time_if_known"
    )]
    pub approximate_arrival: Option<SystemTime>,
    /// When it failed for the first time, as far as the worker knew.
    #[serde(with = "written::time")]
    pub first_failed_at: SystemTime,
    /// When it was given up.
    #[serde(with = "written::time")]
    pub given_up_at: SystemTime,
    /// How often it failed.
    pub attempts: u32,
    /// Why it failed in the end: the error's message, and those of its sources. Long ones are cut.
    pub error: Vec<String>,
    /// The payload.
    #[serde(with = "written::payload")]
    pub data: Bytes,
}

/// Where, when and why a record was given up: what a [`DeadLetter`] tells beside the record.
#[derive(Debug, Clone, Copy)]
pub struct GivenUp<'a> {
    /// The application.
    pub application: &'a str,
    /// The worker.
    pub worker: &'a WorkerId,
    /// The stream.
    pub stream: &'a Stream,
    /// The shard.
    pub shard_id: &'a ShardId,
    /// Why it failed at last.
    pub error: &'a (dyn StdError + 'static),
    /// How often it failed.
    pub attempts: u32,
    /// When it failed for the first time.
    pub first_failed_at: SystemTime,
    /// When it was given up.
    pub given_up_at: SystemTime,
}

impl DeadLetter {
    /// Of a record, whose payload is shared and not copied.
    pub fn new(record: &Record, given_up: &GivenUp<'_>) -> Self {
        let (sequence, sub_sequence) = (record.sequence_number(), record.sub_sequence_number());
        let (stream, shard) = (given_up.stream, given_up.shard_id);
        Self {
            id: format!("{}/{shard}/{sequence}/{sub_sequence}", stream.name()),
            application: given_up.application.to_owned(),
            worker: given_up.worker.clone(),
            stream: stream.to_string(),
            shard_id: shard.to_string(),
            sequence_number: sequence.clone(),
            sub_sequence_number: sub_sequence,
            is_aggregated: record.is_aggregated(),
            partition_key: record.partition_key().to_owned(),
            explicit_hash_key: record.explicit_hash_key().map(str::to_owned),
            approximate_arrival: record.approximate_arrival(),
            first_failed_at: given_up.first_failed_at,
            given_up_at: given_up.given_up_at,
            attempts: given_up.attempts,
            error: messages(given_up.error),
            data: record.data().clone(),
        }
    }

    /// The record's name: its stream, shard, sequence number and sub-sequence number. A letter that is written twice, since the
    /// worker ended before the checkpoint passed the record, has the same one both times.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The record as it was delivered, or as whoever changed the letter wants it delivered.
    pub fn record(&self) -> Record {
        Record::of_letter(
            ExtendedSequenceNumber::new(self.sequence_number.clone(), self.sub_sequence_number),
            self.data.clone(),
            self.partition_key.as_str().into(),
            self.explicit_hash_key.as_deref().map(Into::into),
            self.approximate_arrival,
            self.is_aggregated,
        )
    }

    /// A copy with a payload of its own, to be kept for long.
    pub(super) fn detach(&self) -> Self {
        Self {
            data: Bytes::copy_from_slice(&self.data),
            ..self.clone()
        }
    }

    /// As sinks write it: JSON without line breaks.
    ///
    /// # Errors
    /// A time that RFC 3339 cannot tell, before the year 0 or after 9999.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl fmt::Debug for DeadLetter {
    /// Shows everything but the payload, of which only the length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("application", &self.application)
            .field("partition_key", &self.partition_key)
            .field("attempts", &self.attempts)
            .field("error", &self.error)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// An error's message and those of its sources.
fn messages(error: &(dyn StdError + 'static)) -> Vec<String> {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let texts = chain.take(LONGEST_CHAIN).map(|error| cut(error.to_string()));
    texts.collect()
}

fn cut(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    message
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::processor_error::ProcessorError;
    use crate::record::builder::{RecordBuilder, record};

    /// The letter of a record.
    pub(crate) fn letter_of(record: RecordBuilder) -> DeadLetter {
        letter_with(record, &ProcessorError::from("not today"))
    }

    /// A letter whose record has this number, and a payload that tells it.
    pub(crate) fn letter(number: u64) -> DeadLetter {
        letter_of(record(format!("payload {number}")).sequence_number(number))
    }

    fn letter_with(record: RecordBuilder, error: &ProcessorError) -> DeadLetter {
        let given_up = GivenUp {
            application: "app",
            worker: &"w1".into(),
            stream: &Stream::parse("clicks").expect("a name"),
            shard_id: &"shardId-000000000000".into(),
            error: error.as_error(),
            attempts: 7,
            first_failed_at: UNIX_EPOCH + Duration::from_millis(1_800_000_000_123),
            given_up_at: UNIX_EPOCH + Duration::from_secs(1_800_000_060),
        };
        DeadLetter::new(&record.build(), &given_up)
    }

    fn read_back(letter: &DeadLetter) -> DeadLetter {
        serde_json::from_slice(&letter.to_json().expect("written")).expect("read")
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_record_holds() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let strange = record(every_byte)
            .sub_sequence_number(3)
            .partition_key("a\nb\u{0}\"é")
            .explicit_hash_key("340282366920938463463374607431768211455");
        for builder in [strange, record(""), record("x").partition_key("")] {
            let letter = letter_of(builder.clone());
            assert_eq!(read_back(&letter), letter);
            assert!(!letter.to_json().expect("written").contains(&b'\n'));
            let (original, again) = (builder.build(), letter.record());
            assert_eq!(again.data(), original.data());
            assert_eq!(again.position(), original.position());
            assert_eq!(again.partition_key(), original.partition_key());
            assert_eq!(again.explicit_hash_key(), original.explicit_hash_key());
            assert_eq!(again.approximate_arrival(), original.approximate_arrival());
            assert_eq!(again.is_aggregated(), original.is_aggregated());
        }
    }

    #[test]
    fn two_letters_of_a_record_have_one_id_and_those_of_two_user_records_have_two() {
        let of = |index| letter_of(record("x").sequence_number(9).sub_sequence_number(index));
        assert_eq!(of(1).id(), of(1).id());
        assert_ne!(of(1).id(), of(11).id());
        assert_eq!(of(1).id(), "clicks/shardId-000000000000/9/1");
    }

    #[test]
    fn the_error_is_told_with_its_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::num::ParseIntError);
        let error = ProcessorError::from(Outer("x".parse::<u8>().expect_err("no number")));
        let letter = letter_with(record("x"), &error);
        assert_eq!(letter.error, ["outer", "invalid digit found in string"]);
    }

    #[test]
    fn an_error_that_cites_its_record_is_cut() {
        let error = ProcessorError::from("é".repeat(1 << 20));
        let letter = letter_with(record("x"), &error);
        assert!(letter.error[0].len() <= LONGEST_MESSAGE + 3 && letter.error[0].ends_with("é…"));
    }

    #[test]
    fn members_that_are_not_known_are_ignored_and_those_that_may_lack_may_lack() {
        let mut json = serde_json::to_value(letter(7)).expect("written");
        let members = json.as_object_mut().expect("an object");
        members.insert("since_version_9".into(), serde_json::json!({"nested": [1, null]}));
        for may_lack in ["sub_sequence_number", "is_aggregated", "approximate_arrival"] {
            members.remove(may_lack).expect(may_lack);
        }
        let read: DeadLetter = serde_json::from_value(json).expect("read");
        let expected = DeadLetter {
            approximate_arrival: None,
            ..letter(7)
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_letter_is_an_error_that_says_why() {
        for (member, value, told) in [
            ("data", "%%%", "base64"),
            ("sequence_number", "LATEST", "sequence number"),
            ("given_up_at", "yesterday", "RFC 3339"),
            ("given_up_at", "2027-13-01T00:00:00Z", "RFC 3339"),
            ("attempts", "many", "expected u32"),
        ] {
            let mut json = serde_json::to_value(letter(7)).expect("written");
            json[member] = value.into();
            let error = serde_json::from_value::<DeadLetter>(json).expect_err(member);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_told_is_an_error_and_no_panic() {
        let far = Duration::from_secs(400_000 * 365 * 24 * 3600);
        let letter = DeadLetter {
            given_up_at: UNIX_EPOCH + far,
            ..letter(7)
        };
        assert!(letter.to_json().is_err());
    }

    #[test]
    fn debugging_shows_no_payload() {
        let text = format!("{:?}", letter_of(record("secret")));
        assert!(text.contains("bytes: 6") && !text.contains("secret"), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_becomes_of_the_text_is_a_letter_or_an_error(
            changes in proptest::collection::vec((0..600_usize, proptest::prelude::any::<u8>()), 1..4),
            end in 0..700_usize,
        ) {
            let mut json = letter(7).to_json().expect("written");
            for (at, byte) in changes {
                let length = json.len();
                json[at % length] = byte;
            }
            json.truncate(end.max(1));
            if let Ok(read) = serde_json::from_slice::<DeadLetter>(&json) {
                let _ = (read.record(), read.to_json());
            }
        }

        #[test]
        fn whatever_stands_for_a_time_is_one_or_an_error(time in "[-+]?[0-9]{0,12}-?[0-9]{0,3}-?[0-9]{0,3}T?[0-9:.]{0,24}[Z+-]?[0-9:]{0,6}|\\PC{0,30}") {
            let mut json = serde_json::to_value(letter(7)).expect("written");
            json["given_up_at"] = time.into();
            if let Ok(read) = serde_json::from_value::<DeadLetter>(json) {
                let _ = read.to_json();
            }
        }
    }
}
