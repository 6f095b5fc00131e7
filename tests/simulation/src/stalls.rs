//! How long shards stood still, by what took them from their workers; and in which histories workers tell soon of shards that do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::{STALLS, Wanted};
use crate::history::{Event, Name, Row, What};
use crate::seeds::Dice;

/// When the workers of a seed's history tell of a shard that gets no further, if that is soon.
#[must_use]
pub fn after(seed: u64, wanted: &Wanted) -> Option<Duration> {
    let mut dice = Dice::of(seed, "stalls");
    let is_in = wanted.has(STALLS, dice.happens(250));
    let seconds = *dice.pick(&[2, 4, 8]).unwrap_or(&4);
    is_in.then(|| Duration::from_secs(seconds))
}

/// What takes a shard from its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its worker was killed.
    Killed,
    /// Its worker was told to stop.
    Stopped,
    /// Its worker lost the lease: it was frozen, or cut off.
    Lost,
    /// The leader began to hand it over.
    HandedOver,
}

impl Cause {
    /// As the summary names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "was killed",
            Self::Stopped => "was told to stop",
            Self::Lost => "lost its lease",
            Self::HandedOver => "handed it over",
        }
    }
}

/// What is known of one shard.
#[derive(Default)]
struct Shard {
    /// The life that began with it last, and under which token.
    served_by: Option<(Name, u64)>,
    /// Who is to hand it over.
    hands_over: Option<String>,
    /// Why it stands still, and since when.
    waits: Option<(Cause, Duration)>,
}

impl Shard {
    fn wait(&mut self, cause: Cause, since: Duration) {
        if self.served_by.is_some() {
            self.waits.get_or_insert((cause, since));
        }
    }

    fn follow(&mut self, row: &Row, at: Duration) {
        let before = std::mem::replace(&mut self.hands_over, row.checkpoint_owner.clone());
        if row.has_ended() {
            *self = Self::default();
        } else if row.checkpoint_owner.is_some() {
            self.wait(Cause::HandedOver, at);
        } else if before.is_some() && before == row.owner {
            // The hand-off was cancelled.
            self.waits = self.waits.filter(|(cause, _)| *cause != Cause::HandedOver);
        }
    }
}

/// The longest times from the moment at which a shard was taken from the worker that processed it to its next processor.
pub fn worst(events: &[Event]) -> BTreeMap<Cause, Duration> {
    let mut shards: BTreeMap<Name, Shard> = BTreeMap::new();
    let mut worst: BTreeMap<Cause, Duration> = BTreeMap::new();
    for event in events {
        let mut leaves = |cause| {
            let its = |shard: &&mut Shard| shard.served_by.as_ref().is_some_and(|(who, _)| *who == event.who);
            shards
                .values_mut()
                .filter(its)
                .for_each(|shard| shard.wait(cause, event.at));
        };
        match &event.what {
            What::Killed { .. } => leaves(Cause::Killed),
            What::Stopping { .. } => leaves(Cause::Stopped),
            What::Row { shard, row } => shards.entry(shard.clone()).or_default().follow(row, event.at),
            What::LeaseLost { of } => {
                let shard = shards.entry(of.shard.clone()).or_default();
                // Whoever was frozen, or cut off, may learn of it when somebody else has begun.
                if shard.served_by == Some((event.who.clone(), of.token)) {
                    shard.wait(Cause::Lost, event.at);
                }
            }
            What::RowDeletedByHand { shard } | What::RowEditedByHand { shard, .. } => {
                shards.remove(shard);
            }
            What::ShardEnded { of } => {
                shards.remove(&of.shard);
            }
            What::Initialized { of } => {
                let shard = shards.entry(of.shard.clone()).or_default();
                shard.served_by = Some((event.who.clone(), of.token));
                if let Some((cause, since)) = shard.waits.take() {
                    let longest = worst.entry(cause).or_default();
                    *longest = (*longest).max(event.at - since);
                }
            }
            _ => {}
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use kcl_core::Checkpoint;

    use super::*;
    use crate::history::Ownership;

    fn event(at: u64, who: &str, what: What) -> Event {
        Event {
            at: Duration::from_secs(at),
            who: who.into(),
            what,
        }
    }

    fn row(at: u64, owner: &str, from: Option<&str>) -> Event {
        let row = Row {
            owner: Some(owner.to_owned()),
            checkpoint_owner: from.map(ToOwned::to_owned),
            counter: at,
            checkpoint: Checkpoint::TrimHorizon,
            rewind_to: None,
        };
        let shard = "shard".into();
        event(at, "world", What::Row { shard, row })
    }

    fn initialized(at: u64, who: &str) -> Event {
        let of = Ownership {
            shard: "shard".into(),
            token: at,
        };
        event(at, who, What::Initialized { of })
    }

    fn lost(at: u64, who: &str, token: u64) -> Event {
        let of = Ownership {
            shard: "shard".into(),
            token,
        };
        event(at, who, What::LeaseLost { of })
    }

    #[test]
    fn who_is_told_late_of_its_loss_takes_the_shard_from_nobody() {
        let told_late = [
            initialized(1, "a"),
            initialized(5, "b"),
            lost(6, "a", 1),
            initialized(60, "c"),
        ];
        assert_eq!(worst(&told_late), BTreeMap::new());
        let told_at_once = [initialized(1, "a"), lost(4, "a", 1), initialized(5, "b")];
        assert_eq!(
            worst(&told_at_once),
            BTreeMap::from([(Cause::Lost, Duration::from_secs(1))])
        );
    }

    #[test]
    fn a_hand_off_that_is_cancelled_and_a_shard_that_nobody_has_begun_with_do_not_count() {
        let kill = event(10, "a", What::Killed { id: "a".to_owned() });
        let not_begun = [row(0, "a", None), kill, initialized(60, "b")];
        assert_eq!(worst(&not_begun), BTreeMap::new());
        let cancelled = [
            row(0, "a", None),
            initialized(1, "a"),
            row(5, "b", Some("a")),
            row(6, "a", None),
            initialized(60, "b"),
        ];
        assert_eq!(worst(&cancelled), BTreeMap::new());
    }

    #[test]
    fn the_longest_wait_of_each_cause_is_kept() {
        let kill = |at, id: &str| event(at, id, What::Killed { id: id.to_owned() });
        let stop = |at, id: &str| event(at, id, What::Stopping { id: id.to_owned() });
        let events = [
            row(0, "a", None),
            initialized(1, "a"),
            kill(10, "a"),
            initialized(21, "b"),
            row(22, "b", None),
            stop(30, "b"),
            row(31, "c", Some("b")),
            initialized(32, "c"),
            row(33, "c", None),
            row(40, "d", Some("c")),
            initialized(43, "d"),
            row(44, "d", None),
            kill(50, "d"),
            initialized(54, "e"),
            kill(60, "nobody"),
        ];
        let seconds = |cause, seconds| (cause, Duration::from_secs(seconds));
        let expected = [
            seconds(Cause::Killed, 11),
            seconds(Cause::Stopped, 2),
            seconds(Cause::HandedOver, 3),
        ];
        assert_eq!(worst(&events), BTreeMap::from(expected));
    }
}
