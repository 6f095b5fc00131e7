//! Positions in a shard: sequence numbers, sentinels and their order.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A sequence number that is not a decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a decimal sequence number nor one of TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END; \
     check the checkpoint attribute of this lease"
)]
pub struct InvalidSequenceNumber(pub String);

/// A Kinesis sequence number: a decimal number of some 60 digits or any other number of them, compared as a number.
///
/// ```
/// use kcl_lease::SequenceNumber;
///
/// let (first, second) = (SequenceNumber::parse("99")?, SequenceNumber::parse("100")?);
/// assert!(first < second, "compared as numbers");
/// # Ok::<(), kcl_lease::InvalidSequenceNumber>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SequenceNumber(Digits);

/// The digits that stand in a number itself, at most: Kinesis's have 56. Each record has a number, and needs no memory for it elsewhere.
const SHORT: usize = 62;

/// Digits without leading zeros, behind the short ones zero bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Digits {
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

impl Digits {
    fn new(digits: &str) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..digits.len()) {
            Some(place) => {
                place.copy_from_slice(digits.as_bytes());
                Self::Short(digits.len() as u8, short)
            }
            None => Self::Long(digits.into()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, digits) => &digits[..usize::from(*length)],
            Self::Long(digits) => digits.as_bytes(),
        }
    }
}

impl SequenceNumber {
    /// Parses decimal digits; leading zeros are dropped.
    ///
    /// # Errors
    /// Anything but one or more ASCII digits.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, InvalidSequenceNumber> {
        let text = text.as_ref();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidSequenceNumber(text.to_owned()));
        }
        let digits = text.trim_start_matches('0');
        Ok(Self(Digits::new(if digits.is_empty() { "0" } else { digits })))
    }

    /// The decimal digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }
}

impl TryFrom<String> for SequenceNumber {
    type Error = InvalidSequenceNumber;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text)
    }
}

impl From<SequenceNumber> for String {
    fn from(number: SequenceNumber) -> Self {
        number.as_str().to_owned()
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, its) = (self.0.as_bytes(), other.0.as_bytes());
        own.len().cmp(&its.len()).then_with(|| own.cmp(its))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The position of one user record: the Kinesis record's sequence number and the index of the user record inside an
/// aggregated record (0 for a plain one).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExtendedSequenceNumber {
    /// The Kinesis record.
    pub sequence: SequenceNumber,
    /// The user record inside it.
    pub sub_sequence: u64,
}

impl ExtendedSequenceNumber {
    /// A user record of a Kinesis record; index 0 for a plain one.
    pub fn new(sequence: SequenceNumber, sub_sequence: u64) -> Self {
        Self {
            sequence,
            sub_sequence,
        }
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no position: it is a decimal sequence number and, for a user record of an aggregate, a colon and its index"
)]
pub struct InvalidPosition(pub String);

/// Reads what [`Display`](fmt::Display) writes.
///
/// ```
/// use kcl_lease::ExtendedSequenceNumber;
///
/// let position: ExtendedSequenceNumber = "49590338271490256608559692538361571095921575989136588898:3".parse()?;
/// assert_eq!(position.sub_sequence, 3);
/// assert!("yesterday".parse::<ExtendedSequenceNumber>().is_err());
/// # Ok::<(), kcl_lease::InvalidPosition>(())
/// ```
impl FromStr for ExtendedSequenceNumber {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sequence, sub_sequence) = text.split_once(':').unwrap_or((text, "0"));
        let invalid = || InvalidPosition(text.to_owned());
        Ok(Self {
            sequence: SequenceNumber::parse(sequence).map_err(|_| invalid())?,
            sub_sequence: sub_sequence.parse().map_err(|_| invalid())?,
        })
    }
}

impl fmt::Display for ExtendedSequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub_sequence {
            0 => self.sequence.fmt(f),
            sub => write!(f, "{}:{sub}", self.sequence),
        }
    }
}

