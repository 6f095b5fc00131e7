//! How the lease of a shard is called: in an application that reads one stream, as the shard. The parents and children that a
//! lease names are shards.

use kcl_lease::LeaseKey;

use crate::config::ShardId;

impl ShardId {
    /// The lease of this shard.
    pub(crate) fn lease_key(&self) -> LeaseKey {
        LeaseKey::from(self.as_str())
    }

    /// The shard that a lease is of.
    pub(crate) fn of_lease(key: &LeaseKey) -> Self {
        Self::new(key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_tells_its_shard() {
        let shard = ShardId::from("shardId-000000000003");
        assert_eq!(shard.lease_key().as_str(), "shardId-000000000003");
        assert_eq!(ShardId::of_lease(&shard.lease_key()), shard);
    }
}
