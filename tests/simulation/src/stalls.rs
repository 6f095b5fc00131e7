//! How long shards stood still, by what took them from their workers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Event, Name, Row, What};

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

/// The longest times from the moment at which a shard was taken from its worker to its next processor.
pub fn worst(events: &[Event]) -> BTreeMap<Cause, Duration> {
    let mut rows: BTreeMap<Name, Row> = BTreeMap::new();
    let mut waiting: BTreeMap<Name, (Cause, Duration)> = BTreeMap::new();
    let mut worst: BTreeMap<Cause, Duration> = BTreeMap::new();
    for event in events {
        match &event.what {
            What::Row { shard, row } => {
                if row.checkpoint.is_shard_end() {
                    waiting.remove(shard);
                } else if row.checkpoint_owner.is_some() {
                    waiting
                        .entry(shard.clone())
                        .or_insert((Cause::HandedOver, event.at));
                }
                rows.insert(shard.clone(), row.clone());
            }
            What::Killed { id } => wait(&rows, &mut waiting, id, (Cause::Killed, event.at)),
            What::Stopping { id } => wait(&rows, &mut waiting, id, (Cause::Stopped, event.at)),
            What::LeaseLost { of } => {
                waiting.entry(of.shard.clone()).or_insert((Cause::Lost, event.at));
            }
            What::RowDeletedByHand { shard } | What::RowEditedByHand { shard, .. } => {
                waiting.remove(shard);
            }
            What::Initialized { of } => {
                if let Some((cause, since)) = waiting.remove(&of.shard) {
                    let longest = worst.entry(cause).or_default();
                    *longest = (*longest).max(event.at - since);
                }
            }
            _ => {}
        }
    }
    worst
}

/// The shards of a worker wait from now on, unless they do already.
fn wait(
    rows: &BTreeMap<Name, Row>,
    waiting: &mut BTreeMap<Name, (Cause, Duration)>,
    worker: &str,
    why: (Cause, Duration),
) {
    let is_its = |row: &Row| row.actual_owner().is_some_and(|owner| owner == worker);
    let its = rows
        .iter()
        .filter(|(_, row)| is_its(row) && !row.checkpoint.is_shard_end());
    for (shard, _) in its {
        waiting.entry(shard.clone()).or_insert(why);
    }
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
