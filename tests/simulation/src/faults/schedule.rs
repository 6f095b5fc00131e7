//! What is done to the fleet and to the stream, and when.

use std::time::Duration;

use super::Wanted;
use crate::seeds::Dice;

/// Something that is done at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A worker is killed, and another one starts under a new id.
    Kill,
    /// A worker is killed and starts again under its old id.
    KillAndReturn,
    /// A worker stands still for longer than the fail-over time.
    Freeze,
    /// A worker cannot reach the lease table.
    CutDynamoDb,
    /// A worker cannot reach the stream.
    CutKinesis,
    /// A worker can reach neither.
    CutBoth,
    /// A worker's requests arrive, the answers do not.
    OneWay,
    /// A worker's requests are slow.
    Slow,
    /// A worker's requests are throttled.
    Throttle,
    /// A worker's wall clock jumps.
    ClockJump,
    /// A shard is split.
    Split,
    /// Two shards are merged.
    Merge,
    /// A shard is split, and its children are split at once.
    DoubleSplit,
    /// A worker joins.
    ScaleOut,
    /// A worker stops.
    ScaleIn,
    /// Every worker is replaced, one after the other.
    Deploy,
    /// A lease's row is deleted.
    DeleteRow,
    /// A lease's row is changed by hand.
    EditRow,
    /// The whole lease table is deleted. Workers that start make a new one.
    DeleteTable,
    /// Reads of the lease table by a worker lag behind.
    Lag,
    /// A worker is killed, and whatever its shards hold is trimmed before the next one comes to it.
    Outage,
    /// A second process is started under the id of a worker that lives.
    Twin,
    /// A worker may not read its shards.
    DenyReads,
    /// A worker may not query the owner index.
    DenyIndex,
    /// The owner index is missing, or being built.
    LoseIndex,
    /// A worker's processors keep their runtime from everything else; leases are renewed on another thread.
    Block,
    /// A lease's row is made unreadable by mistake, and mended later.
    Damage,
    /// The stream is deleted, and another one is made under its name.
    MakeAnew,
}

impl Deed {
    /// All deeds, each with its weight when all are possible.
    const ALL: [(Self, u64); 28] = [
        (Self::Kill, 10),
        (Self::KillAndReturn, 5),
        (Self::Freeze, 8),
        (Self::CutDynamoDb, 6),
        (Self::CutKinesis, 6),
        (Self::CutBoth, 6),
        (Self::OneWay, 6),
        (Self::Slow, 6),
        (Self::Throttle, 4),
        (Self::ClockJump, 4),
        (Self::Split, 8),
        (Self::Merge, 8),
        (Self::DoubleSplit, 4),
        (Self::ScaleOut, 8),
        (Self::ScaleIn, 8),
        (Self::Deploy, 3),
        (Self::DeleteRow, 3),
        (Self::DeleteTable, 1),
        (Self::Lag, 6),
        (Self::Outage, 2),
        (Self::EditRow, 12),
        (Self::Twin, 12),
        (Self::DenyReads, 10),
        (Self::DenyIndex, 6),
        (Self::LoseIndex, 6),
        (Self::Block, 10),
        (Self::Damage, 14),
        (Self::MakeAnew, 20),
    ];

    /// The names of all.
    pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
        Self::ALL.into_iter().map(|(deed, _)| deed.name())
    }

    /// Its name in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAndReturn => "kill and return",
            Self::Freeze => "freeze",
            Self::CutDynamoDb => "cut from DynamoDB",
            Self::CutKinesis => "cut from Kinesis",
            Self::CutBoth => "cut from both",
            Self::OneWay => "one-way network",
            Self::Slow => "slow network",
            Self::Throttle => "all throttled",
            Self::ClockJump => "clock jump",
            Self::Split => "split",
            Self::Merge => "merge",
            Self::DoubleSplit => "double split",
            Self::ScaleOut => "scale out",
            Self::ScaleIn => "scale in",
            Self::Deploy => "deploy",
            Self::DeleteRow => "row deleted",
            Self::EditRow => "row edited",
            Self::DeleteTable => "table deleted",
            Self::Lag => "lagging reads",
            Self::Outage => "outage beyond retention",
            Self::Twin => "twin",
            Self::DenyReads => "reads denied",
            Self::DenyIndex => "index denied",
            Self::LoseIndex => "index missing",
            Self::Block => "runtime blocked",
            Self::Damage => "row unreadable",
            Self::MakeAnew => "stream made anew",
        }
    }

    /// The last digit of the seeds in whose histories alone this is done: those of the others are what they would be if nobody
    /// ever did that.
    fn only_in(self) -> Option<u64> {
        match self {
            Self::Twin => Some(1),
            Self::DenyReads | Self::DenyIndex | Self::LoseIndex | Self::Block => Some(5),
            Self::EditRow => Some(6),
            Self::Damage => Some(7),
            Self::MakeAnew => Some(9),
            _ => None,
        }
    }
}