/// How far a shard has been processed.
///
/// The order is the Java KCL's: the start sentinels lie before every record, `ShardEnd` after every record.
///
/// ```
/// use kcl_lease::Checkpoint;
///
/// let checkpoint = Checkpoint::parse("4965", 0)?;
/// assert!(Checkpoint::TrimHorizon < checkpoint && checkpoint < Checkpoint::ShardEnd);
/// # Ok::<(), kcl_lease::InvalidSequenceNumber>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Checkpoint {
    /// Nothing yet; start at the configured time.
    AtTimestamp,
    /// Nothing yet; start at the oldest retained record.
    TrimHorizon,
    /// Nothing yet; start with records put after reading begins.
    Latest,
    /// Everything up to and including this user record.
    At(ExtendedSequenceNumber),
    /// Everything: the shard is closed and its last record was processed.
    ShardEnd,
}

impl Checkpoint {
    /// From the stored pair `checkpoint` and `checkpointSubSequenceNumber`.
    ///
    /// # Errors
    /// The text is neither a sentinel nor a decimal number.
    pub fn parse(text: impl Into<String>, sub_sequence: u64) -> Result<Self, InvalidSequenceNumber> {
        let text = text.into();
        Ok(match text.as_str() {
            "AT_TIMESTAMP" => Self::AtTimestamp,
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "SHARD_END" => Self::ShardEnd,
            number => Self::At(ExtendedSequenceNumber {
                sequence: SequenceNumber::parse(number)?,
                sub_sequence,
            }),
        })
    }

    /// The stored text: a sentinel's name or the sequence number.
    pub fn as_str(&self) -> &str {
        match self {
            Self::AtTimestamp => "AT_TIMESTAMP",
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::At(at) => at.sequence.as_str(),
            Self::ShardEnd => "SHARD_END",
        }
    }

    /// The stored sub-sequence number; 0 for sentinels.
    pub fn sub_sequence(&self) -> u64 {
        match self {
            Self::At(at) => at.sub_sequence,
            _ => 0,
        }
    }

    /// Whether the shard is finished.
    pub fn is_shard_end(&self) -> bool {
        *self == Self::ShardEnd
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            sentinel => f.write_str(sentinel.as_str()),
        }
    }
}

/// A checkpoint that was announced but not yet made, with opaque state of the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PendingCheckpoint {
    /// The position to be committed.
    pub checkpoint: Checkpoint,
    /// Whatever the application wants back in `initialize` after a crash in between.
    pub state: Option<Bytes>,
}

impl PendingCheckpoint {
    /// A position, and what the application wants back with it.
    pub fn new(checkpoint: Checkpoint, state: Option<Bytes>) -> Self {
        Self { checkpoint, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, sub: u64) -> Checkpoint {
        Checkpoint::parse(text, sub).expect("valid")
    }

    #[test]
    fn positions_are_ordered_as_the_java_kcl_orders_them() {
        let ascending = [
            Checkpoint::AtTimestamp,
            Checkpoint::TrimHorizon,
            Checkpoint::Latest,
            at("0", 0),
            at("9", 0),
            at("10", 0),
            at("10", 1),
            at("49680413626661517245128775301382031296558441705448144930", 0),
            at("149680413626661517245128775301382031296558441705448144930", 0),
            Checkpoint::ShardEnd,
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
    }

    #[test]
    fn stored_text_round_trips() {
        for text in [
            "AT_TIMESTAMP",
            "TRIM_HORIZON",
            "LATEST",
            "SHARD_END",
            "4968041362666",
        ] {
            assert_eq!(at(text, 0).as_str(), text);
        }
        assert_eq!(at("12", 7).sub_sequence(), 7);
        assert_eq!(
            at("TRIM_HORIZON", 7).sub_sequence(),
            0,
            "a sentinel has no sub-sequence"
        );
    }

    #[test]
    fn numbers_of_any_length_are_kept_and_compared() {
        let numbers = [1, SHORT - 1, SHORT, SHORT + 1, 300].map(|length| "9".repeat(length));
        let parsed = numbers
            .clone()
            .map(|number| SequenceNumber::parse(number).expect("digits"));
        assert!(parsed.is_sorted_by(|a, b| a < b));
        assert_eq!(parsed.map(String::from), numbers);
    }

    #[test]
    fn leading_zeros_do_not_change_a_number() {
        assert_eq!(at("007", 0), at("7", 0));
        assert_eq!(at("000", 0).as_str(), "0");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "-1", "12a", "trim_horizon", "1 2", "٣"] {
            assert!(Checkpoint::parse(text, 0).is_err(), "{text:?}");
        }
    }
}
