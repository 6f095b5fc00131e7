//! What the members of a request must satisfy, and the service's words for those that do not.
//!
//! A request is checked whole, before anything is looked up: every failure is told, in one `ValidationException`. Each
//! request [lists](Members) its members with their [rules]; how a failure is worded stands here alone.

mod pattern;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::kinesis::ApiError;
pub(crate) use pattern::Pattern;

/// The service tells no more failures than this.
const MOST_FAILURES: usize = 10;
/// How much of a value is repeated to the caller, in bytes. A value of many megabytes helps nobody.
const SHOWN: usize = 1_024;

/// A request that can say which rules its members have to follow.
pub(crate) trait Members {
    /// Checks each member, in the order in which failures are told.
    fn check(&self, checks: &mut Checks);

    /// Checks all members.
    ///
    /// # Errors
    /// A `ValidationException` that tells every failure.
    fn validate(&self) -> Result<(), ApiError> {
        let mut checks = Checks::default();
        self.check(&mut checks);
        checks.outcome()
    }
}

/// A rule for a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) pattern: Option<Pattern>,
    /// The least and the greatest number of characters.
    pub(crate) length: Option<(usize, usize)>,
}

/// A rule for a number: its least and its greatest value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(pub(crate) i64, pub(crate) i64);

/// A rule for a list, a map or bytes: the least and the greatest length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length(pub(crate) usize, pub(crate) usize);

