//! Records that keep failing: what becomes of them is the user's choice, and nothing is given up unless it is proved to be at fault.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kcl_core::dead_letters::MemoryDeadLetters;
use kcl_core::{
    Checkpoint, Checkpointer, Decision, Error, FailedRecords, FailurePolicy, LastResort, ProcessorError,
    RecordBatch, RecordProcessor, WorkerHandle, WorkerPhase, WorkerStatus, async_trait,
};
use kcl_local::faults::{Call, Fault, Rule};
use kcl_tests::scenarios::shard;
use kcl_tests::{Behaviour, Delivery, Ledger, Reaction, World};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Gives up what failed five times and for half a minute.
fn policy(resort: LastResort) -> FailurePolicy {
    let five = NonZeroU32::new(5).expect("not zero");
    FailurePolicy::after(five, Duration::from_secs(30)).then(resort)
}

/// Fails with each batch that holds the record of this number, while it is bad.
fn failing_at(bad: &'static str, is_bad: &Arc<AtomicBool>) -> Behaviour {
    let is_bad = Arc::clone(is_bad);
    Behaviour::scripted(move |_, batch| {
        let holds = batch.iter().any(|record| record.data() == bad.as_bytes());
        match holds && is_bad.load(Ordering::SeqCst) {
            true => Reaction::Fail,
            false => Reaction::Process,
        }
    })
}

fn bad() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

fn dead_lettered(status: &WorkerStatus) -> u64 {
    status
        .shards
        .iter()
        .map(|shard| shard.records_dead_lettered)
        .sum()
}

