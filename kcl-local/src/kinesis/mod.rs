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
mod scopes;
mod subscription;
mod view;

use std::sync::Arc;

pub use call::{ApiError, Codec};
pub use operations::operation_names;
pub use options::KinesisOptions;
pub use quotas::{Quotas, ShardRates};
pub use subscription::Subscription;

use crate::clock::Clock;
use engine::{Engine, EpochMillis, ShardIterator};
use scopes::{Scope, Scopes, Signer};

/// The streams of accounts and regions, seen from one account in one region. Clones share them.
#[derive(Debug, Clone)]
pub struct Kinesis {
    shared: Arc<Shared>,
    scope: Arc<Scope>,
}

/// What all accounts and regions have in common.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    scopes: Scopes,
}

impl Kinesis {
    /// Accounts without streams, seen from the account and the region of the options.
    pub fn new(clock: Clock, options: KinesisOptions) -> Self {
        let scope = Arc::new(Scope::new(options));
        let scopes = Scopes::new(scope.clone());
        Self {
            shared: Arc::new(Shared { clock, scopes }),
            scope,
        }
    }

    /// The same, seen from where a request is signed: from the region that its `Authorization` header names, and from the
    /// account that its access key id is, if that has twelve digits. Whatever it does not name stays as it is here.
    ///
    /// # Errors
    /// `LimitExceededException` if there are too many accounts and regions with streams.
    pub fn signed_for(&self, authorization: &str) -> Result<Self, ApiError> {
        let signer = Signer::of(authorization);
        let scope = self.shared.scopes.get(signer).ok_or_else(|| {
            ApiError::client(
                "LimitExceededException",
                "This backend has streams in too many accounts and regions.",
            )
        })?;
        Ok(Self {
            shared: self.shared.clone(),
            scope,
        })
    }

    /// The source of time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The options given at construction, with the account and the region that this sees.
    pub fn options(&self) -> &KinesisOptions {
        &self.scope.options
    }

    /// Drops every record of a shard, as if the retention period had passed since they were put. False if there is no
    /// such shard.
    pub fn trim(&self, stream: &str, shard_id: &str) -> bool {
        let Ok(id) = shard_id.parse() else { return false };
        self.with_engine(|engine, now| engine.stream(stream, now).is_ok_and(|stream| stream.trim_all(id)))
    }

    /// Deletes every stream of all accounts and regions at once, with all that it holds. Subscriptions end, and iterators lead nowhere.
    pub fn clear(&self) {
        for scope in self.shared.scopes.all() {
            scope.engine().clear();
        }
    }

    /// Runs `work` on the engine, alone, at the clock's current time.
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine, EpochMillis) -> R) -> R {
        let mut engine = self.scope.engine();
        let now = engine.advance(EpochMillis::new(self.shared.clock.now_millis()));
        work(&mut engine, now)
    }
}

/// The name of the stream that a shard iterator was issued for.
pub(crate) fn stream_of_iterator(iterator: &str) -> Option<String> {
    ShardIterator::stream_of(iterator)
}
