//! The spans of a batch, from its read to its checkpoint, for whoever follows it. Nothing is made of them, and nothing is computed for
//! them, where nobody listens.
//!
//! | span | from | to | parent |
//! |---|---|---|---|
//! | `read` | records were read | all of them are processed | – |
//! | `batch` | the consumer takes a batch | it is processed, however often that is tried | the `read` of its first record |
//! | `process_records`, `dead_letters` | a call begins | it ends | `batch` |
//! | `checkpoint` | a position is to be written | it is, or is given up | the span in which that is asked for: `process_records`, inside of a call |
//!
//! There is none for a single record.

use std::time::Duration;

use kcl_lease::{Checkpoint, LeaseKey};
use tracing::{Span, debug_span, field};

use crate::config::{ShardId, Stream};
use crate::record::RecordBatch;

/// Whoever wants them enables this target at the level DEBUG.
const TARGET: &str = "kcl_core::spans";

/// Records were read, after so long.
pub(crate) fn read(stream: &Stream, shard: &ShardId, page: &RecordBatch, took: Duration) -> Span {
    if page.is_empty() {
        return Span::none();
    }
    debug_span!(
        target: TARGET, parent: None, "read",
        %stream, %shard, records = page.len(), read_ms = millis(took), behind_ms = page.millis_behind_latest()
    )
}

/// A batch arrived at its consumer.
pub(crate) fn batch(read: &Span, stream: &Stream, shard: &ShardId, batch: &RecordBatch) -> Span {
    let records = batch.records();
    debug_span!(
        target: TARGET, parent: read, "batch",
        otel.kind = "consumer", %stream, %shard, records = records.len(),
        first = records.first().map(|record| field::display(record.sequence_number())),
        last = records.last().map(|record| field::display(record.sequence_number())),
        behind_ms = batch.millis_behind_latest()
    )
}

/// A call for a batch, or a piece of one.
pub(crate) fn process_records(batch: &Span, records: usize, attempt: u32) -> Span {
    debug_span!(
        target: TARGET, parent: batch, "process_records",
        records, attempt, otel.status_code = field::Empty, error = field::Empty
    )
}

/// Records are given up.
pub(crate) fn dead_letters(batch: &Span, records: usize) -> Span {
    debug_span!(
        target: TARGET, parent: batch, "dead_letters",
        records, otel.status_code = field::Empty, error = field::Empty
    )
}

/// A checkpoint is to be written.
pub(crate) fn checkpoint(shard: &LeaseKey, position: &Checkpoint) -> Span {
    debug_span!(
        target: TARGET, "checkpoint",
        %shard, position = %position, otel.status_code = field::Empty, error = field::Empty
    )
}

/// What a span is about failed.
pub(crate) fn failed(span: &Span, error: impl FnOnce() -> String) {
    if !span.is_disabled() {
        span.record("otel.status_code", "ERROR");
        span.record("error", error());
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