/// A step on the way to a member.
#[derive(Debug, Clone, Copy)]
enum Step {
    Into(&'static str),
    /// An item of a list, counted from one.
    Item(usize),
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    path: Vec<Step>,
    failures: Vec<String>,
}

/// A value as it is repeated to the caller.
enum Shown<'a> {
    Null,
    Text(&'a str),
    Number(i64),
    Bytes(usize),
    Texts(&'a [String]),
    Map(&'a BTreeMap<String, String>),
    /// So many structures, which the service shows by their addresses.
    Structures(usize),
}

impl Checks {
    /// A member that must be there.
    pub(crate) fn required<T>(&mut self, member: &'static str, value: Option<&T>) {
        if value.is_none() {
            self.fail(member, &Shown::Null, format_args!("Member must not be null"));
        }
    }

    /// A text, if it is there.
    pub(crate) fn text(&mut self, member: &'static str, value: Option<&str>, rule: &Text) {
        let Some(text) = value else { return };
        if let Some(pattern) = rule.pattern.filter(|pattern| !pattern.matches(text)) {
            let rule = format_args!("Member must satisfy regular expression pattern: {pattern}");
            self.fail(member, &Shown::Text(text), rule);
        }
        if let Some((least, most)) = rule.length {
            // Most texts are ASCII and short: counting characters can be saved.
            if text.is_empty() || text.len() > most || least > 1 {
                self.length(
                    member,
                    &Shown::Text(text),
                    text.chars().count(),
                    Length(least, most),
                );
            }
        }
    }

    /// A number, if it is there.
    pub(crate) fn number(&mut self, member: &'static str, value: Option<i64>, rule: Number) {
        let (Some(value), Number(least, most)) = (value, rule) else {
            return;
        };
        if value < least {
            let rule = format_args!("Member must have value greater than or equal to {least}");
            self.fail(member, &Shown::Number(value), rule);
        }
        if value > most {
            let rule = format_args!("Member must have value less than or equal to {most}");
            self.fail(member, &Shown::Number(value), rule);
        }
    }

    /// One of a few words, if it is there.
    pub(crate) fn choice(&mut self, member: &'static str, value: Option<&str>, words: &[&str]) {
        let Some(word) = value.filter(|word| !words.contains(word)) else {
            return;
        };
        let rule = format_args!("Member must satisfy enum value set: [{}]", Joined(words));
        self.fail(member, &Shown::Text(word), rule);
    }

    /// Several of a few words, if they are there.
    pub(crate) fn choices(
        &mut self,
        member: &'static str,
        value: Option<&[String]>,
        length: Length,
        words: &[&str],
    ) {
        let Some(list) = value else { return };
        self.length(member, &Shown::Texts(list), list.len(), length);
        if list.iter().any(|word| !words.contains(&word.as_str())) {
            let rule = format_args!(
                "Member must satisfy constraint: [Member must satisfy enum value set: [{}]]",
                Joined(words)
            );
            self.fail(member, &Shown::Texts(list), rule);
        }
    }

    /// Bytes, if they are there.
    pub(crate) fn bytes(&mut self, member: &'static str, value: Option<usize>, rule: Length) {
        if let Some(length) = value {
            self.length(member, &Shown::Bytes(length), length, rule);
        }
    }

    /// Texts, if they are there, each with a length of its own.
    pub(crate) fn texts(
        &mut self,
        member: &'static str,
        value: Option<&[String]>,
        length: Length,
        each: Length,
    ) {
        let Some(texts) = value else { return };
        self.length(member, &Shown::Texts(texts), texts.len(), length);
        self.lengths(member, "Member", &Shown::Texts(texts), texts.iter(), each);
    }

    /// Texts by name, if they are there.
    pub(crate) fn map(
        &mut self,
        member: &'static str,
        value: Option<&BTreeMap<String, String>>,
        length: Length,
        keys: Length,
        values: Length,
    ) {
        let Some(map) = value else { return };
        self.length(member, &Shown::Map(map), map.len(), length);
        self.lengths(member, "Map keys", &Shown::Map(map), map.keys(), keys);
        self.lengths(member, "Map value", &Shown::Map(map), map.values(), values);
    }

    /// Structures, if they are there, whose members are checked one structure after the other.
    pub(crate) fn structures<T>(
        &mut self,
        member: &'static str,
        value: Option<&[T]>,
        length: Length,
        mut check: impl FnMut(&T, &mut Self),
    ) {
        let Some(structures) = value else { return };
        let count = structures.len();
        self.length(member, &Shown::Structures(count), count, length);
        if count > length.1 {
            return;
        }
        self.path.push(Step::Into(member));
        for (index, structure) in structures.iter().enumerate() {
            self.path.push(Step::Item(index + 1));
            check(structure, self);
            self.path.pop();
        }
        self.path.pop();
    }

    /// The members of a structure, if it is there.
    pub(crate) fn structure<T>(
        &mut self,
        member: &'static str,
        value: Option<&T>,
        check: impl FnOnce(&T, &mut Self),
    ) {
        let Some(structure) = value else { return };
        self.path.push(Step::Into(member));
        check(structure, self);
        self.path.pop();
    }

    fn length(&mut self, member: &'static str, value: &Shown<'_>, length: usize, rule: Length) {
        let Length(least, most) = rule;
        if length < least {
            let rule = format_args!("Member must have length greater than or equal to {least}");
            self.fail(member, value, rule);
        }
        if length > most {
            let rule = format_args!("Member must have length less than or equal to {most}");
            self.fail(member, value, rule);
        }
    }

    fn lengths<'a>(
        &mut self,
        member: &'static str,
        what: &str,
        value: &Shown<'_>,
        mut texts: impl Iterator<Item = &'a String>,
        Length(least, most): Length,
    ) {
        if texts.any(|text| !(least..=most).contains(&text.chars().count())) {
            let rule = format_args!(
                "{what} must satisfy constraint: [Member must have length less than or equal to {most}, \
                 Member must have length greater than or equal to {least}]"
            );
            self.fail(member, value, rule);
        }
    }

    fn fail(&mut self, member: &'static str, value: &Shown<'_>, rule: fmt::Arguments<'_>) {
        if self.failures.len() == MOST_FAILURES {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            // Writing to a string does not fail.
            let _ = match step {
                Step::Into(member) => write!(path, "{member}."),
                Step::Item(index) => write!(path, "{index}.member."),
            };
        }
        self.failures.push(format!(
            "Value {value} at '{path}{member}' failed to satisfy constraint: {rule}"
        ));
    }

    fn outcome(self) -> Result<(), ApiError> {
        let errors = match self.failures.len() {
            0 => return Ok(()),
            1 => "1 validation error".to_owned(),
            count => format!("{count} validation errors"),
        };
        Err(ApiError::validation(format!(
            "{errors} detected: {}",
            self.failures.join("; ")
        )))
    }
}

/// The value of a member that [`Checks::required`] saw.
pub(crate) fn present<T>(value: Option<T>, member: &'static str) -> Result<T, ApiError> {
    value.ok_or_else(|| missing_item("", None, member))
}

/// The failure of a member that turns out to be needed when the stream is known. `index` counts the items of `list`
/// from zero; without one the member is the request's own.
pub(crate) fn missing_item(list: &'static str, index: Option<usize>, member: &'static str) -> ApiError {
    let mut checks = Checks::default();
    if let Some(index) = index {
        checks.path = vec![Step::Into(list), Step::Item(index + 1)];
    }
    checks.required::<()>(member, None);
    checks
        .outcome()
        .err()
        .unwrap_or_else(|| ApiError::internal(member))
}

/// A number that was checked to be in its range.
pub(crate) fn checked(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Cut(String::new());
        // Stops when enough is written.
        let whole = match self {
            Self::Null => return formatter.write_str("null"),
            Self::Text(value) => text.write_str(value),
            Self::Number(value) => write!(text, "{value}"),
            Self::Bytes(length) => write!(text, "java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]"),
            Self::Texts(values) => write!(text, "[{}]", Joined(values)),
            Self::Map(map) => write!(text, "{}", Pairs(map)),
            Self::Structures(0) => text.write_str("[]"),
            Self::Structures(count) => write!(text, "[{count} structures]"),
        };
        let more = if whole.is_err() { "..." } else { "" };
        write!(formatter, "'{}{more}'", text.0)
    }
}

/// A text that takes so much and no more.
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = SHOWN.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

struct Joined<'a, T>(&'a [T]);

