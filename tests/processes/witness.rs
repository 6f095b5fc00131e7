//! Hears what the workers tell, and keeps the books.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_tests::{Delivery, Fencing, Ledger};
use tokio::time::Instant;

use crate::protocol::{Line, Step, Told};
use crate::takeovers::TakeOvers;

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
    /// Processors made.
    pub(crate) ownerships: usize,
    pub(crate) saved: usize,
    pub(crate) refused: usize,
    pub(crate) unsaved: usize,
    pub(crate) lost: usize,
}

impl Witness {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        Self {
            ledger: ledger.clone(),
            books: Arc::default(),
        }
    }

    /// Listens until all workers are gone.
    pub(crate) fn listen(&self, pipe: PipeReader) {
        let witness = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let line = line.expect("text");
                let heard = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                witness.hear(heard);
            }
        });
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
            Step::Entered { is_valid } => {
                books.fencing.entered(&shard, token, is_valid);
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
            Step::Lost => books.lost += 1,
            Step::Ended => books.take_overs.ended(&shard),
        }
    }
}
