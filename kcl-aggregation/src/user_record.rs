//! One user record.

use bytes::Bytes;
use bytestring::ByteString;
use md5::{Digest, Md5};

/// What an application put, on its own or together with others.
///
/// ```
/// use kcl_aggregation::UserRecord;
///
/// let record = UserRecord::new("customer-7", "payload").explicit_hash_key("12");
/// assert_eq!(record.hash_key(), Some(12));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRecord {
    /// 1 to 256 characters, where Kinesis has a say.
    pub partition_key: ByteString,
    /// A decimal number below 2^128 that chose the shard in place of the partition key.
    pub explicit_hash_key: Option<ByteString>,
    /// The payload. If the record comes from an aggregate, a slice of that.
    pub data: Bytes,
}

impl UserRecord {
    /// A record without an explicit hash key.
    pub fn new(partition_key: impl Into<ByteString>, data: impl Into<Bytes>) -> Self {
        Self {
            partition_key: partition_key.into(),
            explicit_hash_key: None,
            data: data.into(),
        }
    }

    /// The same with an explicit hash key.
    #[must_use]
    pub fn explicit_hash_key(mut self, key: impl Into<ByteString>) -> Self {
        self.explicit_hash_key = Some(key.into());
        self
    }

    /// The hash key, which chooses the shard: the explicit one, or the MD5 digest of the partition key as a number. `None` if
    /// the explicit one is no decimal number below 2^128.
    pub fn hash_key(&self) -> Option<u128> {
        match &self.explicit_hash_key {
            Some(key) => key.parse().ok().filter(|_| !key.starts_with('+')),
            None => Some(u128::from_be_bytes(
                Md5::digest(self.partition_key.as_bytes()).into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_key_is_the_explicit_one_or_the_digest_of_the_partition_key() {
        let record = UserRecord::new("a", "");
        let of_a = 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661;
        assert_eq!(record.hash_key(), Some(of_a));
        let greatest = u128::MAX.to_string();
        assert_eq!(
            record.clone().explicit_hash_key(greatest).hash_key(),
            Some(u128::MAX)
        );
        for strange in [
            "",
            "seven",
            "-1",
            "+1",
            "340282366920938463463374607431768211456",
            "1 ",
        ] {
            assert_eq!(
                record.clone().explicit_hash_key(strange).hash_key(),
                None,
                "{strange:?}"
            );
        }
    }
}
