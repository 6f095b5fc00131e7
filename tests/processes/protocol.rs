//! What a worker process tells, one JSON object per line.
//!
//! All workers write to one pipe, each line with a single call: the system keeps lines whole and in the order in which they
//! were written, whoever wrote them, and those of a killed process are not lost.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) worker: String,
    pub(crate) process: u32,
    #[serde(flatten)]
    pub(crate) told: Told,
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Told {
    /// The worker has joined its fleet.
    Up,
    /// The worker has left in good order.
    Left,
    /// Something about a shard that it owns.
    Of {
        shard: String,
        token: u64,
        #[serde(flatten)]
        step: Step,
    },
}

/// What a processor does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    Began {
        start: String,
    },
    /// It was given a batch, and will look whether its lease is valid.
    Entering,
    Entered {
        is_valid: bool,
        records: usize,
    },
    Record {
        key: String,
        counter: u64,
        sequence: String,
    },
    /// It is going to checkpoint.
    Saving,
    Saved {
        sequence: String,
    },
    /// The checkpoint was refused, because the lease is lost.
    Refused,
    /// The checkpoint failed otherwise; a later one will do.
    Unsaved,
    /// The database refused what it wrote, because it knows a later owner.
    Barred,
    /// Writing failed otherwise, and will be repeated.
    Unwritten,
    Lost,
    Ended,
}

/// The greatest size that a pipe takes as a whole whatever else is in it (PIPE_BUF of Linux; POSIX guarantees 512).
const WHOLE: usize = 4096;

impl Line {
    /// Writes it to standard output.
    pub(crate) fn tell(&self) {
        let mut line = serde_json::to_vec(self).expect("plain data");
        line.push(b'\n');
        assert!(line.len() <= WHOLE, "too long to stay whole");
        // Without its reader the process has no purpose.
        if std::io::stdout().write_all(&line).is_err() {
            std::process::exit(1);
        }
    }
}
