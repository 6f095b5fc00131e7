//! One stream that a worker reads, and what its shards share.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{Environment, Health, Membership, StreamIdentity};
use tokio::sync::Notify;

use crate::config::{OtherStream, RetrievalOptions, WorkerConfig};
use crate::leading::Leading;
use crate::memory::Budget;
use crate::retrieval::{BatchLimits, ReaderParts};
use crate::source::Source;
use crate::stream::{
    ConsumerArn, Doubt, LeaseCreation, LeaseKeys, LeaseScans, Recognition, ShardProblems, StreamClient,
};

/// Who asks for a stream, and what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct ReadStream {
    /// How its leases are called.
    pub(crate) keys: LeaseKeys,
    pub(crate) client: StreamClient,
    pub(crate) recognition: Recognition,
    /// Where to ask whether it is still the same.
    pub(crate) doubt: Doubt,
    pub(crate) health: Health,
    /// What its shards' readers fail at for reasons that no retry mends.
    pub(crate) shard_problems: ShardProblems,
    pub(crate) retrieval: RetrievalOptions,
}

impl ReadStream {
    pub(crate) fn new(
        keys: LeaseKeys,
        client: StreamClient,
        policy: OtherStream,
        health: Health,
        retrieval: RetrievalOptions,
    ) -> Self {
        Self {
            recognition: Recognition::new(client.clone(), policy),
            keys,
            client,
            doubt: Doubt::new(),
            shard_problems: ShardProblems::new(health.clone()),
            health,
            retrieval,
        }
    }
}

/// What all streams of a member of a fleet share.
#[derive(Debug, Clone)]
pub(crate) struct MemberParts {
    pub(crate) fleet: Membership,
    pub(crate) env: Environment,
    pub(crate) config: WorkerConfig,
    pub(crate) application: String,
    pub(crate) budget: Budget,
    /// Where several streams look at the table for the same reason.
    pub(crate) scans: LeaseScans,
}

/// What the shards of one stream share.
#[derive(Debug, Clone)]
pub(crate) struct StreamParts {
    /// For the shards that follow the one that is processed.
    pub(crate) creation: LeaseCreation,
    pub(crate) readers: ReaderParts,
    /// Told when a shard ended, and so when a child may begin.
    pub(crate) shard_ended: Arc<Notify>,
    health: Health,
    audit_interval: Duration,
    cleanup_interval: Duration,
}

impl StreamParts {
    /// Those of a stream that this worker began with as `identity`.
    pub(crate) fn new(read: &ReadStream, identity: StreamIdentity, member: &MemberParts) -> Self {
        let (client, options) = (read.client.clone(), read.retrieval.clone());
        let consumer = options.fan_out.as_ref().map(|fan_out| {
            ConsumerArn::new(
                client.clone(),
                member.env.clone(),
                &fan_out.consumer,
                &member.application,
            )
        });
        let limits = BatchLimits::new(&options, &member.config.processing);
        Self {
            creation: LeaseCreation {
                keys: read.keys.clone(),
                stream: client.clone(),
                identity,
                store: member.fleet.store().clone(),
                scans: member.scans.clone(),
                env: member.env.clone(),
                initial: options.initial_position,
                doubt: read.doubt.clone(),
            },
            readers: ReaderParts {
                source: Source {
                    stream: client,
                    env: member.env.clone(),
                    options,
                    consumer,
                    problems: ShardProblems::new(read.health.clone()),
                },
                limits,
                budget: member.budget.clone(),
                problems: read.shard_problems.clone(),
                doubt: read.doubt.clone(),
            },
            shard_ended: Arc::default(),
            health: read.health.clone(),
            audit_interval: member.config.leases.audit_interval,
            cleanup_interval: member.config.leases.cleanup_interval,
        }
    }

    /// What a worker does for the stream while it leads.
    pub(crate) fn leading(&self, fleet: Membership) -> Leading {
        Leading {
            fleet,
            creation: self.creation.clone(),
            audit_interval: self.audit_interval,
            cleanup_interval: self.cleanup_interval,
            health: self.health.clone(),
            shard_ended: self.shard_ended.clone(),
        }
    }
}
