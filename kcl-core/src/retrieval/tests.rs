//! Three hundred shards that lag, and one bound of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::buffer::{Inlet, Outlet, buffer};
use crate::memory::Budget;
use crate::record::tests::batch_of;
use crate::source::appetite::{Appetite, Volume};

const MIB: u64 = 1 << 20;
const BOUND: u64 = 256 * MIB;
const BACKLOG: u64 = 10 * MIB;

/// What the shards hold and have under way, counted without the budget's help.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    fn add(&self, bytes: u64) {
        let now = self.now.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.peak.fetch_max(now, Ordering::SeqCst);
    }

    fn sub(&self, bytes: u64) {
        self.now.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// Reads a backlog of records of one size, as the service answers.
async fn read(mut inlet: Inlet, gauge: Arc<Gauge>, record: u64) {
    let mut appetite = Appetite::new(10_000);
    let mut left = BACKLOG / record;
    let mut next = 0;
    while left > 0 {
        let (claim, room) = inlet.room(|usual| appetite.wish(usual)).await;
        let limit = appetite.limit(room);
        let records = left.min(u64::from(limit)).min((10 * MIB / record).max(1));
        // The text of the answer comes first, three bytes in four characters; the records are made of it.
        gauge.add(records * record * 4 / 3);
        sleep(Duration::from_millis(50)).await;
        let batch = batch_of(next..next + records, usize::try_from(record).expect("small"));
        gauge.add(batch.weight());
        gauge.sub(records * record * 4 / 3);
        let answer = Volume {
            records,
            bytes: batch.weight(),
            is_behind: left > records,
        };
        appetite.answered(limit, answer, Duration::from_millis(50));
        inlet.note_usual_record(appetite.per_record().expect("records came"));
        next += records;
        left -= records;
        if !inlet.send(batch, Vec::new(), claim, tracing::Span::none()) {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A processor that takes some time for each batch, for ever if it is stuck; the records that it was given.
async fn process(mut outlet: Outlet, gauge: Arc<Gauge>, is_stuck: bool) -> usize {
    let mut records = 0;
    while let Some(delivery) = outlet.next().await {
        if is_stuck {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(300)).await;
        records += delivery.batch.len();
        let weight = delivery.batch.weight();
        drop(delivery);
        gauge.sub(weight);
    }
    records
}

/// Lets 300 shards be drained, some of which have processors that are stuck; the peak.
async fn drain(stuck: usize, record: u64) -> u64 {
    let (budget, gauge) = (Budget::new(BOUND), Arc::new(Gauge::default()));
    let mut draining = Vec::new();
    let mut kept = Vec::new();
    for shard in 0..300 {
        let (inlet, outlet) = buffer(8 * MIB, &budget);
        let reading = tokio::spawn(read(inlet, gauge.clone(), record));
        let processing = tokio::spawn(process(outlet, gauge.clone(), shard < stuck));
        if shard < stuck {
            kept.push((reading, processing));
        } else {
            draining.push(processing);
        }
    }
    for processing in draining {
        let records = timeout(Duration::from_secs(3_600), processing)
            .await
            .expect("never starved");
        assert_eq!(records.expect("no panic") as u64, BACKLOG / record);
    }
    for (reading, processing) in kept {
        reading.abort();
        processing.abort();
    }
    gauge.peak.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn three_hundred_lagging_shards_stay_within_the_bound() {
    for record in [32 << 10, MIB, 10 * MIB] {
        let peak = drain(0, record).await;
        assert!(peak <= BOUND, "{peak} with records of {record}");
        assert!(peak >= BOUND / 4, "{peak}: the bound is made use of");
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_processors_are_stuck_do_not_starve_the_others() {
    for (stuck, record) in [(30, 128 << 10), (290, 32 << 10)] {
        let peak = drain(stuck, record).await;
        assert!(peak <= BOUND, "{peak} with {stuck} stuck");
    }
}

#[tokio::test(start_paused = true)]
async fn three_hundred_shards_that_never_had_a_record_are_read_side_by_side() {
    let budget = Budget::new(BOUND);
    let mut appetite = Appetite::new(10_000);
    let nothing = Volume {
        records: 0,
        bytes: 0,
        is_behind: false,
    };
    appetite.answered(10_000, nothing, Duration::from_millis(50));
    let mut under_way = Vec::new();
    for _ in 0..300 {
        let (inlet, outlet) = buffer(8 * MIB, &budget);
        let room = inlet.room(|usual| appetite.wish(usual));
        let room = timeout(Duration::from_secs(1), room).await.expect("nobody waits");
        under_way.push((inlet, outlet, room));
    }
}
