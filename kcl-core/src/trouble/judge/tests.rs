use super::*;

/// A worker whose shards do as the test says, judged every second; the fail-over time is 10 s.
struct Play {
    judge: Judge,
    start: Instant,
    second: u64,
    shards: BTreeMap<LeaseKey, Vitals>,
    probe: Option<Result<(), String>>,
    verdict: Verdict,
}

impl Play {
    fn of(shards: &[&str]) -> Self {
        let start = Instant::now();
        let mut judge = Judge::new(Times::of(Timers::of(Duration::from_secs(10))), start);
        let verdict = judge.judge(&Evidence::default(), start);
        Self {
            judge,
            start,
            second: 0,
            shards: shards
                .iter()
                .map(|key| ((*key).into(), Vitals::default()))
                .collect(),
            probe: None,
            verdict,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    /// In each of the next seconds this happens to the shards, each of which is named with what is done for it: `"R 1 2"`
    /// reads that fail, `"r 1"` one that works, `i` for initializing and `p` for processing. The conditions that came of it,
    /// each with the second in which it began.
    fn pass(&mut self, seconds: u64, happens: &[&str]) -> Vec<(Condition, u64)> {
        let mut conditions = Vec::new();
        for _ in 0..seconds {
            self.second += 1;
            for text in happens {
                let (work, keys) = text.split_once(' ').unwrap();
                for key in keys.split(' ') {
                    self.happen(work, key);
                }
            }
            let before = self.verdict.trouble.condition;
            self.look(false);
            let condition = self.verdict.trouble.condition;
            if condition != before {
                conditions.push((condition, self.second));
            }
        }
        conditions
    }

    fn happen(&mut self, work: &str, key: &str) {
        let now = self.now();
        let vitals = self.shards.entry(key.into()).or_default();
        let kind = match work.to_lowercase().as_str() {
            "r" => Work::Reading,
            "i" => Work::Initializing,
            _ => Work::Processing,
        };
        if work == work.to_lowercase() {
            vitals.succeeded(kind, now);
        } else {
            let error = format!("{work} failed");
            let failure = Failure {
                since: now,
                until: now,
                attempts: 1,
                error,
            };
            vitals.failed(kind, failure);
        }
    }

    fn look(&mut self, was_blocked: bool) {
        let evidence = Evidence {
            shards: self.shards.clone(),
            probe: self.probe.take(),
            was_blocked,
        };
        self.verdict = self.judge.judge(&evidence, self.now());
    }

    fn failing(&self) -> Vec<&str> {
        self.verdict
            .trouble
            .failing
            .iter()
            .map(LeaseKey::as_str)
            .collect()
    }

    /// Its leases go to others.
    fn is_relieved(&mut self) {
        self.shards.clear();
    }

    fn is_given(&mut self, key: &str) {
        self.shards.insert(key.into(), Vitals::default());
    }
}

use Condition::{Ailing, OnTrial, Unfit, Well};

#[test]
fn a_worker_whose_reads_all_fail_is_ailing_and_then_unfit() {
    let mut play = Play::of(&["1", "2"]);
    assert_eq!(play.pass(10, &["r 1 2"]), []);
    assert_eq!(play.pass(30, &["R 1 2"]), [(Ailing, 16), (Unfit, 31)]);
    assert_eq!(play.failing(), ["1", "2"]);
    let text = play.verdict.unfit.unwrap();
    assert!(
        text.contains("could not read its shards") && text.contains("R failed"),
        "{text}"
    );
}

#[test]
fn one_that_reads_some_of_its_shards_is_well_and_says_which_fail() {
    let mut play = Play::of(&["1", "2", "3"]);
    assert_eq!(play.pass(40, &["R 1 2", "r 3"]), []);
    assert_eq!(play.failing(), ["1", "2"]);
    assert!(
        play.verdict
            .failing
            .as_ref()
            .unwrap()
            .contains("1 and 1 other shards")
    );
    assert_eq!(play.pass(1, &["r 1 2 3"]), []);
    assert!(play.failing().is_empty() && play.verdict.failing.is_none());
}

#[test]
fn a_short_run_of_failures_is_nothing() {
    let mut play = Play::of(&["1", "2"]);
    for _ in 0..10 {
        assert_eq!(play.pass(5, &["R 1 2"]), []);
        assert_eq!(play.pass(1, &["r 1 2"]), []);
    }
    assert!(play.failing().is_empty());
}

#[test]
fn a_poisoned_record_in_one_shard_says_nothing_of_the_worker() {
    let mut play = Play::of(&["1", "2", "3", "4"]);
    // The others have no records.
    assert_eq!(play.pass(300, &["r 1 2 3 4", "P 1"]), []);
    assert_eq!(play.failing(), ["1"]);
    play.shards.remove(&"1".into());
    play.pass(1_000, &["r 2 3 4"]);
    assert_eq!(play.failing(), ["1"], "it is remembered after it has gone");
    play.pass(3_600, &["r 2 3 4"]);
    assert!(play.failing().is_empty(), "for an hour");
}

#[test]
fn a_shard_that_failed_before_does_not_hide_that_all_fail() {
    let mut play = Play::of(&["1", "2", "3", "4"]);
    play.pass(10, &["P 1", "p 2 3 4"]);
    assert_eq!(play.pass(70, &["P 1 2 3 4"]), [(Ailing, 26), (Unfit, 71)]);
    // Nor does one with nothing to do beside it make it look so.
    let mut play = Play::of(&["1", "2"]);
    play.pass(10, &["P 1", "p 2"]);
    assert_eq!(play.pass(70, &["P 1"]), []);
    assert_eq!(play.failing(), ["1"]);
}

#[test]
fn processors_have_more_time_than_reads() {
    let mut play = Play::of(&["1", "2"]);
    play.pass(1, &["i 1 2"]);
    assert_eq!(play.pass(70, &["r 1 2", "P 1 2"]), [(Ailing, 17), (Unfit, 62)]);
    let mut play = Play::of(&["1", "2"]);
    assert_eq!(play.pass(30, &["I 1 2"]), [(Ailing, 6), (Unfit, 21)]);
}

#[test]
fn a_worker_that_could_not_read_is_tried_with_one_lease_once_a_probe_works() {
    let mut play = Play::of(&["1", "2"]);
    play.pass(21, &["R 1 2"]);
    play.is_relieved();
    let mut probes = Vec::new();
    while probes.len() < 5 {
        assert_eq!(play.pass(1, &[]), []);
        if let Some(shard) = play.verdict.probe.take() {
            assert_eq!(shard.as_str(), "1");
            probes.push(play.second - 21);
            assert_eq!(play.pass(2, &[]), []);
            assert_eq!(play.verdict.probe, None, "one at a time");
            play.probe = Some(Err("denied".into()));
        }
    }
    assert_eq!(probes, [30, 93, 156, 219, 282]);
    let text = play.verdict.unfit.as_ref().unwrap();
    assert!(text.contains("denied"), "{text}");
    play.probe = Some(Ok(()));
    assert_eq!(play.pass(1, &[]), [(OnTrial, play.second)]);
    assert!(play.failing().is_empty(), "with any of them");
    play.is_given("3");
    assert_eq!(play.pass(1, &["r 3"]), [(Well, play.second)]);
    assert!(play.failing().is_empty() && play.verdict.unfit.is_none());
}

#[test]
fn a_worker_that_cannot_read_again_after_a_probe_that_worked_is_probed_as_often() {
    let mut play = Play::of(&["1"]);
    play.pass(21, &["R 1"]);
    for _ in 0..5 {
        assert_eq!(play.verdict.trouble.condition, Unfit);
        play.is_relieved();
        let since = play.second;
        while play.verdict.probe.is_none() {
            play.pass(1, &[]);
        }
        assert!(play.second - since <= 60, "after {} s", play.second - since);
        play.probe = Some(Ok(()));
        assert_eq!(play.pass(1, &[]), [(OnTrial, play.second)]);
        play.is_given("1");
        play.pass(25, &["R 1"]);
    }
}

#[test]
fn a_worker_that_fails_again_is_tried_ever_more_rarely() {
    let mut play = Play::of(&["1"]);
    let mut trials = Vec::new();
    for _ in 0..7 {
        let fell = play.pass(70, &["P 1"]);
        let (_, fell) = *fell.iter().find(|(condition, _)| *condition == Unfit).unwrap();
        play.is_relieved();
        let mut tried = Vec::new();
        while tried.is_empty() {
            tried = play.pass(1, &[]);
        }
        assert_eq!(tried[0].0, OnTrial);
        trials.push(tried[0].1 - fell);
        play.is_given("1");
    }
    assert_eq!(trials, [30, 60, 120, 240, 480, 600, 600]);
    // It works for long, and is forgiven.
    assert_eq!(play.pass(700, &["p 1"]), [(Well, play.second - 699)]);
    play.pass(62, &["P 1"]);
    play.is_relieved();
    let tried = play.pass(31, &[]);
    assert_eq!(tried.first().map(|(condition, _)| *condition), Some(OnTrial));
}

#[test]
fn whoever_keeps_leases_because_nobody_else_can_is_well_once_they_work() {
    let mut play = Play::of(&["1", "2"]);
    play.pass(25, &["R 1 2"]);
    assert_eq!(play.verdict.trouble.condition, Unfit);
    assert_eq!(
        play.pass(1, &["r 2"]),
        [(Ailing, 26)],
        "others have not noticed yet"
    );
    assert_eq!(play.failing(), ["1"], "which still fails");
    assert_eq!(play.pass(20, &["r 1 2"]), [(Well, 38)]);
    assert!(play.failing().is_empty());
}

#[test]
fn a_new_lease_that_initializes_does_not_show_that_reads_work() {
    let mut play = Play::of(&["1"]);
    play.pass(19, &["R 1"]);
    play.is_given("2");
    play.pass(1, &["i 2", "R 1 2"]);
    assert_eq!(play.pass(1, &["R 1 2"]), [(Unfit, 21)]);
}

#[test]
fn a_failure_that_takes_long_to_notice_is_said_before_leases_go() {
    let mut play = Play::of(&["1", "2"]);
    play.pass(1, &["r 1 2"]);
    play.pass(30, &[]);
    // A call that was begun half a minute ago.
    let failure = Failure {
        since: play.now() - Duration::from_secs(30),
        until: play.now(),
        attempts: 1,
        error: "no answer".to_owned(),
    };
    for vitals in play.shards.values_mut() {
        vitals.failed(Work::Reading, failure.clone());
    }
    assert_eq!(play.pass(10, &[]), [(Ailing, 32), (Unfit, 37)]);
}

#[test]
fn one_call_that_nobody_answered_shows_nothing_of_a_shard() {
    let mut play = Play::of(&["1", "2"]);
    play.pass(1, &["r 1 2"]);
    play.pass(30, &["r 2"]);
    let failure = Failure {
        since: play.now() - Duration::from_secs(30),
        until: play.now(),
        attempts: 1,
        error: "no answer".to_owned(),
    };
    let fails = |play: &mut Play| {
        let vitals = play.shards.entry("1".into()).or_default();
        vitals.failed(Work::Reading, failure.clone());
    };
    fails(&mut play);
    play.pass(1, &["r 2"]);
    assert!(play.failing().is_empty(), "the next one may be answered");
    fails(&mut play);
    play.pass(1, &["r 2"]);
    assert_eq!(play.failing(), ["1"]);
}

#[test]
fn one_failure_shows_nothing_of_a_worker_with_one_shard() {
    let mut play = Play::of(&["1"]);
    play.pass(1, &["r 1"]);
    // The next read has no answer yet.
    play.pass(1, &["R 1"]);
    assert_eq!(play.pass(28, &[]), [(Ailing, 7)]);
    assert_eq!(play.pass(1, &["R 1"]), [(Unfit, 31)]);
}

#[test]
fn what_failed_only_while_the_worker_ailed_does_not_fail_by_itself() {
    let mut play = Play::of(&["1", "2", "3"]);
    play.pass(1, &["r 1 2 3"]);
    play.pass(1, &["R 1 2 3"]);
    assert_eq!(play.pass(18, &[]), [(Ailing, 7)]);
    // The others are tried again later.
    assert_eq!(play.pass(5, &["r 1"]), [(Well, 21)]);
    assert!(play.failing().is_empty(), "{:?}", play.failing());
    play.pass(5, &["r 1 2", "R 3"]);
    assert_eq!(play.failing(), ["3"]);
}

#[test]
fn a_trial_in_which_nothing_fails_is_passed_though_there_was_nothing_to_do() {
    for lease in [None, Some("2")] {
        let mut play = Play::of(&["1"]);
        play.pass(61, &["r 1", "P 1"]);
        play.is_relieved();
        assert_eq!(play.pass(30, &[]), [(OnTrial, 91)]);
        let happens = lease.map(|lease| {
            play.is_given(lease);
            format!("r {lease}")
        });
        let happens: Vec<_> = happens.iter().map(String::as_str).collect();
        assert_eq!(play.pass(70, &happens), [(Well, 151)], "{lease:?}");
    }
}

#[test]
fn a_process_that_was_frozen_has_not_failed_meanwhile() {
    let mut play = Play::of(&["1"]);
    play.pass(2, &["r 1"]);
    play.pass(1, &["R 1"]);
    play.second += 60;
    assert_eq!(play.pass(4, &["R 1"]), []);
    assert!(play.failing().is_empty());
}

#[test]
fn a_worker_that_was_blocked_is_tried_after_a_pause_and_must_stay_unblocked() {
    let mut play = Play::of(&["1"]);
    play.second += 60;
    play.look(true);
    assert_eq!(play.verdict.trouble.condition, Unfit);
    assert!(play.verdict.unfit.as_ref().unwrap().contains("spawn_blocking"));
    play.is_relieved();
    let second = play.second;
    assert_eq!(play.pass(40, &[]), [(OnTrial, second + 30)]);
    play.is_given("2");
    let changes = play.pass(40, &["p 2"]);
    assert_eq!(changes, [(Well, second + 60)]);
}

#[test]
fn a_shard_that_waits_or_is_being_given_up_counts_for_nothing() {
    let mut play = Play::of(&["1", "2"]);
    for vitals in play.shards.values_mut() {
        vitals.is_idle = true;
    }
    assert_eq!(play.pass(100, &["R 1 2", "P 1 2"]), []);
    assert!(play.failing().is_empty());
}
