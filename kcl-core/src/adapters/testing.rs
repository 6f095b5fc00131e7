//! Batches by keys, and what checkpoints come to, in virtual time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::record::RecordBatch;
use crate::record::builder::BatchBuilder;
use crate::testing::TestShard;

pub(super) const SOON: Duration = Duration::from_millis(50);
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// Records, each `key` or `key/what`, whose numbers begin with `first`.
pub(super) fn batch<const N: usize>(first: u64, records: [&str; N]) -> RecordBatch {
    let numbered = (first..).zip(records);
    BatchBuilder::new(numbered.map(|(number, text)| {
        let key = text.split('/').next().unwrap_or_default();
        crate::testing::record(text.to_owned())
            .sequence_number(number)
            .partition_key(key)
            .build()
    }))
    .build()
}

pub(super) async fn until_checkpointed(shard: &TestShard, at: &str) {
    let begun = Instant::now();
    while shard.checkpoints().last().map(String::as_str) != Some(at) {
        assert!(begun.elapsed() < LONG, "{:?}, not {at}", shard.checkpoints());
        sleep(Duration::from_millis(1)).await;
    }
}
