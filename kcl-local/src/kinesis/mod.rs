//! Kinesis Data Streams in memory.
//!
//! [`Kinesis::call`] takes an operation's name and body and answers as the service would, and [`Kinesis::subscribe`]
//! begins what has more than one answer. Underneath, `engine`
//! holds streams, shards and records and knows nothing of wire formats; `api` holds the service's requests,
//! responses and validation rules, one file per group of operations.

mod api;
mod call;
mod engine;
mod operations;
mod options;
mod quotas;
mod subscription;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use call::{ApiError, Codec};
pub use options::KinesisOptions;
pub use quotas::{Quotas, ShardRates};
pub use subscription::Subscription;

use crate::clock::Clock;
use engine::{Engine, EpochMillis};

/// An account's streams in one region. Clones share them.
#[derive(Debug, Clone)]
pub struct Kinesis {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    options: KinesisOptions,
    engine: Mutex<Engine>,
}

impl Kinesis {
    /// An account without streams.
    pub fn new(clock: Clock, options: KinesisOptions) -> Self {
        let engine = Mutex::new(Engine::new(options.clone()));
        Self {
            shared: Arc::new(Shared {
                clock,
                options,
                engine,
            }),
        }
    }

    /// The source of time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The options given at construction.
    pub fn options(&self) -> &KinesisOptions {
        &self.shared.options
    }

    /// Drops every record of a shard, as if the retention period had passed since they were put. False if there is no
    /// such shard.
    pub fn trim(&self, stream: &str, shard_id: &str) -> bool {
        let Ok(id) = shard_id.parse() else { return false };
        self.with_engine(|engine, now| engine.stream(stream, now).is_ok_and(|stream| stream.trim_all(id)))
    }

    /// Runs `work` on the engine, alone, at the clock's current time.
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine, EpochMillis) -> R) -> R {
        // A panic while the lock was held leaves at worst one record or shard half added, which no reader sees
        // as a broken structure, so a poisoned lock is still good.
        let mut engine: MutexGuard<'_, Engine> =
            self.shared.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let now = engine.advance(EpochMillis::new(self.shared.clock.now_millis()));
        work(&mut engine, now)
    }
}
