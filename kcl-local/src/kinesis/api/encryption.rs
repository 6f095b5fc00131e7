//! StartStreamEncryption, StopStreamEncryption.
//!
//! Nothing is encrypted here. What is told of a stream and of its records is what the service would tell.

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Length, Members, Text};
use super::stream_name::StreamRef;
use crate::kinesis::{ApiError, Kinesis};

pub(super) const KMS: &str = "KMS";
const ENCRYPTION_TYPES: &[&str] = &["NONE", KMS];
const KEY_ID: Length = Length(1, 2_048);

/// What is told of records that count as encrypted, and of puts of such. Of others nothing is told.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) enum EncryptionType {
    #[serde(rename = "KMS")]
    Kms,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EncryptionRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    encryption_type: Option<String>,
    key_id: Option<String>,
}

impl EncryptionRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }

    fn require_kms(&self) -> Result<(), ApiError> {
        if self.encryption_type.as_deref() == Some(KMS) {
            return Ok(());
        }
        Err(ApiError::invalid_argument(
            "The only EncryptionType that can be started and stopped is KMS.",
        ))
    }
}

impl Members for EncryptionRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("encryptionType", self.encryption_type.as_ref());
        checks.choice(
            "encryptionType",
            self.encryption_type.as_deref(),
            ENCRYPTION_TYPES,
        );
        checks.required("keyId", self.key_id.as_ref());
        let length = Text {
            pattern: None,
            length: Some((KEY_ID.0, KEY_ID.1)),
        };
        checks.text("keyId", self.key_id.as_deref(), &length);
        self.stream().check(checks);
    }
}

impl Kinesis {
    /// Records that are written when the stream is `ACTIVE` again count as encrypted with a key.
    pub(crate) fn start_stream_encryption(&self, request: EncryptionRequest) -> Result<(), ApiError> {
        request.require_kms()?;
        let key_id = check::present(request.key_id.as_deref(), "keyId")?;
        if !is_key_id(key_id) {
            return Err(ApiError::client(
                "KMSNotFoundException",
                format!(
                    "Invalid keyId {key_id}. It is a key's id, an alias such as alias/aws/kinesis, or the ARN of one of these."
                ),
            ));
        }
        let name = self.stream_name(request.stream())?;
        self.with_engine(|engine, now| engine.encrypt(name, Some(key_id.into()), now))?;
        Ok(())
    }

    /// Records that are written when the stream is `ACTIVE` again do not count as encrypted.
    pub(crate) fn stop_stream_encryption(&self, request: EncryptionRequest) -> Result<(), ApiError> {
        request.require_kms()?;
        let name = self.stream_name(request.stream())?;
        self.with_engine(|engine, now| engine.encrypt(name, None, now))?;
        Ok(())
    }
}

/// Whether a text has the form of a key's name. Which keys there are is not known here.
fn is_key_id(text: &str) -> bool {
    let is_alias = |text: &str| text.strip_prefix("alias/").is_some_and(|name| !name.is_empty());
    let is_id = |text: &str| {
        let id = text.strip_prefix("mrk-").unwrap_or(text);
        (32..=36).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    };
    let mut parts = text.splitn(6, ':');
    let (scheme, service, resource) = (parts.next(), parts.nth(1), parts.nth(2));
    match (scheme, service, resource) {
        (Some("arn"), Some("kms"), Some(resource)) => {
            is_alias(resource) || resource.strip_prefix("key/").is_some_and(is_id)
        }
        _ => is_alias(text) || is_id(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_id_by_alias_and_by_arn() {
        let id = "12345678-1234-1234-1234-123456789012";
        for text in [
            id,
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "alias/aws/kinesis",
            &format!("arn:aws:kms:us-east-1:123456789012:key/{id}"),
            "arn:aws:kms:us-east-1:123456789012:alias/orders",
        ] {
            assert!(is_key_id(text), "{text}");
        }
        for text in [
            "k",
            "alias/",
            "arn:aws:kms:us-east-1:123456789012:key/k",
            "arn:aws:s3:::bucket",
        ] {
            assert!(!is_key_id(text), "{text}");
        }
    }
}
