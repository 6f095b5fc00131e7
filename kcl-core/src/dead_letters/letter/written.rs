//! How payloads and times stand in JSON.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Bytes in base64.
pub(super) mod payload {
    use aws_smithy_types::base64;
    use bytes::Bytes;

    use super::*;

    pub(crate) fn serialize<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(data))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let decoded = base64::decode(text);
        let data =
            decoded.map_err(|error| D::Error::custom(format_args!("the data is not base64: {error}")))?;
        Ok(data.into())
    }
}

/// A time as RFC 3339.
pub(super) mod time {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let text = DateTime::from(*time).fmt(Format::DateTime);
        serializer.serialize_str(&text.map_err(S::Error::custom)?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refused = |error: &dyn std::fmt::Display| {
            D::Error::custom(format_args!("{text:?} is not a time of RFC 3339: {error}"))
        };
        let time = DateTime::from_str(&text, Format::DateTimeWithOffset);
        SystemTime::try_from(time.map_err(|error| refused(&error))?).map_err(|error| refused(&error))
    }
}

/// The same, or nothing.
pub(super) mod time_if_known {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        #[derive(Deserialize)]
        struct Known(#[serde(with = "super::time")] SystemTime);
        let known = Option::<Known>::deserialize(deserializer)?;
        Ok(known.map(|Known(time)| time))
    }
}
