//! One history: a backend, a stream, a fleet, what disturbs them, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use kcl_core::InitialPosition;
use kcl_local::Backend;
use kcl_local::clock::Clock;
use kcl_local::kinesis::KinesisOptions;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::aggregates::Aggregates;
use crate::chaos::Chaos;
use crate::failovers::Failovers;
use crate::faults::{Deed, Network, Pushing, Rates, Reading, SEVERAL_STREAMS, Schedule, Wanted};
use crate::fleet::Fleet;
use crate::history::{Event, History, Name, What};
use crate::load::Machines;
use crate::memory::{Answers, Memory};
use crate::oracle::{Oracle, Start, Times, Violation};
use crate::pauses::Pauses;
use crate::policies::Policy;
use crate::processor::Stage;
use crate::rewinds;
use crate::scripts::Director;
use crate::seeds::Dice;
use crate::settled::{self, Subject, Wrong};
use crate::singles::Singles;
use crate::sink::Sink;
use crate::stalls;
use crate::streams::Streams;
use crate::watcher::Watcher;
use crate::workload::Workload;

/// How long the fleet may take to come to rest once nothing is disturbed any more, besides six fail-over times: for so long a
/// worker that did not take leases up is given none.
pub const SETTLE: Duration = Duration::from_secs(30);
/// How much longer records take that a sink never takes, one after the other, and then the end of their shard.
const SKIPPING: Duration = Duration::from_secs(60);
/// How much longer it takes to catch up where other readers took a shard's share: the pauses that are left to them become shorter by
/// an eighth each, from five seconds on.
const SHARED: Duration = Duration::from_secs(40);
/// How much longer it takes to catch up where memory is little, at least: a read brings one record,
const ONE_BY_ONE: Duration = Duration::from_secs(120);
/// which takes so long with its call. All may wait in one shard, which got more than that for as long as records were put.
const ONE: Duration = Duration::from_millis(300);
/// Histories of a thousand in which workers read the stream as one of several.
const SEVERAL: u64 = 80;
/// So long records are put and nothing is disturbed, before it is looked how leases are spread by load: 50 report intervals.
const CALM: Duration = Duration::from_secs(150);
/// Records are put for this long after the last disturbance.
const PUT_ON: Duration = Duration::from_secs(5);
/// So long after a record is given up, at the latest, a checkpoint has passed it.
const PASSED: Duration = Duration::from_secs(6);
/// Where reading starts, after the beginning of the world, in a history that starts at a time.
const FROM: Duration = Duration::from_secs(10);
/// How long a call of a processor may delay a hand-off.
const DRAIN: Duration = Duration::from_secs(10);

/// How large a history is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// Workers at first.
    pub workers: usize,
    /// Shards at first.
    pub shards: i32,
    /// How long the world is disturbed.
    pub disturbed: Duration,
    /// What is to happen in it, and what not.
    pub wanted: Wanted,
}

impl Size {
    /// How many open shards the stream may grow to: twice as many, and at least so many that families of shards form.
    fn most_shards(&self) -> usize {
        (usize::try_from(self.shards).unwrap_or(0) * 2).max(12)
    }

    /// The command that runs the history of a seed of this size again, with its whole timeline.
    #[must_use]
    pub fn replay(&self, seed: u64) -> String {
        if self.wanted.script.is_some() {
            return format!(
                "cargo run --release -p kcl-simulation -- --seed {seed}{}",
                self.wanted
            );
        }
        format!(
            "cargo run --release -p kcl-simulation -- --seed {seed} --minutes {} --workers {} --shards {}{}",
            self.disturbed.as_secs_f64() / 60.0,
            self.workers,
            self.shards,
            self.wanted
        )
    }
}

/// What came of a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The root seed.
    pub seed: u64,
    /// What the workers were configured with.
    pub times: Times,
    /// Everything that happened.
    pub events: Vec<Event>,
    /// The rules that were broken, in order.
    pub violations: Vec<Violation>,
    /// Virtual time.
    pub lasted: Duration,
    /// Faults and disturbances, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

/// Runs the history of a seed on this thread.
pub fn run(seed: u64, size: &Size) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    // The SDK's own jitter comes from here.
    fastrand::seed(seed);
    runtime.block_on(live(seed, size))
}

