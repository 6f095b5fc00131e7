use std::time::{Duration, UNIX_EPOCH};

use kcl_lease::{HashRange, Metrics};
use tokio::time::sleep;

use super::*;
use crate::config::{ProcessingOptions, RetrievalOptions};
use crate::memory::{Budget, Wish};
use crate::record::tests::{aggregate, record};
use crate::record::{Record, RecordBatch};
use crate::retrieval::buffer::{Inlet, buffer};

/// A shard whose pages a test sends.
struct Shard {
    inlet: Option<Inlet>,
    batches: Batches,
}

/// What a processor is given: positions, and what else there is to tell.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    positions: Vec<String>,
    front: Option<String>,
    has_gap: bool,
    is_last: bool,
}

fn given(positions: &[&str]) -> Given {
    Given {
        positions: positions.iter().map(ToString::to_string).collect(),
        front: None,
        has_gap: false,
        is_last: false,
    }
}

impl Shard {
    fn new(processing: ProcessingOptions, hash_range: Option<HashRange>) -> Self {
        let (inlet, outlet) = buffer(1 << 20, &Budget::new(1 << 30));
        let monitor = Arc::new(ShardMonitor::new("shardId-000000000000", Metrics::default()));
        let limits = BatchLimits::new(&RetrievalOptions::default(), &processing);
        let shard = ShardId::from("shardId-000000000000");
        let batches = Batches::new(shard, outlet, Unpacking::new(hash_range), limits, monitor);
        Self {
            inlet: Some(inlet),
            batches,
        }
    }

    fn of_batches(records: u32) -> Self {
        let options = ProcessingOptions {
            max_batch_records: Some(records),
            ..ProcessingOptions::default()
        };
        Self::new(options, None)
    }

    async fn send(&mut self, page: RecordBatch) {
        let wish = Wish {
            most: 1 << 16,
            least: 1,
            is_guess: false,
        };
        let inlet = self.inlet.as_mut().expect("the reader is there");
        let (claim, _) = inlet.room(|_| wish).await;
        assert!(inlet.send(page, Vec::new(), claim, tracing::Span::none()));
    }

    /// All that comes of these pages, after which the reader ends.
    async fn all(mut self, pages: impl IntoIterator<Item = RecordBatch>) -> Vec<Given> {
        for page in pages {
            self.send(page).await;
        }
        self.inlet = None;
        let mut all = Vec::new();
        while let Some(delivery) = self.batches.next().await {
            all.push(seen(&delivery));
        }
        all
    }

    fn held(&self) -> u64 {
        self.inlet.as_ref().map_or(0, Inlet::held_bytes)
    }
}

fn seen(delivery: &Delivery) -> Given {
    let batch = &delivery.batch;
    let position = |record: &Record| record.position().to_string();
    Given {
        positions: batch.iter().map(position).collect(),
        front: batch.front().map(position),
        has_gap: batch.gap().is_some(),
        is_last: batch.is_last(),
    }
}

fn page(records: Vec<Record>) -> RecordBatch {
    RecordBatch::new(records, Some(7), false, UNIX_EPOCH)
}

fn last_page(records: Vec<Record>) -> RecordBatch {
    RecordBatch::new(records, Some(0), true, UNIX_EPOCH)
}

#[tokio::test]
async fn user_records_come_in_order_among_plain_ones_as_many_as_a_batch_may_have() {
    let all = ["1", "2", "2:1", "2:2", "3", "4", "4:1", "4:2"];
    for size in 1..10_u32 {
        let pages = [page(vec![record(1), aggregate(2), record(3), aggregate(4)])];
        let batches = Shard::of_batches(size).all(pages).await;
        let positions: Vec<_> = batches.into_iter().map(|batch| batch.positions).collect();
        let expected: Vec<_> = all.chunks(size as usize).collect();
        assert_eq!(positions, expected, "{size}");
    }
}

#[tokio::test]
async fn a_page_is_a_batch_unless_it_is_said_otherwise() {
    let shard = Shard::new(ProcessingOptions::default(), None);
    let pages = [
        page(vec![record(1), record(2)]),
        page(vec![]),
        page(vec![record(3)]),
    ];
    let expected = [given(&["1", "2"]), given(&[]), given(&["3"])];
    assert_eq!(shard.all(pages).await, expected);
}

