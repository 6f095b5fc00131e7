//! With a shard of which the test plays the worker, in virtual time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::adapters::testing::{LONG, SOON, batch, until_checkpointed};
use crate::record::builder::BatchBuilder;
use crate::testing::TestShard;

/// What the handler does with a record, by its payload.
#[derive(Debug, Default, Clone)]
struct Will {
    /// These wait.
    held: BTreeSet<String>,
    /// These fail.
    failing: BTreeSet<String>,
    /// These panic.
    panicking: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Book {
    under_way: Vec<String>,
    most: usize,
    begun: Vec<(String, Instant)>,
    done: Vec<String>,
}

/// A handler that does what it is told, and keeps a book.
#[derive(Debug, Clone)]
struct Bench {
    will: watch::Sender<Will>,
    book: Arc<Mutex<Book>>,
}

impl Bench {
    fn new() -> Self {
        Self {
            will: watch::Sender::new(Will::default()),
            book: Arc::default(),
        }
    }

    fn holding<const N: usize>(payloads: [&str; N]) -> Self {
        let bench = Self::new();
        bench
            .will
            .send_modify(|will| will.held = payloads.map(str::to_owned).into());
        bench
    }

    fn failing<const N: usize>(payloads: [&str; N]) -> Self {
        let bench = Self::new();
        bench
            .will
            .send_modify(|will| will.failing = payloads.map(str::to_owned).into());
        bench
    }

    fn release(&self, payload: &str) {
        self.will.send_modify(|will| {
            will.held.remove(payload);
            will.failing.remove(payload);
            will.panicking.remove(payload);
        });
    }

    fn processors(&self) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static + use<> {
        let bench = self.clone();
        each_record(async move |record| bench.handle(record).await)
    }

