//! Which shard iterator continues from which position. Pure.

use std::time::{Duration, SystemTime};

use kcl_lease::{Checkpoint, SequenceNumber};

use crate::config::InitialPosition;
use crate::stream::StartingPosition;

/// The position in a shard from which a new iterator continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(StartingPosition);

impl Cursor {
    /// How far the time that is known may be ahead of the clock by which records arrive without records being missed.
    pub(crate) const CLOCK_MARGIN: Duration = Duration::from_secs(10);

    /// Where reading starts after a checkpoint; `None` at the end of a shard.
    ///
    /// The checkpointed record itself is read again: more user records of the same aggregate may follow the one that
    /// was checkpointed. The reader filters out what the checkpoint covers.
    pub(crate) fn from_checkpoint(checkpoint: &Checkpoint, initial: InitialPosition) -> Option<Self> {
        Some(Self(match checkpoint {
            Checkpoint::TrimHorizon => StartingPosition::TrimHorizon,
            Checkpoint::Latest => StartingPosition::Latest,
            Checkpoint::AtTimestamp => match initial {
                InitialPosition::AtTimestamp(at) => StartingPosition::AtTimestamp(at),
                // The setting was changed since the lease was made. Nothing is lost from the beginning on.
                _ => StartingPosition::TrimHorizon,
            },
            Checkpoint::At(at) => StartingPosition::AtSequenceNumber(at.sequence.clone()),
            Checkpoint::ShardEnd => return None,
        }))
    }

    /// Reading starts with the first record that arrived at this time or later.
    pub(crate) fn from_time(time: SystemTime) -> Self {
        Self(StartingPosition::AtTimestamp(time))
    }

    /// Reading starts with the record of this number.
    pub(crate) fn at_record(number: SequenceNumber) -> Self {
        Self(StartingPosition::AtSequenceNumber(number))
    }

    /// Where a feed begins to continue here.
    pub(crate) fn position(&self) -> &StartingPosition {
        &self.0
    }

    /// An iterator for this position was obtained at `now`. "The latest record" is fixed from then on: a later
    /// iterator, after an outage, must not skip what was put meanwhile.
    pub(crate) fn opened(&mut self, now: SystemTime) {
        if self.0 == StartingPosition::Latest {
            self.0 = StartingPosition::AtTimestamp(now.checked_sub(Self::CLOCK_MARGIN).unwrap_or(now));
        }
    }

    /// Records up to this one were read. A new iterator starts with it once more: that it is still there proves that
    /// nothing behind it was trimmed.
    pub(crate) fn read(&mut self, last: SequenceNumber) {
        self.0 = StartingPosition::AtSequenceNumber(last);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn number(text: &str) -> SequenceNumber {
        SequenceNumber::parse(text).expect("digits")
    }

    fn start(checkpoint: &str, initial: InitialPosition) -> Option<StartingPosition> {
        let checkpoint = Checkpoint::parse(checkpoint, 0).expect("valid");
        Cursor::from_checkpoint(&checkpoint, initial).map(|cursor| cursor.position().clone())
    }

    #[test]
    fn each_checkpoint_has_its_iterator() {
        let time = UNIX_EPOCH + Duration::from_secs(77);
        let timed = InitialPosition::AtTimestamp(time);
        for (checkpoint, initial, expected) in [
            ("TRIM_HORIZON", timed, Some(StartingPosition::TrimHorizon)),
            ("LATEST", timed, Some(StartingPosition::Latest)),
            ("AT_TIMESTAMP", timed, Some(StartingPosition::AtTimestamp(time))),
            (
                "AT_TIMESTAMP",
                InitialPosition::Latest,
                Some(StartingPosition::TrimHorizon),
            ),
            (
                "42",
                timed,
                Some(StartingPosition::AtSequenceNumber(number("42"))),
            ),
            ("SHARD_END", timed, None),
        ] {
            assert_eq!(start(checkpoint, initial), expected, "{checkpoint}");
        }
    }

    #[test]
    fn after_a_read_it_goes_on_with_the_last_record() {
        let mut cursor = Cursor(StartingPosition::AtSequenceNumber(number("42")));
        cursor.read(number("45"));
        assert_eq!(
            cursor.position(),
            &StartingPosition::AtSequenceNumber(number("45"))
        );
    }

    #[test]
    fn the_latest_record_is_a_fixed_place_once_reading_began() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let mut cursor = Cursor(StartingPosition::Latest);
        cursor.opened(now);
        let fixed = StartingPosition::AtTimestamp(now - Cursor::CLOCK_MARGIN);
        assert_eq!(cursor.position(), &fixed);
        cursor.opened(now + Duration::from_secs(600));
        assert_eq!(cursor.position(), &fixed);
    }
}