impl<T: AsRef<str>> fmt::Display for Joined<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{}", text.as_ref())?;
        }
        Ok(())
    }
}

struct Pairs<'a>(&'a BTreeMap<String, String>);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (index, (key, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{key}={value}")?;
        }
        formatter.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(check: impl FnOnce(&mut Checks)) -> String {
        let mut checks = Checks::default();
        check(&mut checks);
        checks
            .outcome()
            .err()
            .map(|error| error.message)
            .unwrap_or_default()
    }

    #[test]
    fn a_failure_is_told_in_the_services_words() {
        assert_eq!(
            told(|checks| checks.number("limit", Some(0), Number(1, 10_000))),
            "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1"
        );
        assert_eq!(
            told(|checks| checks.required::<String>("shardId", None)),
            "1 validation error detected: Value null at 'shardId' failed to satisfy constraint: Member must not be null"
        );
    }

    #[test]
    fn all_failures_are_told_at_once() {
        let message = told(|checks| {
            checks.number("shardCount", Some(0), rules::SHARD_COUNT);
            checks.text("streamName", Some(""), &rules::NAME);
        });
        assert_eq!(
            message,
            "3 validation errors detected: Value '0' at 'shardCount' failed to satisfy constraint: Member must have \
             value greater than or equal to 1; Value '' at 'streamName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy \
             constraint: Member must have length greater than or equal to 1"
        );
    }

    #[test]
    fn the_items_of_a_list_are_counted_from_one() {
        let keys = [Some("a"), None];
        let message = told(|checks| {
            checks.structures("records", Some(&keys[..]), Length(1, 500), |key, checks| {
                checks.required("partitionKey", key.as_ref());
            });
        });
        assert!(
            message.contains("Value null at 'records.2.member.partitionKey'"),
            "{message}"
        );
    }

    #[test]
    fn lists_and_maps_are_repeated() {
        let texts = ["a".to_owned(), "b".repeat(129)];
        let message = told(|checks| checks.texts("tagKeys", Some(&texts), Length(1, 50), Length(1, 128)));
        let end = "failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than \
                   or equal to 128, Member must have length greater than or equal to 1]";
        assert_eq!(
            message,
            format!(
                "1 validation error detected: Value '[a, {}]' at 'tagKeys' {end}",
                texts[1]
            )
        );
        let map = BTreeMap::from([(String::new(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
        let message =
            told(|checks| checks.map("tags", Some(&map), Length(1, 1), Length(1, 128), Length(0, 256)));
        assert!(
            message.starts_with("2 validation errors detected: Value '{=b, c=d}' at 'tags'"),
            "{message}"
        );
        assert!(message.contains("Map keys must satisfy constraint:"), "{message}");
    }

    #[test]
    fn there_is_an_end_to_what_is_told() {
        let many = told(|checks| (0..50).for_each(|_| checks.number("limit", Some(0), Number(1, 2))));
        assert!(many.starts_with("10 validation errors detected: "), "{many}");
        let long = told(|checks| checks.text("streamName", Some(&"é ".repeat(1_000_000)), &rules::NAME));
        assert!(long.len() < 4_000, "{}", long.len());
        assert!(long.contains("...' at 'streamName'"));
    }

    #[test]
    fn lengths_count_characters() {
        let rule = Text {
            pattern: None,
            length: Some((1, 256)),
        };
        let of = |text: &str| told(|checks| checks.text("partitionKey", Some(text), &rule));
        assert_eq!(of(&"é".repeat(256)), "");
        assert!(of(&"é".repeat(257)).ends_with("Member must have length less than or equal to 256"));
        assert!(of("").ends_with("Member must have length greater than or equal to 1"));
    }
}