/// The deeds of one history, as they come.
#[derive(Debug)]
pub struct Schedule {
    dice: Dice,
    deeds: Vec<(Deed, u64)>,
    longest_pause: u64,
}

impl Schedule {
    /// Every other history has every deed in it; the others have some, and so more of each.
    ///
    /// An application that starts at the latest record begins anew there when its leases are deleted, and nobody can know
    /// what it misses: such a history `keeps_leases`.
    pub fn drawn(seed: u64, wanted: &Wanted, keeps_leases: bool) -> Self {
        let mut dice = Dice::of(seed, "schedule");
        let has_all = dice.happens(500);
        let mut deeds: Vec<_> = Deed::ALL
            .into_iter()
            .filter(|(deed, _)| {
                let is_drawn = match deed.only_in() {
                    Some(digit) if seed % 10 != digit => false,
                    None | Some(6) => has_all || dice.happens(350),
                    // Without it the history is what it was before there was such a thing.
                    Some(_) => true,
                };
                wanted.is_among_the_only(deed.name()).unwrap_or(is_drawn)
            })
            .filter(|(deed, _)| !wanted.lacks(deed.name()))
            .filter(|(deed, _)| {
                let begins_anew = [Deed::DeleteRow, Deed::DeleteTable, Deed::EditRow, Deed::MakeAnew];
                !keeps_leases || !begins_anew.contains(deed)
            })
            .collect();
        // What is set aside with a stream is to be found at the end.
        if deeds.iter().any(|(deed, _)| *deed == Deed::MakeAnew) {
            deeds.retain(|(deed, _)| *deed != Deed::DeleteTable);
        }
        if deeds.is_empty() {
            deeds.push((Deed::Kill, 1));
        }
        let longest_pause = *dice.pick(&[3_000, 8_000, 15_000]).unwrap_or(&8_000);
        Self {
            dice,
            deeds,
            longest_pause,
        }
    }

    /// Whether this may happen.
    pub fn has(&self, deed: Deed) -> bool {
        self.deeds.iter().any(|(it, _)| *it == deed)
    }

    /// The next deed, and how long to wait before it.
    pub fn next_deed(&mut self) -> (Duration, Deed) {
        let total = self.deeds.iter().map(|(_, weight)| weight).sum();
        let mut roll = self.dice.roll(total);
        let deed = self.deeds.iter().find(|(_, weight)| {
            let is_it = roll < *weight;
            roll = roll.saturating_sub(*weight);
            is_it
        });
        let pause = Duration::from_millis(self.dice.roll(self.longest_pause));
        (pause, deed.map_or(Deed::Kill, |(deed, _)| *deed))
    }

    /// How long a disturbance lasts: anything from a moment to well beyond the fail-over time.
    pub fn duration(&mut self, failover: Duration) -> Duration {
        let longest = u64::try_from(failover.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_mul(3);
        Duration::from_millis(self.dice.between(50, longest.max(51)))
    }

    /// How long a worker is denied something: at times for so long that others take its leases, and it comes back.
    pub fn denial(&mut self, failover: Duration) -> Duration {
        let longest = u64::try_from((failover * 8).as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.dice.between(1_000, longest + 45_000))
    }

    /// Chance, for the details of a deed.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deeds(seed: u64, wanted: &Wanted) -> Vec<Deed> {
        let schedule = Schedule::drawn(seed, wanted, false);
        schedule.deeds.into_iter().map(|(deed, _)| deed).collect()
    }

    #[test]
    fn what_is_in_one_history_of_ten_is_in_no_other_one_unless_it_is_wanted() {
        let usual = Wanted::default();
        for (deed, _) in Deed::ALL.into_iter().filter(|(deed, _)| deed.only_in().is_some()) {
            let digit = deed.only_in().unwrap();
            let with: Vec<_> = (0..300)
                .filter(|seed| deeds(*seed, &usual).contains(&deed))
                .collect();
            assert!(with.len() > 10, "{deed:?}: {with:?}");
            assert!(with.iter().all(|seed| seed % 10 == digit), "{deed:?}: {with:?}");
            let only = Wanted {
                only: vec![deed.name().to_owned()],
                ..Wanted::default()
            };
            assert_eq!(deeds(digit + 1, &only), [deed]);
            let without = Wanted {
                without: vec![deed.name().to_owned()],
                ..Wanted::default()
            };
            assert!(!deeds(digit, &without).contains(&deed));
        }
    }

    #[test]
    fn a_history_without_what_is_new_in_it_is_what_it_was_before() {
        for (seed, new) in [(1, "twin"), (7, "row unreadable")] {
            let without = Wanted {
                without: vec![new.to_owned()],
                ..Wanted::default()
            };
            let mut schedule = Schedule::drawn(seed, &Wanted::default(), false);
            let mut before = Schedule::drawn(seed, &without, false);
            schedule.deeds.retain(|(deed, _)| deed.name() != new);
            assert_eq!(schedule.deeds, before.deeds);
            assert_eq!(schedule.dice.next(), before.dice.next());
        }
    }
}
