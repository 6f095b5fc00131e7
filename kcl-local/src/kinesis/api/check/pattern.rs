//! The patterns that texts of requests have to match.

use std::fmt;

/// A pattern of the service, by what it describes. Shown as the regular expression that the service shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// A name of a stream, a shard or a consumer.
    Name,
    /// A hash key, or what could be one.
    HashKey,
    /// A sequence number, or what could be one.
    SequenceNumber,
    StreamArn,
    ConsumerArn,
    /// An ARN of a stream or of one of its consumers, or of what else has tags and policies.
    ResourceArn,
    StreamId,
}

impl Pattern {
    /// Whether the whole text is so.
    pub(super) fn matches(self, text: &str) -> bool {
        match self {
            Self::Name => is_name(text),
            Self::HashKey => is_number(text, 39),
            Self::SequenceNumber => is_number(text, 129),
            Self::StreamArn => resource(text).is_some_and(|resource| is_after("stream/", resource)),
            Self::ConsumerArn => resource(text).is_some_and(is_consumer),
            Self::ResourceArn => resource(text).is_some_and(|resource| {
                ["stream/", "channel/", "queue/"]
                    .iter()
                    .any(|kind| is_after(kind, resource))
            }),
            Self::StreamId => is_stream_id(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "[a-zA-Z0-9_.-]+",
            Self::HashKey => r"0|([1-9]\d{0,38})",
            Self::SequenceNumber => r"0|([1-9]\d{0,128})",
            Self::StreamArn => r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+",
            Self::ConsumerArn => {
                r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+"
            }
            Self::ResourceArn => r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+",
            Self::StreamId => "[a-z0-9]{20}-[a-z0-9]{3}",
        })
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

fn is_number(text: &str, most_digits: usize) -> bool {
    let canonical = text == "0" || !text.starts_with('0');
    canonical && (1..=most_digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_stream_id(text: &str) -> bool {
    let is_part = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split_once('-')
        .is_some_and(|(id, suffix)| is_part(id, 20) && is_part(suffix, 3))
}

/// What a Kinesis ARN names, behind its account.
fn resource(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next();
    let (scheme, partition, service, _region) = (part()?, part()?, part()?, part()?);
    let (account, resource) = (part()?, part()?);
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_kinesis = scheme == "arn" && partition.starts_with("aws") && service == "kinesis";
    (is_kinesis && is_account).then_some(resource)
}

fn is_after(kind: &str, resource: &str) -> bool {
    let name = resource.strip_prefix(kind).unwrap_or_default();
    !name.is_empty() && !name.contains(char::is_whitespace)
}

fn is_consumer(resource: &str) -> bool {
    let parts = || {
        let (stream, consumer) = resource.strip_prefix("stream/")?.split_once("/consumer/")?;
        let (name, seconds) = consumer.split_once(':')?;
        Some((stream, name, seconds))
    };
    parts().is_some_and(|(stream, name, seconds)| {
        is_name(stream)
            && is_name(name)
            && !seconds.is_empty()
            && seconds.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: Pattern, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(pattern.matches(text), "{pattern:?} {text}");
        }
        for text in bad {
            assert!(!pattern.matches(text), "{pattern:?} {text}");
        }
    }

    #[test]
    fn names_have_the_services_alphabet() {
        check(
            Pattern::Name,
            &["Orders_2.eu-west", "a"],
            &["", "a b", "a/b", "é", "a\n"],
        );
    }

    #[test]
    fn numbers_are_canonical() {
        let (long, longer) = ("9".repeat(39), "9".repeat(40));
        check(
            Pattern::HashKey,
            &["0", "7", &long],
            &["", "00", "-1", "+1", "1e3", "x", &longer],
        );
        let (long, longer) = ("9".repeat(129), "9".repeat(130));
        check(Pattern::SequenceNumber, &["0", &long], &["", "LATEST", &longer]);
    }

    #[test]
    fn an_arn_names_its_partition_service_region_and_account() {
        check(
            Pattern::StreamArn,
            &[
                "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
                "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a.b",
            ],
            &[
                "",
                "orders",
                "arn:aws:kinesis",
                "arn:aws:sqs:us-east-1:000000000000:stream/orders",
                "arn:aws:kinesis:us-east-1:0:stream/orders",
                "arn:aws:kinesis:us-east-1:000000000000:stream/",
                "arn:aws:kinesis:us-east-1:000000000000:stream/a b",
                "arn:aws:kinesis:us-east-1:000000000000:queue/orders",
            ],
        );
    }

    #[test]
    fn a_consumers_arn_has_its_stream_and_the_second_of_its_registration() {
        let arn = |rest: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{rest}");
        let (good, none, word) = (
            arn("orders/consumer/billing:17"),
            arn("orders"),
            arn("orders/consumer/billing:x"),
        );
        check(Pattern::ConsumerArn, &[&good], &[&none, &word]);
        check(
            Pattern::ResourceArn,
            &[&good, &none, "arn:aws:kinesis:us-east-1:000000000000:queue/q"],
            &["arn:aws:kinesis:us-east-1:000000000000:table/t"],
        );
    }

    #[test]
    fn a_streams_id_is_twenty_and_three_characters() {
        check(
            Pattern::StreamId,
            &["abcdefghij0123456789-a1b"],
            &["", "a-b", "ABCDEFGHIJ0123456789-a1b", "abcdefghij0123456789-a1bc"],
        );
    }
}
