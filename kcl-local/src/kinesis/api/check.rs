//! Rules for single request members, broken ones being a `ValidationException`.

use std::ops::RangeInclusive;

use crate::kinesis::ApiError;

/// The error for a member that breaks a rule. `rule` continues the sentence "Member must".
pub(super) fn broken(member: &str, rule: &str) -> ApiError {
    ApiError::validation(format!(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must {rule}"
    ))
}

/// The value of a member that must be there.
pub(super) fn required<T>(value: Option<T>, member: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| broken(member, "not be null"))
}

/// A number within the service's limits for it.
pub(super) fn in_range(value: i64, range: RangeInclusive<u32>, member: &str) -> Result<u32, ApiError> {
    let number = u32::try_from(value).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        broken(
            member,
            &format!("have a value from {} to {}", range.start(), range.end()),
        )
    })
}

/// A text whose number of characters is within the service's limits for it.
pub(super) fn length(text: &str, range: RangeInclusive<usize>, member: &str) -> Result<(), ApiError> {
    // Most texts are ASCII and short: counting characters can be saved.
    let fits = !text.is_empty() && text.len() <= *range.end() && *range.start() <= 1;
    if fits || range.contains(&text.chars().count()) {
        return Ok(());
    }
    Err(broken(
        member,
        &format!("have a length from {} to {}", range.start(), range.end()),
    ))
}

/// A name of a stream or a shard: 1 to 128 letters, digits, underscores, dots and hyphens of ASCII.
pub(super) fn name(text: &str, member: &str) -> Result<(), ApiError> {
    length(text, 1..=128, member)?;
    if text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    {
        return Ok(());
    }
    Err(broken(
        member,
        "satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_range_is_refused() {
        assert_eq!(in_range(10_000, 1..=10_000, "limit"), Ok(10_000));
        for value in [0, 10_001, -1, i64::MIN, i64::MAX] {
            assert!(in_range(value, 1..=10_000, "limit").is_err(), "{value}");
        }
    }

    #[test]
    fn lengths_count_characters() {
        assert!(length(&"é".repeat(256), 1..=256, "partitionKey").is_ok());
        assert!(length(&"é".repeat(257), 1..=256, "partitionKey").is_err());
        assert!(length("", 1..=256, "partitionKey").is_err());
        assert!(length("", 0..=256, "value").is_ok());
    }

    #[test]
    fn names_have_the_services_alphabet() {
        assert!(name("Orders_2.eu-west", "streamName").is_ok());
        for text in ["", "a b", "a/b", "é", &"s".repeat(129)] {
            assert!(name(text, "streamName").is_err(), "{text}");
        }
    }
}