#[tokio::test]
async fn the_first_part_is_behind_the_gap_and_the_last_ends_the_shard() {
    let whole = last_page(vec![aggregate(2)]).behind(Some(Gap { after: None }));
    let batches = Shard::of_batches(2).all([whole]).await;
    let first = Given {
        has_gap: true,
        ..given(&["2", "2:1"])
    };
    let second = Given {
        is_last: true,
        front: Some("2:1".to_owned()),
        ..given(&["2:2"])
    };
    assert_eq!(batches, [first, second]);
}

#[tokio::test]
async fn what_was_done_of_an_aggregate_stands_in_front() {
    let front = aggregate(1).detach_to(1);
    let batches = Shard::of_batches(5)
        .all([page(vec![record(2)]).after(Some(front))])
        .await;
    assert_eq!(batches[0].front.as_deref(), Some("1:1"));
}

#[tokio::test]
async fn bytes_are_limited_too_and_a_record_that_is_larger_comes_alone() {
    // A record of these has 10 bytes: seven of data, three of its key.
    for (most, expected) in [
        (25, &[&["1", "2"][..], &["3", "4"]][..]),
        (9, &[&["1"], &["2"], &["3"], &["4"]]),
    ] {
        let options = ProcessingOptions {
            max_batch_bytes: Some(most),
            ..ProcessingOptions::default()
        };
        let pages = [page(vec![record(1), record(2), record(3), record(4)])];
        let batches = Shard::new(options, None).all(pages).await;
        let positions: Vec<_> = batches.into_iter().map(|batch| batch.positions).collect();
        assert_eq!(positions, expected, "{most}");
    }
}

