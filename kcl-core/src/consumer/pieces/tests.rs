use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;
use crate::config::{FailurePolicy, LastResort};
use crate::record::tests::{batch, record};

/// The number of a scene's first record.
const FIRST: u64 = 1000;
const RULE_ATTEMPTS: u32 = 3;
const RULE_TIME: Duration = Duration::from_secs(20);

/// One shard's batches, a sink, and the processor between them.
#[derive(Debug, Clone, Default)]
struct Scene {
    batches: Vec<Range<u64>>,
    /// Records that no sink takes.
    bad: BTreeSet<u64>,
    /// Seconds in which the sink is away.
    away: Range<u64>,
    /// Whether a record in front of the first one was read.
    has_front: bool,
    /// The bad records are taken after all, once they failed so often after the record in front was processed again.
    heals_after: Option<usize>,
    /// The processor says which record failed, and is done with those before it.
    names: bool,
}

#[derive(Debug, Default)]
struct Told {
    /// In the order in which they were processed for the first time.
    processed: Vec<u64>,
    repeated: usize,
    skipped: Vec<u64>,
    /// Seconds until all was done.
    took: u64,
}

impl Scene {
    /// What a consumer does, second by second.
    async fn play(&self) -> Told {
        let attempts = NonZeroU32::new(RULE_ATTEMPTS).expect("not zero");
        let policy = FailurePolicy::after(attempts, RULE_TIME).then(LastResort::Skip);
        let mut pieces = Pieces::default();
        let mut told = Told::default();
        let mut probes = 0;
        for range in &self.batches {
            let front = (self.has_front && range.start == FIRST).then(|| record(FIRST - 1));
            let whole = batch(range.clone()).after(front);
            loop {
                let is_away = self.away.contains(&told.took);
                let next = pieces.next(&whole);
                let is_probe = next.is_probe();
                let numbers: Vec<u64> = next
                    .batch()
                    .iter()
                    .map(|record| record.sequence_number().as_str().parse().expect("a number"))
                    .collect();
                let is_bad = self.heals_after.is_none_or(|times| probes <= times)
                    && numbers.iter().any(|number| self.bad.contains(number));
                let is_ok = !is_away && !is_bad;
                let done = match numbers.iter().position(|number| self.bad.contains(number)) {
                    _ if is_ok => numbers.len(),
                    Some(index) if self.names && !is_away => index,
                    _ => 0,
                };
                let is_new = |number: &&u64| **number >= FIRST && !told.processed.contains(number);
                let new: Vec<u64> = numbers[..done].iter().filter(is_new).copied().collect();
                told.repeated += done - new.len();
                told.processed.extend(new);
                let at_fault = next
                    .batch()
                    .records()
                    .get(done)
                    .map(|record| record.position().clone());
                if is_probe {
                    pieces.probed(is_ok);
                    probes += usize::from(is_ok);
                    if is_ok {
                        continue;
                    }
                } else if is_ok {
                    if pieces.done(&whole, true) {
                        break;
                    }
                    continue;
                } else {
                    if let Some(position) = at_fault.filter(|_| self.names) {
                        let passed = pieces.failed_at(&whole, &position);
                        assert_eq!(passed.map_or(0, |passed| passed.len()), done);
                    }
                    let reaction = policy.react(&pieces.failed(&whole));
                    pieces.react(&whole, reaction);
                    match reaction {
                        Reaction::Probe => continue,
                        Reaction::Skip => {
                            told.skipped.extend(numbers);
                            if pieces.done(&whole, false) {
                                break;
                            }
                            continue;
                        }
                        _ => {}
                    }
                }
                advance(Duration::from_secs(1)).await;
                told.took += 1;
                if told.took > 100_000 {
                    return told;
                }
            }
        }
        told
    }

    fn all(&self) -> Vec<u64> {
        self.batches.iter().cloned().flatten().collect()
    }

    fn good(&self) -> Vec<u64> {
        let all = self.all();
        all.into_iter()
            .filter(|number| !self.bad.contains(number))
            .collect()
    }
}

