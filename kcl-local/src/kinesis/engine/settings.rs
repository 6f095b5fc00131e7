//! What can be set at a stream and at the account, beside the number of shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::{Change, Update};
use super::commitment::CommitmentStatus;
use super::consumer::{Consumer, MOST_CONSUMERS, MOST_CONSUMERS_COMMITTED};
use super::error::EngineError;
use super::stream::{CapacityMode, Distribution};
use super::time::EpochMillis;
use super::{Engine, Stream};

/// How many shards an on-demand stream begins with, and keeps at least.
/// <https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html>
pub(crate) const ON_DEMAND_SHARDS: u32 = 4;
/// The greatest warm throughput of a stream: 10 GiB per second.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamWarmThroughput.html>
const MOST_WARM_MIBPS: u32 = 10 * 1024;

impl Engine {
    /// Checks that there may be one more on-demand stream.
    pub(super) fn admit_on_demand(&mut self, now: EpochMillis) -> Result<(), EngineError> {
        let limit = self.options.on_demand_stream_limit;
        if self.on_demand_stream_count(now) < limit {
            return Ok(());
        }
        Err(EngineError::LimitExceeded(format!(
            "Account {} in {} has {limit} on-demand streams, and may have no more.",
            self.account, self.options.region
        )))
    }

    /// How many on-demand streams there are.
    pub(crate) fn on_demand_stream_count(&mut self, now: EpochMillis) -> u32 {
        let streams = self.streams(now).values();
        let count = streams.filter(|stream| stream.spec.mode == CapacityMode::OnDemand);
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    /// Registers a consumer of a stream.
    pub(crate) fn register(
        &mut self,
        name: &str,
        consumer: &str,
        tags: BTreeMap<String, String>,
        now: EpochMillis,
    ) -> Result<Consumer, EngineError> {
        let delay = self.options.consumer_delay;
        let is_committed = self.commitment.status(now) != CommitmentStatus::Disabled;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        let most = match stream.spec.mode {
            CapacityMode::OnDemand if is_committed => MOST_CONSUMERS_COMMITTED,
            CapacityMode::OnDemand | CapacityMode::Provisioned => MOST_CONSUMERS,
        };
        let registered = stream
            .consumers
            .register(&stream.label, consumer, most, delay, now)?;
        if let Some(consumer) = stream.consumers.get_mut(consumer) {
            consumer.tags = tags;
        }
        Ok(registered)
    }

    /// Starts or stops encryption, which may be done only so often.
    pub(crate) fn encrypt(
        &mut self,
        name: &str,
        key_id: Option<Arc<str>>,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let (delay, limit) = (self.options.update_delay, self.options.quotas.encryption_changes);
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        let (times, what) = match key_id {
            Some(_) => (&mut stream.today.encryption_starts, "StartStreamEncryption"),
            None => (&mut stream.today.encryption_stops, "StopStreamEncryption"),
        };
        times.admit(limit, what, &stream.label, now)?;
        times.note(limit, now);
        stream.begin(Change::Update(Update::Encryption(key_id)), delay, now);
        Ok(())
    }

    /// Begins a change that leaves the shards as they are.
    pub(crate) fn update(&mut self, name: &str, update: Update, now: EpochMillis) -> Result<(), EngineError> {
        let delay = self.options.update_delay;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        stream.begin(Change::Update(update), delay, now);
        Ok(())
    }

    /// Sets which shard-level metrics are on. Returns those that were.
    pub(crate) fn monitor(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut BTreeSet<&'static str>),
        now: EpochMillis,
    ) -> Result<(BTreeSet<&'static str>, BTreeSet<&'static str>), EngineError> {
        self.update(name, Update::Done, now)?;
        let stream = self.stream(name, now)?;
        let before = stream.metrics.clone();
        change(&mut stream.metrics);
        Ok((before, stream.metrics.clone()))
    }

    /// Lets the stream's owner decide about its capacity, or the service, which may be told what to be prepared for.
    pub(crate) fn change_mode(
        &mut self,
        name: &str,
        mode: CapacityMode,
        warm_mibps: Option<u32>,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let delay = self.options.update_delay;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        let is_new = stream.spec.mode != mode;
        let limit = self.options.quotas.mode_changes.filter(|_| is_new);
        let stream = self.stream(name, now)?;
        let changes = &mut stream.today.mode_changes;
        changes.admit(limit, "UpdateStreamMode", &stream.label, now)?;
        if mode == CapacityMode::OnDemand && is_new {
            self.admit_on_demand(now)?;
        }
        let shards = match warm_mibps {
            Some(_) if mode == CapacityMode::Provisioned => {
                return Err(EngineError::WrongMode(
                    "WarmThroughputMiBps goes with the ON_DEMAND capacity mode alone.".to_owned(),
                ));
            }
            Some(mibps) => Some(self.plan_warm(name, mibps, now)?),
            None => None,
        };
        let stream = self.stream(name, now)?;
        stream.today.mode_changes.note(limit, now);
        stream.spec.warm_mibps = warm_mibps.or(stream.spec.warm_mibps);
        stream.begin(Change::Update(Update::Mode { mode, shards }), delay, now);
        Ok(())
    }

    /// Prepares an on-demand stream for a throughput.
    pub(crate) fn warm(&mut self, name: &str, mibps: u32, now: EpochMillis) -> Result<(), EngineError> {
        let stream = self.stream(name, now)?;
        stream.require_on_demand()?;
        stream.require_active()?;
        self.change_mode(name, CapacityMode::OnDemand, Some(mibps), now)
    }

    /// How many shards a stream needs to be warm.
    fn plan_warm(&mut self, name: &str, mibps: u32, now: EpochMillis) -> Result<u32, EngineError> {
        self.require_commitment(now)?;
        let shards = warm_shards(mibps)?;
        let open = self.stream(name, now)?.open_shard_count();
        self.admit_shards(shards.saturating_sub(open), now)?;
        Ok(shards)
    }

    /// Sets which shard records go to, at once.
    pub(crate) fn distribute(
        &mut self,
        name: &str,
        distribution: Distribution,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let stream = self.stream(name, now)?;
        stream.require_listable()?;
        if distribution == Distribution::Even && stream.spec.mode == CapacityMode::Provisioned {
            return Err(EngineError::InvalidArgument(format!(
                "RecordDistributionStrategy AUTO is only for on-demand streams, and stream {} is not one.",
                stream.label
            )));
        }
        stream.spec.distribution = distribution;
        Ok(())
    }
}

/// How many shards make up a warm throughput: one for each MiB per second.
pub(crate) fn warm_shards(mibps: u32) -> Result<u32, EngineError> {
    if mibps > MOST_WARM_MIBPS {
        return Err(EngineError::LimitExceeded(format!(
            "The warm throughput of a stream is at most {MOST_WARM_MIBPS} MiB per second. Requested: {mibps}"
        )));
    }
    Ok(mibps.max(ON_DEMAND_SHARDS))
}

impl Stream {
    fn require_on_demand(&self) -> Result<(), EngineError> {
        match self.spec.mode {
            CapacityMode::OnDemand => Ok(()),
            CapacityMode::Provisioned => Err(EngineError::WrongMode(format!(
                "Stream {} is in the PROVISIONED capacity mode; this is only for streams in the ON_DEMAND capacity mode.",
                self.label
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_stream_has_a_shard_for_each_mebibyte_per_second() {
        assert_eq!(warm_shards(0), Ok(4));
        assert_eq!(warm_shards(10_240), Ok(10_240));
        assert!(matches!(warm_shards(10_241), Err(EngineError::LimitExceeded(_))));
    }
}
