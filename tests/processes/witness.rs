//! Hears what the workers tell, and keeps the books.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use kcl_tests::{Delivery, Fencing, Ledger};
use tokio::time::Instant;

use crate::protocol::{Line, Step, Told};
use crate::takeovers::TakeOvers;
use crate::worker::MOST_RECORDS;

/// What was heard so far. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    ledger: Ledger,
    books: Arc<Mutex<Books>>,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) fencing: Fencing,
    pub(crate) take_overs: TakeOvers,
    /// Processes that have joined their fleet.
    pub(crate) up: BTreeSet<u32>,
    /// Processes that left it in good order.
    pub(crate) left: BTreeSet<u32>,
    /// Records of the batch at hand, and how many of them were told, by worker and shard.
    batches: BTreeMap<(String, String), (usize, usize)>,
    /// Processors made.
    pub(crate) ownerships: usize,
    pub(crate) saved: usize,
    pub(crate) refused: usize,
    pub(crate) unsaved: usize,
    pub(crate) lost: usize,
    /// Writes that the database refused because it knew a later owner.
    pub(crate) barred: usize,
    /// Writes that failed otherwise.
    pub(crate) unwritten: usize,
}

impl Books {
    /// Whether a worker is in the middle of a batch that is as large as can be: there are more to come.
    pub(crate) fn is_busy(&self, worker: &str) -> bool {
        self.batches
            .iter()
            .any(|((name, _), (records, told))| name == worker && *records == MOST_RECORDS && told < records)
    }

    /// A worker's process was ended: what it began stays unfinished.
    pub(crate) fn gone(&mut self, worker: &str) {
        self.batches.retain(|(name, _), _| name != worker);
    }
}

impl Witness {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self {
            ledger: ledger.clone(),
            books: Arc::default(),
        }
    }

    /// Listens until all workers are gone.
    pub(crate) fn listen(&self, pipe: PipeReader) -> JoinHandle<()> {
        let witness = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let line = line.expect("text");
                let heard = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                witness.hear(heard);
            }
        })
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, line: Line) {
        match line.told {
            Told::Up => drop(self.books().up.insert(line.process)),
            Told::Left => drop(self.books().left.insert(line.process)),
            Told::Of { shard, token, step } => self.hear_of(line.worker, shard, token, step),
        }
    }

    fn hear_of(&self, worker: String, shard: String, token: u64, step: Step) {
        let (mut books, at) = (self.books(), Instant::now());
        let books = &mut *books;
        match step {
            Step::Began { start } => {
                books.ownerships += 1;
                books.fencing.began(&worker, &shard, token, &start);
                books.take_overs.began(&worker, &shard, token);
            }
            Step::Entering => books.fencing.entering(&shard, token),
            Step::Entered { is_valid, records } => {
                books.fencing.entered(&shard, token, is_valid);
                let batch = (worker.clone(), shard.clone());
                books.batches.insert(batch, (records, 0));
                if is_valid {
                    books.take_overs.entered(&worker, &shard, token, at);
                }
            }
            Step::Record {
                key,
                counter,
                sequence,
            } => {
                books.fencing.record(&shard, token, &sequence);
                if let Some((_, told)) = books.batches.get_mut(&(worker.clone(), shard.clone())) {
                    *told += 1;
                }
                self.ledger.deliver(Delivery {
                    key,
                    counter,
                    worker,
                    shard,
                    token,
                    sequence,
                    at,
                });
            }
            Step::Saving => books.fencing.saving(&shard, token),
            Step::Saved { sequence } => {
                books.saved += 1;
                books.fencing.saved(&shard, token, &sequence);
            }
            Step::Refused => books.refused += 1,
            Step::Unsaved => books.unsaved += 1,
            Step::Barred => books.barred += 1,
            Step::Unwritten => books.unwritten += 1,
            Step::Lost => books.lost += 1,
            Step::Ended => books.take_overs.ended(&shard),
        }
    }
}
