//! The processor: position and effects in one transaction.

use std::time::Duration;

use kcl_core::{
    Begin, Checkpoint, Checkpointer, ExtendedSequenceNumber, ProcessorError, RecordBatch, RecordProcessor,
    ShardContext, async_trait,
};
use tokio::time::Instant;

use super::database::{Batch, Database, Entry, Owner};
use super::rules::Refused;

/// Time between two checkpoints. What is in the lease does not matter for the sums: it shows how far the shard is to who looks
/// at the leases, and is where another application would go on.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// What is done when records were trimmed before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gaps {
    /// The shard stands still, and its status says why.
    #[default]
    Refuse,
    /// It goes on, and what is missing is noted in the table `gaps`, in the same transaction.
    Accept,
}

/// Adds the amounts of one shard's records to their accounts, each exactly once.
pub struct ExactlyOnce {
    database: Box<dyn Database>,
    owner: Owner,
    gaps: Gaps,
    /// The position that was last seen in the database.
    known: Option<ExtendedSequenceNumber>,
    checkpointed: Instant,
}

impl ExactlyOnce {
    /// For a shard of a stream that [`streams::identity`](crate::streams::identity) names.
    pub fn new(database: Box<dyn Database>, stream: &str, shard: &ShardContext) -> Self {
        Self {
            database,
            owner: Owner::new(stream, shard),
            gaps: Gaps::Refuse,
            known: None,
            checkpointed: Instant::now(),
        }
    }

    /// The same, with another choice for gaps.
    #[must_use]
    pub fn gaps(mut self, gaps: Gaps) -> Self {
        self.gaps = gaps;
        self
    }

    /// What is to be noted of a gap, if gaps are accepted.
    fn accept(&self, gap: String) -> Result<String, Refused> {
        match self.gaps {
            Gaps::Refuse => Err(Refused::Gap(gap)),
            Gaps::Accept => Ok(gap),
        }
    }

    async fn apply(&mut self, batch: Batch) -> Result<(), ProcessorError> {
        let applied = self
            .database
            .apply(&self.owner, self.known.as_ref(), batch)
            .await?;
        self.known = applied.position;
        Ok(())
    }
}

#[async_trait]
impl RecordProcessor for ExactlyOnce {
    async fn initialize(&mut self, shard: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        // The token first: what an earlier owner has not committed by now, it never will.
        let claimed = self.database.claim(&self.owner, &shard.parents).await?;
        self.known = claimed.position;
        if let Some(parent) = claimed.open_parent.filter(|_| self.known.is_none()) {
            if self.gaps == Gaps::Refuse {
                let shard = shard.shard_id.clone();
                return Err(Refused::OpenParent { shard, parent }.into());
            }
            let gap = Some(format!("the last records of {parent} may be missing"));
            self.apply(Batch {
                gap,
                ..Batch::default()
            })
            .await?;
        }
        match (&self.known, &shard.start) {
            (Some(position), _) => Ok(Begin::Behind(position.clone())),
            // Checkpoints follow commits. Beginning there would leave out all that it stands for.
            (None, Checkpoint::At(_)) => Err(Refused::Unknown {
                shard: shard.shard_id.clone(),
                checkpoint: shard.start.clone(),
            }
            .into()),
            (None, _) => Ok(Begin::AtCheckpoint),
        }
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let gap = batch.gap().map(|gap| match &gap.after {
            Some(after) => format!("records behind {after} may have been trimmed"),
            None => "records may have been trimmed".to_owned(),
        });
        let gap = gap.map(|gap| self.accept(gap)).transpose()?;
        let entries: Vec<_> = batch.iter().map(Entry::try_from).collect::<Result<_, _>>()?;
        if entries.is_empty() && gap.is_none() {
            return Ok(());
        }
        self.apply(Batch { entries, gap }).await?;
        if self.checkpointed.elapsed() >= CHECKPOINT_INTERVAL {
            // If it fails, the batch comes again, and the database skips it.
            checkpointer.checkpoint().await?;
            self.checkpointed = Instant::now();
        }
        Ok(())
    }

    /// Written down before the lease says so, and with it the children may begin: see [`Refused::OpenParent`].
    async fn shard_ended(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.database.end(&self.owner, self.known.as_ref()).await?;
        Ok(())
    }
}

impl std::fmt::Debug for ExactlyOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExactlyOnce")
            .field("owner", &self.owner)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
