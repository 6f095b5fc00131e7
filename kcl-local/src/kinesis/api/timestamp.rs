//! Points in time on the wire.

use std::fmt;

use ciborium::tag::Accepted;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kinesis::engine::EpochMillis;

/// CBOR's tag for a time since the epoch.
const EPOCH_TAG: u64 = 1;

/// A point in time with millisecond precision.
///
/// JSON carries seconds as a number with a fraction. CBOR carries integer milliseconds under tag 1, which is what
/// Kinesis and the Java SDK exchange; when reading, the tag is optional and a float counts seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub(crate) EpochMillis);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.0.get() as f64 / 1000.0)
        } else {
            Accepted::<_, EPOCH_TAG>(self.0.get()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, integer_unit) = if deserializer.is_human_readable() {
            (Number::deserialize(deserializer)?, 1000)
        } else {
            (Accepted::<Number, EPOCH_TAG>::deserialize(deserializer)?.0, 1)
        };
        let millis = match number {
            Number::Integer(value) => value.checked_mul(integer_unit),
            Number::Float(seconds) => millis_from(seconds),
        };
        let millis = millis.ok_or_else(|| D::Error::custom("timestamp out of range"))?;
        Ok(Self(EpochMillis::new(millis)))
    }
}

fn millis_from(seconds: f64) -> Option<u64> {
    let millis = (seconds * 1000.0).round();
    // The upper bound is the largest integer that a double counts to without gaps.
    (0.0..9_007_199_254_740_992.0)
        .contains(&millis)
        .then_some(millis as u64)
}

enum Number {
    Integer(u64),
    Float(f64),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number of seconds or milliseconds since 1970")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number::Integer(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        u64::try_from(value)
            .map(Number::Integer)
            .map_err(|_| E::custom("timestamp before 1970"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number::Float(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::Value;

    fn at(millis: u64) -> Timestamp {
        Timestamp(EpochMillis::new(millis))
    }

    fn cbor(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    fn from_cbor(value: &Value) -> Result<Timestamp, ciborium::de::Error<std::io::Error>> {
        ciborium::from_reader(cbor(value).as_slice())
    }

    #[test]
    fn json_counts_seconds() {
        assert_eq!(
            serde_json::to_string(&at(1_700_000_000_123)).unwrap(),
            "1700000000.123"
        );
        assert_eq!(
            serde_json::from_str::<Timestamp>("1700000000.123").unwrap(),
            at(1_700_000_000_123)
        );
        assert_eq!(
            serde_json::from_str::<Timestamp>("1700000000").unwrap(),
            at(1_700_000_000_000)
        );
        assert_eq!(
            serde_json::from_str::<Timestamp>("1.7E9").unwrap(),
            at(1_700_000_000_000)
        );
    }

    #[test]
    fn cbor_counts_milliseconds_under_tag_one() {
        let written: Value = ciborium::from_reader(cbor(&at(1_700_000_000_123)).as_slice()).unwrap();
        assert_eq!(
            written,
            Value::Tag(1, Box::new(Value::from(1_700_000_000_123_u64)))
        );
        assert_eq!(from_cbor(&written).unwrap(), at(1_700_000_000_123));
    }

    #[test]
    fn cbor_without_a_tag_and_with_float_seconds_is_read_too() {
        assert_eq!(
            from_cbor(&Value::from(1_700_000_000_123_u64)).unwrap(),
            at(1_700_000_000_123)
        );
        assert_eq!(
            from_cbor(&Value::from(1_700_000_000.123_f64)).unwrap(),
            at(1_700_000_000_123)
        );
        let tagged = Value::Tag(1, Box::new(Value::from(1_700_000_000.123_f64)));
        assert_eq!(from_cbor(&tagged).unwrap(), at(1_700_000_000_123));
    }

    #[test]
    fn an_optional_timestamp_may_be_tagged_null_or_absent() {
        #[derive(Deserialize)]
        struct Request {
            #[serde(default)]
            at: Option<Timestamp>,
        }
        let read = |value: Value| {
            ciborium::from_reader::<Request, _>(cbor(&value).as_slice())
                .unwrap()
                .at
        };
        let key = || Value::from("at");
        let tagged = Value::Tag(1, Box::new(Value::from(5)));
        assert_eq!(read(Value::Map(vec![(key(), tagged)])), Some(at(5)));
        assert_eq!(read(Value::Map(vec![(key(), Value::Null)])), None);
        assert_eq!(read(Value::Map(vec![])), None);
    }

    #[test]
    fn times_before_1970_and_beyond_reason_are_errors() {
        for text in ["-1", "-0.5", "1e300", "18446744073709551615"] {
            assert!(serde_json::from_str::<Timestamp>(text).is_err(), "{text}");
        }
        assert!(from_cbor(&Value::from(-1)).is_err());
        assert!(from_cbor(&Value::from(f64::NAN)).is_err());
    }
}
