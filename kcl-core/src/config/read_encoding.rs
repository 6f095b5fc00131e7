//! How records are encoded on their way.

use serde::{Deserialize, Serialize};

/// The encoding in which records are read.
///
/// ```
/// use kcl_core::ReadEncoding;
///
/// assert_eq!(ReadEncoding::default(), ReadEncoding::Cbor);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ReadEncoding {
    /// CBOR (`application/x-amz-cbor-1.1`): payloads as bytes, records as slices of an answer. Where a server does not speak it,
    /// JSON is used.
    #[default]
    Cbor,
    /// JSON (`application/x-amz-json-1.1`): payloads in base64. Each record has memory of its own.
    Json,
}