fn waiting(window: u64, records: u32) -> ProcessingOptions {
    ProcessingOptions {
        max_batch_records: Some(records),
        batch_window: Duration::from_secs(window),
        ..ProcessingOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_until_it_is_full_or_its_window_is_over() {
    let mut shard = Shard::new(waiting(10, 3), None);
    shard.send(page(vec![record(1)])).await;
    let began = Instant::now();
    // Nobody loses anything by not waiting on.
    assert!(
        timeout_at(began + Duration::from_secs(4), shard.batches.next())
            .await
            .is_err()
    );
    shard.send(page(vec![])).await;
    shard.send(page(vec![record(2)])).await;
    let batch = shard.batches.next().await.expect("a batch");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(seen(&batch), given(&["1", "2"]));

    let began = Instant::now();
    shard.send(page(vec![record(3), record(4)])).await;
    shard.send(page(vec![record(5), record(6)])).await;
    let full = shard.batches.next().await.expect("a batch");
    assert_eq!(seen(&full), given(&["3", "4", "5"]));
    let rest = shard.batches.next().await.expect("a batch");
    assert_eq!(seen(&rest).positions, ["6"]);
    assert_eq!(began.elapsed(), Duration::from_secs(10), "only the rest waited");
}

#[tokio::test(start_paused = true)]
async fn neither_a_gap_nor_the_end_is_waited_over() {
    let mut shard = Shard::new(waiting(10, 100), None);
    let began = Instant::now();
    shard.send(page(vec![record(1)])).await;
    shard
        .send(page(vec![record(5)]).behind(Some(Gap { after: None })))
        .await;
    shard.send(last_page(vec![record(6)])).await;
    assert_eq!(seen(&shard.batches.next().await.expect("a batch")), given(&["1"]));
    let end = Given {
        has_gap: true,
        is_last: true,
        ..given(&["5", "6"])
    };
    assert_eq!(seen(&shard.batches.next().await.expect("a batch")), end);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_waits_leaves_the_reader_room() {
    // Many small reads, more than a buffer takes that nobody empties.
    let mut shard = Shard::new(waiting(60, 1_000), None);
    let began = Instant::now();
    for number in 0..50 {
        shard.send(page(vec![record(number)])).await;
        let soon = Instant::now() + Duration::from_millis(200);
        assert!(timeout_at(soon, shard.batches.next()).await.is_err());
    }
    let batch = shard.batches.next().await.expect("a batch");
    assert_eq!(batch.batch.len(), 50);
    assert_eq!(began.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_small_records_waits_no_longer_when_it_fills_half_of_the_buffer() {
    let mut shard = Shard::new(waiting(60, 1_000_000), None);
    let began = Instant::now();
    // The buffer takes 8 MiB here, which is nearly all what each record takes beside its payload.
    shard.send(page((0..21_000).map(record).collect())).await;
    let batch = shard.batches.next().await.expect("a batch");
    assert_eq!((batch.batch.len(), began.elapsed()), (21_000, Duration::ZERO));
}

fn aggregate_of(sequence: u64, keys: &[&'static str]) -> Record {
    let mut aggregator = kcl_aggregation::Aggregator::default();
    for key in keys {
        let user_record = kcl_aggregation::UserRecord::new(*key, "data");
        aggregator.push(user_record).expect("valid");
    }
    let data = aggregator.finish().expect("pushed").data;
    let mut record = crate::record::builder::record(data)
        .sequence_number(sequence)
        .build();
    record.look_inside(true);
    record
}

#[tokio::test]
async fn user_records_of_other_shards_are_left_out_one_by_one() {
    // The digest of "a" begins with 0c, that of "b" with 92.
    let lower = Some(HashRange::new(0, u128::MAX / 2));
    let pages = || {
        [
            page(vec![aggregate_of(5, &["b", "b", "a", "b", "a", "b"])]),
            last_page(vec![aggregate_of(6, &["b", "b"])]),
        ]
    };
    let ours = Shard::new(ProcessingOptions::default(), lower).all(pages()).await;
    let end = Given {
        is_last: true,
        ..given(&[])
    };
    assert_eq!(ours, [given(&["5:2", "5:4"]), end]);
    let unknown = Shard::new(ProcessingOptions::default(), None).all(pages()).await;
    assert_eq!(
        unknown[0].positions.len(),
        6,
        "a range that is not known leaves nothing out"
    );
}

#[tokio::test(start_paused = true)]
async fn user_records_hold_what_they_take_and_give_it_back() {
    let mut shard = Shard::of_batches(60);
    let whole = aggregate_of(1, &["a"; 100]);
    let packed = whole.weight();
    shard.send(page(vec![whole])).await;
    let first = shard.batches.next().await.expect("a batch");
    assert!(shard.held() >= packed + 60 * 192, "{}", shard.held());
    let second = shard.batches.next().await.expect("a batch");
    assert!(shard.held() >= packed + 100 * 192, "{}", shard.held());
    drop(first);
    assert!(shard.held() < packed + 60 * 192, "{}", shard.held());
    let kept = second.batch.records()[0].clone();
    drop(second);
    assert!(shard.held() < packed, "{}: one is kept", shard.held());
    drop(kept);
    assert_eq!(shard.held(), 0);

    // Of two pages, each record holds its own.
    let mut shard = Shard::new(waiting(1, 100), None);
    shard.send(page(vec![aggregate_of(1, &["a"; 10])])).await;
    shard.send(page(vec![aggregate_of(2, &["a"; 10])])).await;
    let both = shard.batches.next().await.expect("a batch");
    assert!(shard.held() >= 20 * 192);
    drop(both);
    assert_eq!(shard.held(), 0);
    // A record that was looked at but not taken over does not upset the count.
    shard.send(page(vec![aggregate_of(3, &["a"; 101])])).await;
    drop(shard.batches.next().await.expect("a batch"));
    shard.batches.rest = None;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shard.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn records_of_one_block_are_held_until_the_last_is_gone() {
    let mut shard = Shard::of_batches(100);
    let records: Vec<_> = (0..10).map(record).collect();
    shard.send(page(records).of_block(Some(50_000))).await;
    let batch = shard.batches.next().await.expect("a batch");
    let kept = batch.batch.records()[3].clone();
    drop(batch);
    assert!(shard.held() >= 50_000, "{}", shard.held());
    drop(kept);
    assert_eq!(shard.held(), 0);
}
