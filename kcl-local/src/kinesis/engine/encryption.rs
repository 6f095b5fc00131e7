//! Which records of a shard count as encrypted. Nothing is encrypted here.

use super::shard::Position;

/// From where on records are encrypted, and from where on they are not, in order. Empty if none ever was.
#[derive(Debug, Default)]
pub(crate) struct Encryption(Vec<(Position, bool)>);

impl Encryption {
    /// Turns it on or off from `tip` on. Nothing before `horizon` is left.
    pub(crate) fn set(&mut self, is_on: bool, tip: Position, horizon: Position) {
        if is_on == self.0.last().is_some_and(|(_, is_on)| *is_on) {
            return;
        }
        // Of what is trimmed only the last change still tells about records.
        let trimmed = self.0.partition_point(|(from, _)| *from <= horizon);
        self.0.drain(..trimmed.saturating_sub(1));
        self.0.push((tip, is_on));
    }

    /// Whether the record at a position counts as encrypted.
    pub(crate) fn is_on_at(&self, position: Position) -> bool {
        let mut changes = self.0.iter().rev().skip_while(|(from, _)| *from > position);
        changes.next().is_some_and(|(_, is_on)| *is_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(encryption: &Encryption, positions: std::ops::RangeInclusive<u64>) -> Vec<bool> {
        positions
            .map(|position| encryption.is_on_at(Position(position)))
            .collect()
    }

    #[test]
    fn a_record_counts_as_encrypted_as_its_shard_was_when_it_came() {
        let mut encryption = Encryption::default();
        assert_eq!(on(&encryption, 1..=2), [false, false]);
        encryption.set(true, Position(2), Position(1));
        encryption.set(true, Position(3), Position(1));
        encryption.set(false, Position(4), Position(1));
        assert_eq!(on(&encryption, 1..=5), [false, true, true, false, false]);
    }

    #[test]
    fn what_was_before_the_oldest_record_is_forgotten() {
        let mut encryption = Encryption::default();
        for change in 0..1_000 {
            let tip = Position(change * 10);
            encryption.set(change % 2 == 0, tip, Position((change * 10).saturating_sub(5)));
        }
        assert_eq!(encryption.0.len(), 2);
        assert_eq!(
            on(&encryption, 9_985..=9_990),
            [true, true, true, true, true, false]
        );
    }
}
