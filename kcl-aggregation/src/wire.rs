//! The format: what stands where.

use bytes::Bytes;
use md5::{Digest, Md5};

/// Every aggregate begins with these bytes.
pub(crate) const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// The MD5 digest of the message stands behind it.
pub(crate) const DIGEST: usize = 16;

pub(crate) fn digest(message: &[u8]) -> [u8; DIGEST] {
    Md5::digest(message).into()
}

/// The numbers of the message's fields.
pub(crate) mod field {
    pub(crate) const PARTITION_KEYS: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEYS: u32 = 2;
    pub(crate) const RECORDS: u32 = 3;

    pub(crate) const PARTITION_KEY_INDEX: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY_INDEX: u32 = 2;
    pub(crate) const DATA: u32 = 3;
}

/// The message as it is written. (It is read field by field, so that what is allocated is bounded by what is there.)
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(string, repeated, tag = "1")]
    pub(crate) partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) explicit_hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) records: Vec<RecordMessage>,
}

/// One user record in it. (Tags, the fourth field, are written by nobody.)
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RecordMessage {
    #[prost(uint64, required, tag = "1")]
    pub(crate) partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", required, tag = "3")]
    pub(crate) data: Bytes,
}
