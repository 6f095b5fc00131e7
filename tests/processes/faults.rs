//! What can happen, dealt like cards, so that a short run meets every kind too.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// One more process.
    Started,
    /// SIGKILL.
    Killed,
    /// SIGKILL, and a new process under the same worker's name at once.
    Restarted,
    /// SIGTERM.
    ToldToLeave,
    /// SIGSTOP, and SIGCONT after less than the fail-over time.
    FrozenShortly,
    /// SIGSTOP, and SIGCONT after more than the fail-over time.
    FrozenLong,
    Split,
    Merge,
    LinkDown,
    LinkSilent,
    LinkSlow,
    AnswersLost,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::Started,
        Self::Killed,
        Self::Restarted,
        Self::ToldToLeave,
        Self::FrozenShortly,
        Self::FrozenLong,
        Self::Split,
        Self::Merge,
        Self::LinkDown,
        Self::LinkSilent,
        Self::LinkSlow,
        Self::AnswersLost,
    ];

    /// How many of these are in a deck. Where the workers keep sums, what leaves a transaction half done and what brings late writes is
    /// there more often.
    fn weight(self, with_sums: bool) -> usize {
        match self {
            Self::FrozenLong if with_sums => 4,
            Self::Killed if with_sums => 3,
            Self::Started | Self::AnswersLost if with_sums => 1,
            Self::Started | Self::Killed | Self::FrozenLong | Self::AnswersLost => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Killed => "killed",
            Self::Restarted => "killed and restarted",
            Self::ToldToLeave => "told to leave",
            Self::FrozenShortly => "frozen shortly",
            Self::FrozenLong => "frozen for longer than the fail-over time",
            Self::Split => "shard split",
            Self::Merge => "shards merged",
            Self::LinkDown => "link down",
            Self::LinkSilent => "link silent",
            Self::LinkSlow => "link slow",
            Self::AnswersLost => "answers lost",
        })
    }
}

/// A shuffled deck.
pub(crate) fn deck(dice: &mut fastrand::Rng, with_sums: bool) -> Vec<Fault> {
    let mut cards: Vec<_> = Fault::ALL
        .iter()
        .flat_map(|fault| std::iter::repeat_n(*fault, fault.weight(with_sums)))
        .collect();
    dice.shuffle(&mut cards);
    cards
}