#[tokio::test(start_paused = true)]
async fn a_record_at_fault_is_in_the_dead_letters_before_anything_goes_on_behind_it() {
    let world = World::with_shards(1).await;
    world.put(1, 300).await;
    let sink = MemoryDeadLetters::default();
    sink.refuse(true);
    let builder = world.builder("one", failing_at("217", &bad()));
    let builder = builder.failure_policy(policy(LastResort::DeadLetter));
    let worker = world.run("one", builder.dead_letters(sink.clone()));
    let is_refused = |status: &WorkerStatus| {
        let problem = status.shards.first().and_then(|shard| shard.problem.as_ref());
        problem.is_some_and(|problem| problem.text.contains("cannot be written to the dead letters"))
    };
    worker.until(5 * MINUTE, is_refused).await;
    sleep(10 * MINUTE).await;
    assert_eq!(dead_lettered(&worker.handle.status()), 0);
    assert_eq!(world.ledger.unique(), 217, "nothing goes on behind it");
    sink.refuse(false);
    worker.until(MINUTE, |status| dead_lettered(status) == 1).await;
    let all_others = || (world.ledger.unique() == 299).then_some(());
    world
        .until(MINUTE, all_others, || world.ledger.tally().to_string())
        .await;
    let letters = sink.letters();
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    assert_eq!(
        (&letter.data[..], &*letter.partition_key),
        (&b"217"[..], "user-0")
    );
    assert_eq!(
        (&*letter.application, letter.worker.to_string(), &*letter.shard_id),
        ("app", "one".to_owned(), shard(0).as_str())
    );
    assert_eq!(letter.error, ["not today"]);
    assert!(letter.attempts >= 10, "{letter:?}");
    assert!(letter.given_up_at > letter.first_failed_at + Duration::from_secs(30));
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_away_for_an_hour_costs_no_record() {
    use LastResort::{DeadLetter, Release, Repeat, Skip};
    for (resort, bisects) in [
        (DeadLetter, true),
        (DeadLetter, false),
        (Skip, true),
        (Skip, false),
        (Release, true),
        (Repeat, true),
    ] {
        let world = World::with_shards(1).await;
        world.put(100, 1000).await;
        let is_away = bad();
        let sink = MemoryDeadLetters::default();
        let builder = world.builder("one", Behaviour::while_set(&is_away, Reaction::Fail));
        let policy = policy(resort).bisect(bisects);
        let builder = builder.failure_policy(policy).dead_letters(sink.clone());
        let worker = world.run("one", builder);
        sleep(60 * MINUTE).await;
        is_away.store(false, Ordering::SeqCst);
        world.until_drained(2 * MINUTE).await;
        world.assert_exactly_once();
        assert_eq!(sink.letters(), []);
        worker.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_to_dead_letters_has_to_say_where_they_are() {
    let world = World::with_shards(1).await;
    let builder = world.builder("one", Behaviour::default());
    let built = builder.failure_policy(policy(LastResort::DeadLetter)).build();
    let error = built.map(|_| ()).expect_err("there are none").to_string();
    assert!(
        error.contains("set dead_letters, or another last resort"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_keeps_failing_stops_the_worker_if_told_so() {
    let world = World::with_shards(2).await;
    world.put(50, 500).await;
    let failing = shard(1);
    let (handle, is_repeated) = (
        Arc::new(OnceLock::<WorkerHandle>::new()),
        Arc::new(AtomicBool::new(false)),
    );
    let (stopping, repeats) = (handle.clone(), is_repeated.clone());
    let behaviour = Behaviour::scripted(move |of, _| {
        if of != failing {
            return Reaction::Process;
        }
        let stops = |handle: &WorkerHandle| handle.status().phase == WorkerPhase::Stopping;
        repeats.fetch_or(stopping.get().is_some_and(stops), Ordering::SeqCst);
        Reaction::Fail
    });
    let builder = world
        .builder("one", behaviour)
        .failure_policy(policy(LastResort::Stop).pauses(100 * MILLISECOND, 200 * MILLISECOND));
    let worker = world.run("one", builder);
    handle.set(worker.handle.clone()).expect("once");
    worker.until(MINUTE, |status| status.leases_held == 2).await;
    // Leaving takes longer than the pause before the next attempt.
    let slow = Rule::any().fault(Fault::none().after(1_000 * MILLISECOND));
    world.servers.faults.add(slow);
    let ended = tokio::time::timeout(5 * MINUTE, worker.ended());
    match ended.await.expect("it stops") {
        Err(Error::Processor { shard: of, error, .. }) => {
            assert_eq!((of, &*error), (shard(1), "not today"));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        !is_repeated.load(Ordering::SeqCst),
        "it was tried again meanwhile"
    );
    let leases = world.leases().await;
    assert!(
        leases.iter().all(|lease| lease.owner.is_none()),
        "it left in good order"
    );
    let checkpoints = leases.iter().map(|lease| &lease.checkpoint);
    let at: Vec<_> = checkpoints.map(|it| matches!(it, Checkpoint::At(_))).collect();
    assert_eq!(at, [true, false], "and nothing of what failed is checkpointed");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_for_a_shard_gives_its_lease_up_although_the_table_refuses_that_at_first() {
    let world = World::with_shards(1).await;
    world.put(50, 50).await;
    let behaviour = Behaviour::scripted(|_, _| Reaction::Fail);
    let builder = world
        .builder("one", behaviour)
        .failure_policy(policy(LastResort::Stop));
    let given_up = |call: &Call<'_>| String::from_utf8_lossy(call.body).contains("REMOVE #leaseOwner");
    let refused = Rule::on("UpdateItem").matching(given_up).times(6);
    let refused = world.servers.faults.add(refused.fault(Fault::throttled()));
    let worker = world.run("one", builder);
    let faults = world.servers.faults.clone();
    let is_refused = || (faults.hits(refused) > 0).then_some(());
    world
        .until(2 * MINUTE, is_refused, || "not given up".to_owned())
        .await;
    let ended = tokio::time::timeout(Duration::from_secs(5), worker.ended());
    let ended = ended.await.expect("long before the time to stop is over");
    assert!(matches!(ended, Err(Error::Processor { .. })), "{ended:?}");
    assert_eq!(world.servers.faults.hits(refused), 6);
    let leases = world.leases().await;
    assert!(leases.iter().all(|lease| lease.owner.is_none()), "{leases:?}");
}

/// The record in front is no proof then: it was checkpointed before, which costs no write.
#[tokio::test(start_paused = true)]
async fn no_record_is_given_up_for_a_checkpoint_that_the_table_does_not_take() {
    for resort in [LastResort::DeadLetter, LastResort::Skip, LastResort::Stop] {
        let world = World::with_shards(1).await;
        world.put(2, 50).await;
        let (letters, two) = (
            MemoryDeadLetters::default(),
            NonZeroU32::new(2).expect("not zero"),
        );
        let builder = world
            .builder("one", Behaviour::default())
            .dead_letters(letters.clone())
            .failure_policy(FailurePolicy::after(two, Duration::from_secs(1)).then(resort));
        let worker = world.run("one", builder);
        world.until_drained(MINUTE).await;
        let checkpoint =
            |call: &Call<'_>| String::from_utf8_lossy(call.body).contains("checkpointSubSequenceNumber");
        let refused = Rule::on("UpdateItem").matching(checkpoint).times(30);
        let refused = world
            .servers
            .faults
            .add(refused.fault(Fault::respond(400, "ValidationException")));
        world.put(2, 50).await;
        let is_over = || (world.servers.faults.hits(refused) == 30).then_some(());
        world
            .until(10 * MINUTE, is_over, || format!("{:?}", worker.handle.status()))
            .await;
        worker
            .until(MINUTE, |status| status.shards[0].problem.is_none())
            .await;
        assert_eq!(letters.letters().len(), 0);
        let status = worker.handle.status();
        assert_eq!(status.shards[0].records_skipped, 0);
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_here_is_released_to_a_worker_that_can() {
    let world = World::with_shards(2).await;
    let policy = || FailurePolicy::after(NonZeroU32::MIN, Duration::from_secs(1)).then(LastResort::Release);
    let failing = shard(1);
    let behaviour = Behaviour::scripted(move |of, _| match of == failing {
        true => Reaction::Fail,
        false => Reaction::Process,
    });
    let one = world.run("one", world.builder("one", behaviour).failure_policy(policy()));
    one.until(MINUTE, |status| status.leases_held == 2).await;
    let builder = world.builder("two", Behaviour::default());
    let two = world.run("two", builder.failure_policy(policy()).max_leases(1));
    two.until(MINUTE, |status| status.phase == WorkerPhase::Running)
        .await;
    world.put(50, 500).await;
    // Far sooner than a worker gives up a shard that fails by itself.
    world.until_drained(Duration::from_secs(15)).await;
    world.assert_nothing_lost();
    assert_eq!(two.processing(), [shard(1)]);
    one.stop().await;
    two.stop().await;
}

/// Processes one record after the other, and names the one that fails.
struct OneByOne {
    ledger: Ledger,
    shard: String,
    bad: &'static [&'static str],
}

#[async_trait]
impl RecordProcessor for OneByOne {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            if self.bad.iter().any(|bad| record.data() == bad.as_bytes()) {
                return Err(ProcessorError::at(record, "no such customer"));
            }
            self.ledger.deliver(Delivery {
                worker: "one".to_owned(),
                shard: self.shard.clone(),
                token: checkpointer.fencing_token().get(),
                key: record.partition_key().to_owned(),
                counter: std::str::from_utf8(record.data())?.parse()?,
                sequence: record.sequence_number().to_string(),
                at: tokio::time::Instant::now(),
            });
        }
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

fn one_by_one(world: &World, bad: &'static [&'static str]) -> kcl_core::WorkerBuilder {
    let ledger = world.ledger.clone();
    world.builder_of("one", move |context| OneByOne {
        ledger: ledger.clone(),
        shard: context.shard_id.to_string(),
        bad,
    })
}

#[tokio::test(start_paused = true)]
async fn records_before_the_one_that_failed_are_done_and_not_delivered_again() {
    let world = World::with_shards(1).await;
    world.put(1, 300).await;
    let worker = world.run("one", one_by_one(&world, &["217"]));
    let is_failing = |status: &WorkerStatus| status.shards.iter().any(|shard| shard.attempts > 5);
    worker.until(MINUTE, is_failing).await;
    let told = worker.handle.status().shards.remove(0);
    assert_eq!(told.problem.expect("failing").code, "processor-failing");
    assert_eq!(told.records_processed, 217);
    let deliveries = world.ledger.deliveries();
    assert_eq!(deliveries.len(), 217, "each of them once");
    worker.stop().await;
    let last = Checkpoint::parse(deliveries[216].sequence.as_str(), 0).unwrap();
    assert_eq!(world.leases().await[0].checkpoint, last, "they are checkpointed");
}

#[tokio::test(start_paused = true)]
async fn the_application_may_decide_itself_failure_by_failure() {
    let world = World::with_shards(1).await;
    world.put(1, 300).await;
    let sink = MemoryDeadLetters::default();
    let decide = |failed: &FailedRecords<'_>| {
        assert_eq!(failed.error.to_string(), "no such customer");
        match failed.batch.len() {
            1 => Some(Decision::DeadLetter),
            _ => Some(Decision::Bisect),
        }
    };
    let builder = one_by_one(&world, &["0", "1", "217", "299"]).on_failure(decide);
    let worker = world.run("one", builder.dead_letters(sink.clone()));
    let others = || (world.ledger.unique() == 296).then_some(());
    // At once, and even the first records of the shard, which nothing shows to be at fault.
    world
        .until(Duration::from_secs(10), others, || {
            world.ledger.tally().to_string()
        })
        .await;
    worker
        .until(Duration::from_secs(5), |status| dead_lettered(status) == 4)
        .await;
    let letters = sink.letters();
    let given_up: Vec<_> = letters.iter().map(|letter| &letter.data[..]).collect();
    assert_eq!(given_up, [&b"0"[..], b"1", b"217", b"299"]);
    assert_eq!(world.ledger.deliveries().len(), 296, "each of the others once");
    worker.stop().await;
}

/// A worker with a handler of single records that fails with those, or with all while the sink is away.
fn each(world: &World, bad: &'static [&'static str], is_away: &Arc<AtomicBool>) -> kcl_core::WorkerBuilder {
    let (ledger, is_away) = (world.ledger.clone(), Arc::clone(is_away));
    let handle = async move |record: &kcl_core::Record| {
        let text = std::str::from_utf8(record.data())?;
        if bad.contains(&text) || is_away.load(Ordering::SeqCst) {
            return Err("not today".into());
        }
        ledger.deliver(Delivery {
            worker: "one".to_owned(),
            shard: shard(0),
            token: 1,
            key: record.partition_key().to_owned(),
            counter: text.parse()?,
            sequence: record.sequence_number().to_string(),
            at: tokio::time::Instant::now(),
        });
        Ok(())
    };
    world.builder_of("one", kcl_core::each_record(handle))
}

#[tokio::test(start_paused = true)]
async fn a_single_record_at_fault_becomes_a_dead_letter_while_others_are_handled() {
    let world = World::with_shards(1).await;
    world.put(10, 100).await;
    let sink = MemoryDeadLetters::default();
    let builder = each(&world, &["7"], &Arc::default()).failure_policy(policy(LastResort::DeadLetter));
    let worker = world.run("one", builder.dead_letters(sink.clone()));
    // Nothing else goes through meanwhile, so nothing shows that it is the records.
    let rest = || (world.ledger.unique() >= 70).then_some(());
    world
        .until(MINUTE, rest, || world.ledger.tally().to_string())
        .await;
    sleep(10 * MINUTE).await;
    assert_eq!(sink.letters(), []);
    let told = worker.handle.status().shards.remove(0).problem.expect("failing");
    assert!(
        told.text.contains("no other record of the shard went through"),
        "{told:?}"
    );
    // Now others do, of keys that are not blocked.
    for _ in 0..7 {
        world.put(30, 30).await;
        sleep(Duration::from_secs(12)).await;
        if dead_lettered(&worker.handle.status()) == 10 {
            break;
        }
    }
    let letters = sink.letters();
    assert_eq!(letters.len(), 10, "one of each key");
    assert!(letters.iter().all(|letter| &letter.data[..] == b"7"));
    let others = || (world.ledger.unique() + 10 == world.ledger.put()).then_some(());
    world
        .until(MINUTE, others, || world.ledger.tally().to_string())
        .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_a_sink_is_away_no_single_record_is_given_up() {
    let world = World::with_shards(1).await;
    let is_away = bad();
    let sink = MemoryDeadLetters::default();
    let builder = each(&world, &[], &is_away).failure_policy(policy(LastResort::DeadLetter));
    let worker = world.run("one", builder.dead_letters(sink.clone()));
    for _ in 0..30 {
        world.put(10, 10).await;
        sleep(Duration::from_secs(20)).await;
    }
    is_away.store(false, Ordering::SeqCst);
    world.until_drained(2 * MINUTE).await;
    assert_eq!(sink.letters(), []);
    worker.stop().await;
}
