//! How the leases of a stream are called: as its shards, in an application that reads one stream; with the stream's id in front
//! where several share the table, as in the Java KCL.
//!
//! What reasons about one stream knows its leases by the shards alone. Only who reads and writes the table knows the rest.

use kcl_lease::{Lease, LeaseKey, StreamShard};

use crate::config::{ShardId, StreamId};

impl ShardId {
    /// The lease of this shard, among those of its stream.
    pub(crate) fn lease_key(&self) -> LeaseKey {
        LeaseKey::from(self.as_str())
    }

    /// The shard that a lease is of, among those of its stream.
    pub(crate) fn of_lease(key: &LeaseKey) -> Self {
        Self::new(key.as_str())
    }
}

/// How the leases of one stream are called in the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeaseKeys {
    /// Absent where the table is of one stream.
    stream: Option<StreamId>,
}

impl LeaseKeys {
    /// The leases of the table's only stream.
    pub(crate) const ALONE: Self = Self { stream: None };

    /// The leases of one of several streams.
    pub(crate) fn among_others(stream: StreamId) -> Self {
        Self { stream: Some(stream) }
    }

    /// The lease of a shard.
    pub(crate) fn key(&self, shard: &ShardId) -> LeaseKey {
        match &self.stream {
            None => shard.lease_key(),
            Some(stream) => LeaseKey::from(format!("{stream}:{shard}").as_str()),
        }
    }

    /// The shard that a lease is of, if it is one of this stream.
    pub(crate) fn shard(&self, key: &LeaseKey) -> Option<ShardId> {
        match &self.stream {
            None => Some(ShardId::of_lease(key)),
            Some(stream) => {
                let (of, shard) = StreamId::of_lease(key)?;
                (of == *stream).then_some(shard)
            }
        }
    }

    /// The leases of this stream, called as its shards.
    pub(crate) fn by_shard<'a>(&self, leases: impl IntoIterator<Item = &'a Lease>) -> Vec<Lease> {
        let ours = leases.into_iter().filter_map(|lease| {
            let key = self.shard(&lease.key)?.lease_key();
            let mut lease = lease.clone();
            lease.key = key;
            Some(lease)
        });
        ours.collect()
    }

    /// A lease that is called as its shard, as it stands in the table.
    pub(crate) fn in_table(&self, mut lease: Lease) -> Lease {
        if let Some(stream) = &self.stream {
            let shard = ShardId::of_lease(&lease.key);
            lease.key = self.key(&shard);
            lease.stream_shard = Some(StreamShard::new(stream.to_string(), shard.as_str()));
        }
        lease
    }
}

impl StreamId {
    /// The stream and the shard that a lease is of, if the table is of several streams.
    pub(crate) fn of_lease(key: &LeaseKey) -> Option<(Self, ShardId)> {
        let (stream, shard) = key.as_str().rsplit_once(':')?;
        Some((stream.parse().ok()?, ShardId::new(shard)))
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::Checkpoint;

    use super::*;

    fn among_others() -> LeaseKeys {
        LeaseKeys::among_others("123456789012:clicks:1700000000".parse().expect("an id"))
    }

    #[test]
    fn a_lease_tells_its_shard() {
        let shard = ShardId::from("shardId-000000000003");
        for (keys, called) in [
            (LeaseKeys::ALONE, "shardId-000000000003"),
            (
                among_others(),
                "123456789012:clicks:1700000000:shardId-000000000003",
            ),
        ] {
            assert_eq!(keys.key(&shard).as_str(), called);
            assert_eq!(keys.shard(&keys.key(&shard)), Some(shard.clone()));
        }
    }

    #[test]
    fn a_stream_has_no_leases_of_another_one_or_of_a_table_of_one() {
        let keys = among_others();
        for other in [
            "shardId-000000000003",
            "123456789012:clicks:1700000001:shardId-000000000003",
            "123456789012:orders:1700000000:shardId-000000000003",
            "210987654321:clicks:1700000000:shardId-000000000003",
            "clicks:1700000000:shardId-000000000003",
            "",
            ":",
        ] {
            assert_eq!(keys.shard(&LeaseKey::from(other)), None, "{other}");
        }
    }

    #[test]
    fn leases_are_translated_both_ways() {
        let keys = among_others();
        let plain =
            Lease::new("shardId-000000000003", Checkpoint::Latest).with_parents(["shardId-000000000001"]);
        let stored = keys.in_table(plain.clone());
        assert_eq!(
            stored.key.as_str(),
            "123456789012:clicks:1700000000:shardId-000000000003"
        );
        assert_eq!(stored.parents, plain.parents, "which are shards");
        let shard = StreamShard::new("123456789012:clicks:1700000000", "shardId-000000000003");
        assert_eq!(stored.stream_shard, Some(shard));
        let other = Lease::new(
            "123456789012:orders:1700000000:shardId-000000000003",
            Checkpoint::Latest,
        );
        let read = keys.by_shard([&stored, &other]);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].key, plain.key);
        assert_eq!(LeaseKeys::ALONE.in_table(plain.clone()), plain);
        assert_eq!(LeaseKeys::ALONE.by_shard([&plain]), [plain]);
    }
}