fn played(scene: &Scene) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { timeout(Duration::MAX, scene.play()).await.expect("in time") })
}

#[test]
fn one_bad_record_costs_itself() {
    let scene = Scene {
        batches: vec![1000..2000, 2000..2010],
        bad: BTreeSet::from([1317]),
        ..Scene::default()
    };
    let told = played(&scene);
    assert_eq!(told.skipped, [1317]);
    assert_eq!(told.processed, scene.good(), "in order");
    assert_eq!(
        told.repeated, RULE_ATTEMPTS as usize,
        "the record in front of it, to see whether the sink is there"
    );
}

#[test]
fn a_record_that_the_processor_names_is_not_searched_for_and_nothing_before_it_is_repeated() {
    let scene = Scene {
        batches: vec![1000..2000, 2000..2010],
        bad: BTreeSet::from([1317, 1318, 2000]),
        names: true,
        ..Scene::default()
    };
    let told = played(&scene);
    assert_eq!(told.skipped, [1317, 1318, 2000]);
    assert_eq!(told.processed, scene.good(), "in order");
    let searched = Scene {
        names: false,
        ..scene
    };
    assert!(told.took < played(&searched).took);
    assert_eq!(
        told.repeated,
        3 * RULE_ATTEMPTS as usize,
        "the record in front, as proof"
    );
}

#[test]
fn an_outage_costs_nothing_however_long_it_lasts() {
    for (seconds, has_front) in [(10, false), (3000, false), (3000, true)] {
        let scene = Scene {
            batches: vec![1000..1010, 1010..2000],
            away: 1..seconds,
            has_front,
            ..Scene::default()
        };
        let told = played(&scene);
        assert_eq!((told.skipped, told.processed), (vec![], scene.all()));
    }
}

#[test]
fn a_record_that_fails_by_accident_when_an_outage_is_over_is_kept() {
    let skipped = |accidents| {
        let scene = Scene {
            batches: vec![1000..1001, 1001..1010],
            bad: BTreeSet::from([1005]),
            heals_after: Some(accidents),
            ..Scene::default()
        };
        played(&scene).skipped
    };
    for accidents in 0..RULE_ATTEMPTS as usize {
        assert!(skipped(accidents).is_empty(), "{accidents}");
    }
    assert_eq!(skipped(RULE_ATTEMPTS as usize), [1005]);
}

#[test]
fn a_bad_record_with_none_in_front_of_it_is_kept() {
    let mut scene = Scene {
        batches: vec![1000..1001, 1001..1010],
        bad: BTreeSet::from([1000]),
        ..Scene::default()
    };
    let told = played(&scene);
    assert!(told.skipped.is_empty() && told.took > 100_000, "{told:?}");
    scene.has_front = true;
    assert_eq!(played(&scene).skipped, [1000]);
}

#[test]
fn a_quiet_shard_remembers_the_record_before() {
    let scene = Scene {
        batches: vec![1000..1001, 1001..1002, 1002..1003],
        bad: BTreeSet::from([1001]),
        ..Scene::default()
    };
    let told = played(&scene);
    assert_eq!(told.skipped, [1001]);
    assert!(told.took < 60, "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn bad_records_are_skipped_and_only_those_whatever_the_sink_does(
        sizes in proptest::collection::vec(1u64..40, 1..5),
        bad in proptest::collection::btree_set(1000u64..1160, 0..6),
        from in 0u64..120,
        lasts in 0u64..400,
        has_front in any::<bool>(),
        names in any::<bool>(),
    ) {
        let mut batches = Vec::new();
        let mut start = FIRST;
        for size in sizes {
            batches.push(start..start + size);
            start += size;
        }
        // The first record may have none before it, and so wait for ever.
        let bad: BTreeSet<u64> = bad.into_iter().filter(|number| *number < start && (has_front || *number > FIRST)).collect();
        let scene = Scene { batches, bad: bad.clone(), away: from..from + lasts, has_front, names, ..Scene::default() };
        let told = played(&scene);
        prop_assert_eq!(&told.skipped, &bad.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(&told.processed, &scene.good());
    }
}
