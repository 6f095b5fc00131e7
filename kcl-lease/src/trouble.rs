//! What a worker says of its own work, so that leases go to those who can process them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::LeaseKey;

/// How well a worker can do its work, by its own judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Condition {
    /// It works, or nothing is known against it.
    #[default]
    Well,
    /// All that it tries fails, but not for long: it keeps what it has and is given nothing more, as long as another can.
    Ailing,
    /// All that it tries has failed for long: its leases go to others, as long as another can.
    Unfit,
    /// It was unfit and is tried with one lease.
    OnTrial,
}

#[cfg(feature = "dynamodb")]
impl Condition {
    /// As the worker's row has it; nothing for a worker that is well.
    pub(crate) fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Well => None,
            Self::Ailing => Some("AILING"),
            Self::Unfit => Some("UNFIT"),
            Self::OnTrial => Some("ON_TRIAL"),
        }
    }

    /// What a row says. Whatever another version may have written is nothing against the worker.
    pub(crate) fn parse(text: &str) -> Self {
        let named = [Self::Ailing, Self::Unfit, Self::OnTrial];
        let found = named
            .into_iter()
            .find(|condition| condition.as_str() == Some(text));
        found.unwrap_or_default()
    }
}

/// The trouble that a worker is in. By default none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trouble {
    /// How well it can work.
    pub condition: Condition,
    /// Leases with which it failed for long lately, whether it still has them or not; at most [`MOST`](Self::MOST). What
    /// fails at two workers is not the fault of either, and stays where it is.
    pub failing: BTreeSet<LeaseKey>,
}

impl Trouble {
    /// So many failing leases are told: each takes the length of its key in the worker's row, which is read with each scan.
    pub const MOST: usize = 64;

    /// A condition, and the leases with which a worker failed for long.
    pub fn new(condition: Condition, failing: impl IntoIterator<Item = LeaseKey>) -> Self {
        Self {
            condition,
            failing: failing.into_iter().collect(),
        }
    }

    /// Whether all is well.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_round_trip_and_unknown_ones_are_nothing_against_a_worker() {
        for condition in [Condition::Ailing, Condition::Unfit, Condition::OnTrial] {
            assert_eq!(condition.as_str().map(Condition::parse), Some(condition));
        }
        assert_eq!(Condition::Well.as_str(), None);
        assert_eq!(Condition::parse("FLYING"), Condition::Well);
    }
}
