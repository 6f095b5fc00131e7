//! The backend's time over HTTP.

use std::time::UNIX_EPOCH;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Refusal;
use crate::clock::Clock;
use crate::faults::Span;

/// How the clock is to go on. What is missing stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockForm {
    /// `"real"`, `"paused"`, or how many times as fast as the machine's.
    pace: Option<Pace>,
    /// How far time is moved on.
    advance: Option<Span>,
    /// The time that it is moved on to, as RFC 3339 has it.
    advance_to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace(f64);

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrNumber;
        impl Visitor<'_> for WordOrNumber {
            type Value = Pace;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"real\", \"paused\" or how many times as fast as real, such as 60")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<Pace, E> {
                match word {
                    "real" => Ok(Pace(1.0)),
                    "paused" => Ok(Pace(0.0)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
            fn visit_f64<E: de::Error>(self, pace: f64) -> Result<Pace, E> {
                Ok(Pace(pace))
            }
            #[expect(clippy::cast_precision_loss, reason = "such a pace is refused")]
            fn visit_u64<E: de::Error>(self, pace: u64) -> Result<Pace, E> {
                Ok(Pace(pace as f64))
            }
            #[expect(clippy::cast_precision_loss, reason = "such a pace is refused")]
            fn visit_i64<E: de::Error>(self, pace: i64) -> Result<Pace, E> {
                Ok(Pace(pace as f64))
            }
        }
        deserializer.deserialize_any(WordOrNumber)
    }
}

/// What the clock shows.
pub(super) fn reading(clock: &Clock) -> Value {
    let (now, pace) = (clock.now(), clock.pace());
    json!({
        "now": humantime::format_rfc3339_millis(now).to_string(),
        "now_millis": clock.now_millis(),
        "pace": pace,
    })
}

/// Sets the clock as a body says: first the time, then the pace.
pub(super) fn set(clock: &Clock, body: &[u8]) -> Result<(), Refusal> {
    let form: ClockForm = serde_json::from_slice(body).map_err(|error| Refusal::bad(error.to_string()))?;
    if form.advance.is_some() && form.advance_to.is_some() {
        return Err(Refusal::bad("give advance or advance_to, and not both"));
    }
    if form.pace.is_none() && form.advance.is_none() && form.advance_to.is_none() {
        return Err(Refusal::bad("give pace, advance or advance_to"));
    }
    let refused = |error: crate::clock::ClockError| Refusal::bad(error.to_string());
    if let Some(Pace(pace)) = form.pace {
        clock.check_pace(pace).map_err(refused)?;
    }
    if let Some(Span(by)) = form.advance {
        clock.advance(by).map_err(refused)?;
    }
    if let Some(text) = &form.advance_to {
        let time = humantime::parse_rfc3339_weak(text)
            .ok()
            .filter(|time| *time >= UNIX_EPOCH);
        let time =
            time.ok_or_else(|| Refusal::bad("advance_to is a time such as \"2026-12-01T08:00:00Z\""))?;
        clock.advance_to(time).map_err(refused)?;
    }
    if let Some(Pace(pace)) = form.pace {
        clock.set_pace(pace).map_err(refused)?;
    }
    Ok(())
}