    async fn handle(&self, record: &Record) -> Result<(), ProcessorError> {
        let payload = String::from_utf8_lossy(record.data()).into_owned();
        {
            let mut book = self.book();
            book.under_way.push(payload.clone());
            book.most = book.most.max(book.under_way.len());
            book.begun.push((payload.clone(), Instant::now()));
        }
        let mut will = self.will.subscribe();
        let will = will.wait_for(|will| !will.held.contains(&payload)).await?.clone();
        self.book().under_way.retain(|other| *other != payload);
        if will.panicking.contains(&payload) {
            // Like a panic, without its message on the screen.
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        if will.failing.contains(&payload) {
            return Err("not today".into());
        }
        self.book().done.push(payload);
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self, payload: &str) -> Vec<Instant> {
        let book = self.book();
        let begun = book.begun.iter().filter(|(begun, _)| begun == payload);
        begun.map(|(_, at)| *at).collect()
    }

    async fn until(&self, is_so: impl Fn(&Book) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.book()) {
            assert!(begun.elapsed() < LONG, "{:?}", self.book());
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_done(&self, records: usize) {
        self.until(|book| book.done.len() >= records).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_the_next_batch_run_while_a_slow_one_is_under_way_and_each_key_is_in_order() {
    let bench = Bench::holding(["a/1"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors()(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a/1", "a/2", "b/1"]))
        .await
        .expect("taken in");
    shard
        .process(&mut processor, &batch(4, ["a/3", "b/2", "c/1"]))
        .await
        .expect("taken in");
    bench.until_done(3).await;
    let others: BTreeSet<_> = bench.book().done.iter().cloned().collect();
    assert_eq!(others, ["b/1", "b/2", "c/1"].map(str::to_owned).into());
    assert_eq!(shard.checkpoints(), [""; 0]);
    bench.release("a/1");
    bench.until_done(6).await;
    assert_eq!(bench.book().done[3..], ["a/1", "a/2", "a/3"]);
    let is_of_b = |payload: &&String| payload.starts_with('b');
    let of_b: Vec<_> = bench.book().done.iter().filter(is_of_b).cloned().collect();
    assert_eq!(of_b, ["b/1", "b/2"]);
    until_checkpointed(&shard, "6").await;
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_follows_what_is_completely_done_once_a_second_while_no_batch_comes() {
    let bench = Bench::holding(["b", "d"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors()(shard.context());
    let begun = Instant::now();
    shard
        .process(&mut processor, &batch(1, ["a", "b", "c", "d", "e"]))
        .await
        .expect("taken in");
    until_checkpointed(&shard, "1").await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "not at once");
    assert!(begun.elapsed() < Duration::from_millis(1010));
    bench.release("b");
    until_checkpointed(&shard, "3").await;
    bench.release("d");
    until_checkpointed(&shard, "5").await;
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(shard.checkpoints(), ["1", "3", "5"]);
}

#[tokio::test(start_paused = true)]
async fn as_many_as_may_be_are_under_way_and_no_more() {
    let bench = Bench::holding(["a", "b", "c", "d"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors().concurrency(3)(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b", "c", "d"]))
        .await
        .expect("taken in");
    bench.until(|book| book.under_way.len() == 3).await;
    for payload in ["a", "b", "c", "d"] {
        sleep(SOON).await;
        bench.release(payload);
    }
    bench.until_done(4).await;
    assert_eq!(bench.book().most, 3);
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_worker_share_what_it_may_do_at_once() {
    let payloads = ["a", "b", "c", "d"];
    let bench = Bench::holding(payloads);
    let processors = bench.processors().concurrency(4).worker_concurrency(2);
    let (mut first, mut second) = (TestShard::new().await, TestShard::new().await);
    let (mut one, mut two) = (processors(first.context()), processors(second.context()));
    first
        .process(&mut one, &batch(1, payloads))
        .await
        .expect("taken in");
    bench.until(|book| book.under_way == ["a", "b"]).await;
    second
        .process(&mut two, &batch(1, ["x", "y"]))
        .await
        .expect("taken in");
    sleep(SOON).await;
    assert_eq!(bench.book().under_way.len(), 2);
    for payload in payloads {
        bench.release(payload);
    }
    bench.until_done(6).await;
    assert_eq!(bench.book().most, 2);
}

#[tokio::test(start_paused = true)]
async fn shards_take_turns_at_what_the_worker_may_do_at_once() {
    let bench = Bench::holding(["a/1"]);
    let processors = bench.processors().worker_concurrency(1);
    let (mut first, mut second) = (TestShard::new().await, TestShard::new().await);
    let (mut one, mut two) = (processors(first.context()), processors(second.context()));
    first
        .process(&mut one, &batch(1, ["a/1", "a/2", "a/3", "a/4"]))
        .await
        .expect("taken in");
    bench.until(|book| book.under_way == ["a/1"]).await;
    second
        .process(&mut two, &batch(1, ["x/1", "x/2"]))
        .await
        .expect("taken in");
    bench.release("a/1");
    bench.until_done(6).await;
    assert_eq!(bench.book().done, ["a/1", "x/1", "a/2", "x/2", "a/3", "a/4"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_or_panics_is_repeated_with_growing_pauses_and_the_others_go_on() {
    for panics in [false, true] {
        let bench = Bench::new();
        bench.will.send_modify(|will| {
            let bad = BTreeSet::from(["bad/1".to_owned()]);
            *(if panics {
                &mut will.panicking
            } else {
                &mut will.failing
            }) = bad;
        });
        let mut shard = TestShard::new().await;
        let mut processor = bench.processors()(shard.context());
        shard
            .process(&mut processor, &batch(1, ["ok/1", "bad/1", "bad/2", "ok/2"]))
            .await
            .expect("taken in");
        bench.until_done(2).await;
        bench.until(|book| book.begun.len() > 12).await;
        assert_eq!(bench.book().done, ["ok/1", "ok/2"]);
        assert_eq!(shard.checkpoints(), ["1"]);
        let pauses: Vec<_> = bench
            .begun("bad/1")
            .windows(2)
            .map(|two| two[1] - two[0])
            .collect();
        assert!(
            pauses[0] <= Duration::from_millis(110) && pauses[8] >= Duration::from_secs(4),
            "{pauses:?}"
        );
        let status = shard.status();
        let problem = status.problem.expect("it is told");
        let text = if panics { "on purpose" } else { "not today" };
        assert_eq!(problem.code, "record-failing");
        assert!(
            problem.text.contains(text) && problem.text.contains("record 2 of the key \"bad\""),
            "{}",
            problem.text
        );
        assert!(status.attempts >= 10);

        bench.release("bad/1");
        bench.until_done(4).await;
        assert_eq!(bench.book().done[2..], ["bad/1", "bad/2"]);
        assert_eq!((shard.status().problem, shard.status().attempts), (None, 0));
        until_checkpointed(&shard, "4").await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_records_behind_failing_keys_stop_the_shard_until_they_succeed() {
    let bench = Bench::failing(["bad/1"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors().max_held_back(3)(shard.context());
    let first = batch(1, ["bad/1", "a", "bad/2", "b"]);
    shard.process(&mut processor, &first).await.expect("taken in");
    bench.until(|book| book.begun.len() >= 4).await;
    shard
        .process(&mut processor, &batch(5, ["c", "bad/3"]))
        .await
        .expect("taken in");
    let more = batch(7, ["d"]);
    let waiting = timeout(LONG, shard.process(&mut processor, &more)).await;
    assert!(waiting.is_err(), "the shard waits");
    assert_eq!(bench.book().done, ["a", "b", "c"]);
    bench.release("bad/1");
    shard.process(&mut processor, &more).await.expect("taken in");
    bench.until_done(7).await;
    until_checkpointed(&shard, "7").await;
}

#[tokio::test(start_paused = true)]
async fn undone_records_are_bounded_and_a_batch_that_is_larger_is_taken_in_little_by_little() {
    let bench = Bench::holding(["a"]);
    let mut shard = TestShard::new().await;
    let processors = bench.processors().max_undone(2).concurrency(8);
    let mut processor = processors(shard.context());
    let large = batch(1, ["a", "b", "c", "d", "e"]);
    shard.process(&mut processor, &large).await.expect("taken in");
    bench.until_done(4).await;
    assert_eq!(bench.book().most, 2);

    let bench = Bench::holding(["a", "b"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors().max_undone(2)(shard.context());
    assert!(
        timeout(LONG, shard.process(&mut processor, &large))
            .await
            .is_err(),
        "two are not done"
    );
    assert_eq!(bench.book().begun.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn so_many_records_at_most_lie_ahead_of_one_that_is_not_done() {
    let bench = Bench::failing(["bad"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors().max_ahead(3)(shard.context());
    let records = batch(1, ["bad", "b", "c", "d", "e"]);
    let waiting = timeout(LONG, shard.process(&mut processor, &records)).await;
    assert!(waiting.is_err());
    assert_eq!(bench.book().done, ["b", "c"]);
    bench.release("bad");
    shard.process(&mut processor, &records).await.expect("taken in");
    bench.until_done(5).await;
    assert_eq!(bench.book().done, ["b", "c", "bad", "d", "e"], "none came twice");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_again_adds_what_is_new_of_it() {
    let bench = Bench::new();
    let panics = Arc::new(AtomicBool::new(true));
    let is_bad = panics.clone();
    let processors = bench.processors().keyed_by(move |record| {
        if record.data() == "c" && is_bad.load(Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        record.data().clone()
    });
    let mut shard = TestShard::new().await;
    let mut processor = processors(shard.context());
    shard
        .process(&mut processor, &batch(1, ["a", "b"]))
        .await
        .expect("taken in");
    let again = batch(1, ["a", "b", "c"]);
    let failed = std::panic::AssertUnwindSafe(shard.process(&mut processor, &again));
    assert!(
        futures_util::FutureExt::catch_unwind(failed).await.is_err(),
        "the worker takes it for an error"
    );
    panics.store(false, Ordering::SeqCst);
    shard.process(&mut processor, &again).await.expect("taken in");
    shard.end(&mut processor).await.expect("ended");
    assert_eq!(bench.book().done, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn keys_may_be_others_than_partition_keys_or_none() {
    let bench = Bench::holding(["a/x", "a/y", "b/x"]);
    let mut shard = TestShard::new().await;
    let by_end = bench.processors().keyed_by(|record| record.data().slice(1..));
    let mut processor = by_end(shard.context());
    let records = batch(1, ["a/x", "a/y", "b/x"]);
    shard.process(&mut processor, &records).await.expect("taken in");
    sleep(SOON).await;
    assert_eq!(bench.book().under_way, ["a/x", "a/y"]);

    let bench = Bench::holding(["a/x", "a/y", "b/x"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors().unordered()(shard.context());
    shard.process(&mut processor, &records).await.expect("taken in");
    bench.until(|book| book.under_way.len() == 3).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_shuts_down_waits_for_what_is_under_way_and_starts_nothing() {
    let bench = Bench::holding(["a/1", "b/1"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors()(shard.context());
    let records = batch(1, ["a/1", "b/1", "a/2", "c/1"]);
    shard.process(&mut processor, &records).await.expect("taken in");
    bench.until_done(1).await;
    bench.release("a/1");
    bench.until_done(3).await;
    let releasing = bench.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(7)).await;
        releasing.release("b/1");
    });
    let more = batch(5, ["b/2"]);
    shard.process(&mut processor, &more).await.expect("taken in");
    let begun = Instant::now();
    shard.shut_down(&mut processor).await.expect("shut down");
    assert!(begun.elapsed() >= Duration::from_secs(7));
    assert_eq!(bench.book().done, ["c/1", "a/1", "a/2", "b/1"]);
    assert_eq!(
        shard.checkpoints().last().map(String::as_str),
        Some("4"),
        "b/2 is left to the next owner"
    );
    sleep(LONG).await;
    assert_eq!(bench.book().begun.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_shard_ends_when_all_its_records_are_done() {
    let bench = Bench::failing(["b/1"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors()(shard.context());
    let records = batch(1, ["a", "b/1", "b/2"]);
    shard.process(&mut processor, &records).await.expect("taken in");
    assert!(timeout(LONG, shard.end(&mut processor)).await.is_err());
    bench.release("b/1");
    shard.end(&mut processor).await.expect("ended");
    assert_eq!(bench.book().done, ["a", "b/1", "b/2"]);
    let checkpoints = shard.checkpoints();
    assert_eq!(checkpoints[checkpoints.len() - 2..], ["3", "SHARD_END"]);
}

#[tokio::test(start_paused = true)]
async fn once_the_lease_is_lost_nothing_is_started_and_nothing_counts() {
    let bench = Bench::holding(["a/1"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors()(shard.context());
    let records = batch(1, ["a/1", "a/2"]);
    shard.process(&mut processor, &records).await.expect("taken in");
    bench.until(|book| book.under_way == ["a/1"]).await;
    let losing = shard.lose(&mut processor);
    assert!(timeout(LONG, losing).await.is_err(), "a handler still runs");
    bench.release("a/1");
    bench.until_done(1).await;
    sleep(LONG).await;
    assert_eq!((bench.book().begun.len(), shard.checkpoints()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_is_dropped_starts_nothing_and_cancels_nothing() {
    let bench = Bench::holding(["a/1"]);
    let mut shard = TestShard::new().await;
    let mut processor = bench.processors()(shard.context());
    let records = batch(1, ["a/1", "a/2"]);
    shard.process(&mut processor, &records).await.expect("taken in");
    bench.until(|book| book.under_way == ["a/1"]).await;
    drop(processor);
    bench.release("a/1");
    bench.until_done(1).await;
    sleep(LONG).await;
    assert_eq!((bench.book().begun.len(), shard.checkpoints()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn handlers_that_never_wait_let_others_have_the_thread() {
    let ran = Arc::new(AtomicBool::new(false));
    let (seen, at_last) = (ran.clone(), Arc::new(AtomicBool::new(false)));
    let told = at_last.clone();
    let processors = each_record(async move |record| {
        if record.data() == "999" {
            told.store(seen.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        Ok(())
    });
    let mut shard = TestShard::new().await;
    let mut processor = processors.concurrency(1)(shard.context());
    let records = (0..1000).map(|number| number.to_string());
    let records = crate::testing::batch(records);
    shard.process(&mut processor, &records).await.expect("taken in");
    tokio::spawn(async move { ran.store(true, Ordering::SeqCst) });
    shard.end(&mut processor).await.expect("ended");
    assert!(at_last.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn what_all_shards_have_undone_is_bounded_and_none_stands_still_for_another() {
    let bench = Bench::holding(["a/1"]);
    let processors = bench.processors().worker_max_undone(4);
    let (mut first, mut second) = (TestShard::new().await, TestShard::new().await);
    let (mut one, mut two) = (processors(first.context()), processors(second.context()));
    let records = batch(1, ["a/1", "a/2", "a/3", "a/4", "a/5"]);
    let filling = tokio::spawn(async move {
        first.process(&mut one, &records).await.expect("taken in");
        (first, one)
    });
    sleep(SOON).await;
    assert!(!filling.is_finished(), "four are undone");
    // One after another.
    second
        .process(&mut two, &batch(1, ["x/1", "x/2", "x/3"]))
        .await
        .expect("taken in");
    bench.until_done(3).await;
    bench.release("a/1");
    let (first, one) = timeout(SOON, filling).await.expect("room").expect("whole");
    bench.until_done(8).await;
    until_checkpointed(&first, "5").await;
    // What is left of a shard that is gone does not count.
    drop(one);
    let mut third = TestShard::new().await;
    let mut three = processors(third.context());
    let records = batch(1, ["z/1", "z/2", "z/3", "z/4"]);
    let taken = timeout(SOON, third.process(&mut three, &records)).await;
    taken.expect("room for all").expect("taken in");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_even_if_nothing_follows_it_and_records_count_when_they_are_done() {
    let bench = Bench::holding(["b"]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (seen, mut shard) = (told.clone(), TestShard::new().await);
    let processors = bench.processors().on_gap(move |shard, gap| {
        seen.lock()
            .expect("not poisoned")
            .push((shard.to_owned(), gap.after.is_some()));
    });
    let mut processor = processors(shard.context());
    let empty = BatchBuilder::new([]).gap_after(None).build();
    shard.process(&mut processor, &empty).await.expect("taken in");
    let shard_id = shard.context().shard_id.to_string();
    assert_eq!(*told.lock().expect("not poisoned"), [(shard_id, false)]);
    shard
        .process(&mut processor, &batch(1, ["a", "b"]))
        .await
        .expect("taken in");
    bench.until_done(1).await;
    until_checkpointed(&shard, "1").await;
    assert_eq!(shard.status().records_processed, 1);
    bench.release("b");
    shard.end(&mut processor).await.expect("all is done");
    assert_eq!(shard.status().records_processed, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_in_without_room_counts_until_it_is_gone_and_no_longer() {
    let bench = Bench::holding(["a/1", "x/1", "y/1", "z/1"]);
    let processors = bench.processors().worker_max_undone(2);
    let (mut first, mut second) = (TestShard::new().await, TestShard::new().await);
    let (mut one, mut two) = (processors(first.context()), processors(second.context()));
    let (checkpointer, records) = (
        first.checkpointer().clone(),
        batch(1, ["a/1", "a/2", "a/3", "a/4"]),
    );
    let filling = tokio::spawn(async move {
        one.process_records(&records, &checkpointer)
            .await
            .expect("taken in");
        one
    });
    sleep(SOON).await;
    assert!(!filling.is_finished(), "two are undone");
    let mut other = processors(first.context());
    first.lose(&mut other).await;
    let one = timeout(SOON, filling)
        .await
        .expect("it does not wait any more")
        .expect("whole");
    let waiting = tokio::spawn(async move {
        second
            .process(&mut two, &batch(1, ["x/1", "x/2", "x/3"]))
            .await
            .expect("taken in");
        two
    });
    sleep(SOON).await;
    assert!(!waiting.is_finished(), "five are undone");
    drop(one);
    bench.release("a/1");
    sleep(SOON).await;
    bench.release("x/1");
    timeout(SOON, waiting).await.expect("room").expect("whole");
    bench.until_done(4).await;
    // There is room for two again.
    let mut third = TestShard::new().await;
    let mut three = processors(third.context());
    let records = batch(1, ["y/1", "z/1"]);
    let taken = timeout(SOON, third.process(&mut three, &records)).await;
    taken.expect("room for both").expect("taken in");
}
