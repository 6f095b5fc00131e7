//! A result, before it is known in which protocol it is told.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use ciborium::Value as Cbor;
use serde_json::Value as Json;

/// A value of a result.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Map(Vec<(&'static str, Shape)>),
    List(Vec<Shape>),
    Text(String),
    Number(f64),
    /// In milliseconds since the epoch.
    Time(u64),
}

impl Shape {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// As members of an element, in the query protocol.
    pub(super) fn write_xml(&self, xml: &mut String) {
        match self {
            Self::Map(members) => {
                for (name, value) in members {
                    let _ = write!(xml, "<{name}>");
                    value.write_xml(xml);
                    let _ = write!(xml, "</{name}>");
                }
            }
            Self::List(values) => {
                for value in values {
                    xml.push_str("<member>");
                    value.write_xml(xml);
                    xml.push_str("</member>");
                }
            }
            Self::Text(text) => escape(text, xml),
            Self::Number(number) => {
                let _ = write!(xml, "{number}");
            }
            Self::Time(millis) => {
                let time = UNIX_EPOCH + Duration::from_millis(*millis);
                let _ = write!(xml, "{}", humantime::format_rfc3339_millis(time));
            }
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Self::Map(members) => {
                let members = members.iter();
                Json::Object(
                    members
                        .map(|(name, value)| ((*name).to_owned(), value.json()))
                        .collect(),
                )
            }
            Self::List(values) => Json::Array(values.iter().map(Self::json).collect()),
            Self::Text(text) => Json::String(text.clone()),
            Self::Number(number) => Json::from(*number),
            Self::Time(millis) => Json::from(seconds(*millis)),
        }
    }

    pub(super) fn cbor(&self) -> Cbor {
        match self {
            Self::Map(members) => {
                let members = members.iter();
                Cbor::Map(
                    members
                        .map(|(name, value)| (Cbor::from(*name), value.cbor()))
                        .collect(),
                )
            }
            Self::List(values) => Cbor::Array(values.iter().map(Self::cbor).collect()),
            Self::Text(text) => Cbor::Text(text.clone()),
            Self::Number(number) => Cbor::Float(*number),
            // Tag 1 says that it is a time.
            Self::Time(millis) => Cbor::Tag(1, Box::new(Cbor::Float(seconds(*millis)))),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of any year that is told are exact"
)]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// Writes text so that no part of it is taken for markup.
pub(super) fn escape(text: &str, xml: &mut String) {
    for letter in text.chars() {
        match letter {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '"' => xml.push_str("&quot;"),
            // XML has no place for the others.
            letter if letter < ' ' && !matches!(letter, '\t' | '\n' | '\r') => xml.push('\u{fffd}'),
            letter => xml.push(letter),
        }
    }
}