async fn live(seed: u64, size: &Size) -> Outcome {
    let mut dice = Dice::of(seed, "world");
    let script = size.wanted.script();
    let failover = Duration::from_secs(*dice.pick(&[2, 5, 10]).unwrap_or(&10));
    let failover = script.map_or(failover, |script| script.failover);
    let failovers = Failovers::drawn(seed, &size.wanted, failover);
    // Whatever is promised within a fail-over time is promised within the longest one only.
    let failover = failovers.longest();
    let singles = Singles::drawn(seed, &size.wanted);
    let has_sink = Sink::is_in(seed) || singles.as_ref().is_some_and(|singles| singles.has_sink);
    let sink = has_sink && script.is_none() && !size.wanted.lacks("sink");
    let times_away = singles.map_or(Sink::TIMES_AWAY, |_| Singles::TIMES_AWAY);
    let sink = sink.then(|| Sink::drawn(seed, size.disturbed, times_away));
    let times = Times {
        failover,
        drain: DRAIN,
        longest_call: if size.wanted.lacks("slow processor") {
            Duration::ZERO
        } else {
            DRAIN
        },
        // Where calls take long, less than a hand-off.
        stop: Duration::from_secs(if sink.is_some() { 8 } else { 20 }),
    };
    let began = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let start = *dice
        .pick(&[
            InitialPosition::TrimHorizon,
            InitialPosition::TrimHorizon,
            InitialPosition::Latest,
            InitialPosition::AtTimestamp(began + FROM),
        ])
        .unwrap_or(&InitialPosition::TrimHorizon);
    let start = script.map_or(start, |_| InitialPosition::TrimHorizon);
    let mut oracle = Oracle::new(times).starting(match start {
        InitialPosition::TrimHorizon => Start::Beginning,
        InitialPosition::Latest => Start::Latest,
        InitialPosition::AtTimestamp(_) => Start::At(FROM),
    });
    let rates = Rates::drawn(&mut dice, &size.wanted);
    let rates = if script.is_some() { Rates::none() } else { rates };
    let reading = Reading::drawn(seed, &size.wanted).filter(|_| script.is_none());
    let is_shared = reading.is_some();
    if rates.are_none() && reading.is_none() && script.is_none() {
        oracle = oracle.with_reliable_requests();
    }
    let history = History::new(oracle);
    let memory = Memory::drawn(seed).filter(|_| script.is_none() && !size.wanted.lacks("little memory"));
    // A read is not processed when its batch is, and what is held back does not count.
    let memory = memory.filter(|_| singles.is_none());
    // What is on its way to a subscriber is not counted as its memory.
    let pushing = Pushing::drawn(seed, &size.wanted).filter(|_| memory.is_none());
    let network = Network::new(Dice::of(seed, "requests"), rates, size.wanted.clone())
        .with_reading(reading)
        .with_pushing(pushing.clone());
    let backend = Backend::builder()
        .clock(Clock::starting_at(began))
        .kinesis(KinesisOptions {
            enforce_limits: dice.happens(500),
            subscription_lifetime: pushing
                .as_ref()
                .map_or(Duration::from_secs(300), Pushing::lifetime),
            ..KinesisOptions::default()
        })
        .faults(Answers::new(network.clone(), memory.map(|_| history.clone())))
        .build();
    network.connect(backend.handler().clone());
    let aws = backend.sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);

    let machines = (size.wanted.loads || Machines::are_told_of(seed)) && !size.wanted.lacks("loads");
    let machines = (machines && script.is_none()).then(|| Machines::drawn(seed, size.workers));
    let draws_several = Dice::of(seed, "several streams").happens(SEVERAL);
    let reads_several = size.wanted.has(SEVERAL_STREAMS, draws_several);
    let streams = Streams::new(backend.dynamodb(), reads_several);
    let mut stage = Stage::new(
        history.clone(),
        network.clone(),
        streams.clone(),
        machines.clone(),
        Dice::of(seed, "processors"),
        size.wanted.clone(),
    );
    stage.sink = sink.clone();
    stage.memory = memory;
    stage.pushing = pushing;
    stage.singles = singles;
    stage.stalled_after = stalls::after(seed, &size.wanted);
    stage.policy = Policy::drawn(seed, &size.wanted).filter(|_| sink.is_none());
    stage.has_pauses = Pauses::are_in(seed, &size.wanted);
    stage.reads_several = reads_several;
    let aggregates = Aggregates::drawn(seed, &size.wanted, &network);
    stage.batch = aggregates.as_ref().map(Aggregates::batch);
    let mut workload = Workload::new(
        kinesis,
        history.clone(),
        streams,
        machines.clone(),
        Dice::of(seed, "workload"),
        size.most_shards(),
    );
    if script.is_some() {
        workload.spread_evenly();
    }
    if let Some(sink) = &sink {
        workload.spoil(Dice::of(seed, "unreadable"), sink.is_kept);
        if singles.is_some() {
            workload.spread_out();
        }
    }
    if let Some(memory) = memory {
        workload.fatten(memory);
    }
    if let Some(aggregates) = aggregates {
        workload.put_together(aggregates);
    }
    workload
        .create(script.map_or(size.shards, |script| script.shards))
        .await;
    let workload = Arc::new(Mutex::new(workload));
    let watcher = Watcher::new(stage.clone(), &backend);
    let workers = Dice::of(seed, "workers");
    let mut wanted = size.wanted.clone();
    if sink.is_some() && singles.is_some() {
        // No record would come that shows what is wrong with the last one of a closed shard.
        let reshards = [Deed::Split, Deed::DoubleSplit, Deed::Merge];
        wanted.without.extend(reshards.map(|deed| deed.name().to_owned()));
    }
    if reads_several {
        network.count("several streams");
        // What becomes of one of several that was made anew is another story: no worker ends for it.
        wanted.without.push(Deed::MakeAnew.name().to_owned());
    }
    let schedule = Schedule::drawn(seed, &wanted, start == InitialPosition::Latest);
    let refusals = schedule.has(Deed::MakeAnew).then(|| Dice::of(seed, "refusals"));
    let fleet = Fleet::new(
        stage.clone(),
        backend.clone(),
        watcher.clone(),
        times,
        failovers,
        start,
        workers,
    )
    .with_refusals(refusals);
    tokio::spawn(
        watcher
            .clone()
            .run(fleet.clone(), workload.clone(), Dice::of(seed, "operator")),
    );
    let producing = tokio::spawn(produce(workload.clone(), Dice::of(seed, "producer")));
    if start != InitialPosition::TrimHorizon {
        // There is something to be left out, and the time to start from is over.
        sleep(FROM + Duration::from_secs(2)).await;
    }
    for _ in 0..script.map_or(size.workers, |_| 0) {
        fleet.start();
    }

    let pauses = Pauses::new(stage.clone(), fleet.clone(), watcher.clone());
    if stage.has_pauses {
        tokio::spawn(pauses.clone().run(Dice::of(seed, "pauses")));
    }
    // Records from before an application's start are nobody's: some of them would be processed, and some not.
    let is_whole = start == InitialPosition::TrimHorizon;
    if sink.is_none() && is_whole && rewinds::are_in(seed, &size.wanted) {
        network.count("rewinds");
        let operator = Dice::of(seed, "rewinds");
        tokio::spawn(rewinds::run(stage.clone(), watcher.clone(), operator));
    }
    let chaos = Chaos::new(
        stage.clone(),
        fleet.clone(),
        workload.clone(),
        watcher.clone(),
        times,
    );
    match script {
        Some(script) => {
            let director = Director::new(
                stage.clone(),
                fleet.clone(),
                workload.clone(),
                watcher.clone(),
                times,
            );
            director.play(script).await;
        }
        None => chaos.rage(schedule, size.disturbed).await,
    }

    let world: Name = "world".into();
    let is_restless = async |subject| {
        settled::what_is_wrong(
            &fleet,
            &watcher,
            &workload,
            &history,
            &size.wanted,
            stage.machines.as_ref(),
            subject,
        )
        .await
    };
    let longer = |is_so: bool, by: Duration| if is_so { by } else { Duration::ZERO };
    let slowed = longer(stage.sink.is_some(), SKIPPING) + longer(is_shared, SHARED);
    let patience =
        |history: &History| SETTLE + failover * 6 + slowed + catching_up(memory, history.unprocessed());
    let give_up_on = |wrong: Vec<Wrong>, until: Instant| {
        let because = wrong
            .into_iter()
            .filter(|wrong| until + wrong.longer < Instant::now());
        let because: Vec<_> = because.map(|wrong| wrong.what).collect();
        if !because.is_empty() {
            history.record(&world, What::Unsettled { because });
        }
    };
    network.heal_all();
    stage.calm();
    pauses.end();
    // Only a worker that starts makes a new lease table.
    while fleet.len() < 2 || !watcher.has_leases() && fleet.len() < size.workers + 2 {
        fleet.start();
    }
    history.record(&world, What::Healed);
    let mut healed = Instant::now();
    let mut patient_for = patience(&history);
    let mut calm_since = None;
    if let Some(machines) = &stage.machines {
        while !history.is_violated() {
            sleep(Duration::from_millis(500)).await;
            let wrong = is_restless(Subject::AllButRecords).await;
            if wrong.is_empty() {
                // Who is to come for some deed may come late.
                if !chaos.is_pending() {
                    break;
                }
            } else {
                give_up_on(wrong, healed + patient_for);
            }
        }
        history.record(&world, fleet.calm(machines));
        let calm = Instant::now();
        while calm.elapsed() < CALM && !history.is_violated() {
            sleep(Duration::from_secs(1)).await;
        }
        if !history.is_violated() {
            history.record(&world, What::Weighed);
        }
        healed = Instant::now();
        patient_for = patience(&history);
    }
    let mut needs_proof = stage.sink.is_some() && stage.singles.is_some() && !producing.is_finished();
    if needs_proof {
        // What is put from now on shows which of the records before are bad.
        workload.lock().await.spoil_no_more();
    }
    let mut proven_since = None;
    while !history.is_violated() {
        sleep(Duration::from_millis(500)).await;
        if healed.elapsed() < PUT_ON {
            continue;
        }
        if needs_proof {
            // What fails at the end of a long call does not show before.
            let may_be_under_way = healed.elapsed() < Duration::from_millis(Sink::LONG_CALL.1);
            if may_be_under_way {
                continue;
            }
            if is_restless(Subject::AllButRecords).await.is_empty() {
                proven_since.get_or_insert_with(Instant::now);
            } else {
                proven_since = None;
            }
            // What is given up comes again until a checkpoint has passed it.
            let is_proven = proven_since.is_some_and(|since: Instant| since.elapsed() >= PASSED);
            if healed.elapsed() < patient_for && !is_proven {
                continue;
            }
            // Until now there were records that fail, and workers that are tried anew for it.
            needs_proof = false;
            (healed, patient_for) = (Instant::now(), patience(&history));
        }
        producing.abort();
        let wrong = is_restless(Subject::All).await;
        if wrong.is_empty() {
            let since: &mut Instant = calm_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= Duration::from_secs(1) {
                watcher.tell_what_is_kept();
                history.record(&world, What::Settled);
                break;
            }
        } else {
            calm_since = None;
            give_up_on(wrong, healed + patient_for);
        }
    }
    let lasted = history.elapsed();
    let (events, violations) = history.take();
    Outcome {
        seed,
        times,
        events,
        violations,
        lasted,
        faults: network.counts(),
    }
}

/// How much longer than elsewhere a fleet may take to process what waits.
fn catching_up(memory: Option<Memory>, waiting: usize) -> Duration {
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    memory.map_or(Duration::ZERO, |_| ONE_BY_ONE.max(ONE.saturating_mul(waiting)))
}

async fn produce(workload: Arc<Mutex<Workload>>, mut dice: Dice) {
    loop {
        workload.lock().await.put().await;
        sleep(Duration::from_millis(dice.between(50, 1_000))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_one_record_at_a_time_may_take_as_long_as_all_that_wait_do() {
        assert_eq!(catching_up(None, 1_000), Duration::ZERO);
        let memory = Memory::drawn(12);
        assert_eq!(catching_up(memory, 10), Duration::from_secs(120));
        assert_eq!(catching_up(memory, 1_000), Duration::from_secs(300));
    }
}
