//! How often the instance metadata service is asked, and what is said when it does not answer. Pure.

use std::time::Duration;

/// While it throttles or fails it is asked this seldom at most: a spot instance has two minutes.
const LONGEST_WHEN_FAILING: Duration = Duration::from_secs(20);
/// The same where it never answered: most likely there is none.
const LONGEST_WHEN_ABSENT: Duration = Duration::from_secs(60);
/// A network may still be on its way when a machine starts, and one lost answer is none.
const UNMENTIONED: u32 = 2;

/// How a round of questions went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    Answered,
    /// Nobody is there, or not for this process.
    Absent,
    Failed,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Absent,
    Failing,
    Back,
}

#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    has_answered: bool,
    /// Rounds in a row that brought no answer.
    failures: u32,
    is_told: bool,
}

impl Pace {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            has_answered: false,
            failures: 0,
            is_told: false,
        }
    }

    /// What is said after a round, and the pause before the next one.
    pub(crate) fn after(&mut self, round: Round) -> (Said, Duration) {
        if round == Round::Answered {
            let said = if self.is_told { Said::Back } else { Said::Nothing };
            *self = Self {
                has_answered: true,
                ..Self::new(self.interval)
            };
            return (said, self.interval);
        }
        self.failures = self.failures.saturating_add(1);
        let is_absent = round == Round::Absent && !self.has_answered;
        let longest = if is_absent {
            LONGEST_WHEN_ABSENT
        } else {
            LONGEST_WHEN_FAILING
        };
        let doublings = self.failures.saturating_sub(UNMENTIONED).min(16);
        let pause = self
            .interval
            .saturating_mul(1 << doublings)
            .min(longest)
            .max(self.interval);
        let said = match (self.is_told || self.failures <= UNMENTIONED, is_absent) {
            (true, _) => Said::Nothing,
            (false, true) => Said::Absent,
            (false, false) => Said::Failing,
        };
        self.is_told |= said != Said::Nothing;
        (said, pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn rounds(pace: &mut Pace, round: Round, times: usize) -> (Vec<Said>, Vec<u64>) {
        let each = (0..times).map(|_| pace.after(round));
        each.map(|(said, pause)| (said, pause.as_secs())).unzip()
    }

    #[test]
    fn where_there_is_none_it_is_said_once_and_asked_ever_more_seldom() {
        let mut pace = Pace::new(INTERVAL);
        let (said, pauses) = rounds(&mut pace, Round::Absent, 8);
        assert_eq!(said.iter().filter(|said| **said == Said::Absent).count(), 1);
        assert!(!said.contains(&Said::Failing));
        assert_eq!(pauses, [5, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(pace.after(Round::Answered), (Said::Back, INTERVAL));
    }

    #[test]
    fn one_that_fails_is_asked_often_enough_for_a_notice_of_two_minutes() {
        let mut pace = Pace::new(INTERVAL);
        pace.after(Round::Answered);
        let (said, pauses) = rounds(&mut pace, Round::Failed, 6);
        assert_eq!(said[..3], [Said::Nothing, Said::Nothing, Said::Failing]);
        assert!(!said[3..].contains(&Said::Failing), "it is said once");
        assert_eq!(pauses, [5, 5, 10, 20, 20, 20]);
        // It was there before, so it is not taken for a machine elsewhere.
        assert_eq!(pace.after(Round::Absent).1, LONGEST_WHEN_FAILING);
    }

    #[test]
    fn a_single_lost_answer_is_not_worth_a_word() {
        let mut pace = Pace::new(INTERVAL);
        for _ in 0..5 {
            assert_eq!(pace.after(Round::Failed), (Said::Nothing, INTERVAL));
            assert_eq!(pace.after(Round::Answered), (Said::Nothing, INTERVAL));
        }
    }

    #[test]
    fn an_interval_of_choice_is_not_shortened() {
        let minute = Duration::from_secs(90);
        assert_eq!(Pace::new(minute).after(Round::Failed).1, minute);
    }
}
