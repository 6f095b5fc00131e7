//! The processor.

use std::collections::HashMap;
use std::sync::Arc;

use kcl_core::{
    Checkpointer, ExtendedSequenceNumber, ProcessorError, RecordBatch, RecordProcessor, ShardContext,
    async_trait,
};
use tokio::task::JoinSet;

use super::counting::{self, Key};
use super::results::{Results, ResultsError, Row};

/// Writes that are under way at a time.
const AT_ONCE: usize = 16;
/// Rows whose position is remembered. Of others it is found out by a write that is refused.
const REMEMBERED: usize = 10_000;

/// Counts the clicks of one shard.
#[derive(Debug)]
pub struct PageViews {
    results: Results,
    shard: Arc<str>,
    /// Up to where everything is in a row.
    known: HashMap<Key, ExtendedSequenceNumber>,
}

impl PageViews {
    /// For a shard of a stream that [`streams::identity`](crate::streams::identity) names: positions of a stream mean nothing in
    /// another one of its name.
    pub fn new(results: Results, stream: &str, shard: &ShardContext) -> Self {
        Self {
            results,
            shard: format!("{} of {stream}", shard.shard_id).into(),
            known: HashMap::new(),
        }
    }

    /// Counts what is not counted yet. If it fails, the same batch comes again, and finds what was written.
    async fn count(&mut self, batch: &RecordBatch) -> Result<(), ProcessorError> {
        let mut writing = JoinSet::new();
        for (key, records) in counting::by_row(batch) {
            if writing.len() >= AT_ONCE {
                self.settle(writing.join_next().await)?;
            }
            let (results, known) = (self.results.clone(), self.known.remove(&key));
            let row = Row {
                page: key.0.clone(),
                minute: key.1,
                shard: self.shard.to_string(),
            };
            writing.spawn(async move {
                results
                    .count(&row, known, &records)
                    .await
                    .map(|known| (key, known))
            });
        }
        while !writing.is_empty() {
            self.settle(writing.join_next().await)?;
        }
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        Ok(())
    }

    fn settle(
        &mut self,
        written: Option<Result<Written, tokio::task::JoinError>>,
    ) -> Result<(), ProcessorError> {
        let Some(written) = written else {
            return Ok(());
        };
        let (key, known) = written??;
        if let Some(known) = known {
            self.known.insert(key, known);
        }
        Ok(())
    }
}

/// A row, and up to where everything is in it.
type Written = Result<(Key, Option<ExtendedSequenceNumber>), ResultsError>;

#[async_trait]
impl RecordProcessor for PageViews {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.count(batch).await?;
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
