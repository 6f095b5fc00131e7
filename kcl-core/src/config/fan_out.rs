//! How shards are read by enhanced fan-out.

use serde::{Deserialize, Serialize};

use super::Stream;

/// Reading by enhanced fan-out: Kinesis pushes the records of each shard to the consumer, which has 2 MB per second and shard to
/// itself.
///
/// The workers of an application are one consumer of the stream. A consumer that is named is registered by the first worker that finds
/// none of its name, and stays registered, and paid for, until somebody deregisters it
/// (`aws kinesis deregister-stream-consumer`). Workers need permission for `kinesis:SubscribeToShard` on the consumer, and, unless its
/// ARN is given, for `kinesis:DescribeStreamSummary`, `kinesis:DescribeStreamConsumer` and `kinesis:RegisterStreamConsumer`.
///
/// ```no_run
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// use kcl_core::FanOut;
///
/// builder.fan_out(FanOut::default())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FanOut {
    /// The consumer of the stream that the application is.
    pub consumer: StreamConsumer,
    /// See [`or_polling`](Self::or_polling).
    pub or_polling: bool,
}

/// A registered consumer of a stream.
///
/// ```
/// use kcl_core::{FanOut, StreamConsumer};
///
/// let fan_out = FanOut::of(StreamConsumer::Name("clickstream".to_owned()));
/// # assert!(!fan_out.or_polling);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamConsumer {
    /// The one that is called as the application is.
    #[default]
    OfApplication,
    /// The one of this name: 1 to 128 letters, digits, `_`, `.` or `-`.
    Name(String),
    /// The one of this ARN, which somebody registered: also one of a stream in another account.
    Arn(String),
}

impl FanOut {
    /// As this consumer.
    pub fn of(consumer: StreamConsumer) -> Self {
        Self {
            consumer,
            ..Self::default()
        }
    }

    /// Whether a shard is polled for as long as it cannot be subscribed to, which is tried again after a minute, and ever more rarely. Default: no, the status
    /// says why nothing is read.
    #[must_use]
    pub fn or_polling(mut self, or_polling: bool) -> Self {
        self.or_polling = or_polling;
        self
    }

    /// What cannot be used of it, by an application that reads a stream.
    pub(crate) fn problem(&self, application: &str, stream: Option<&Stream>) -> Option<String> {
        let is_name = |name: &str| Stream::parse(name).is_ok_and(|stream| stream.arn().is_none());
        match &self.consumer {
            StreamConsumer::OfApplication if !is_name(application) => Some(format!(
                "fan_out: no consumer can be called as the application {application:?} is; name one, with 1 to 128 letters, digits, \
                 '_', '.' or '-'"
            )),
            StreamConsumer::Name(name) if !is_name(name) => Some(format!(
                "fan_out: the consumer {name:?} must have 1 to 128 letters, digits, '_', '.' or '-'"
            )),
            StreamConsumer::Arn(arn) => {
                let Some(of) = stream_of(arn) else {
                    return Some(format!(
                        "fan_out: {arn:?} is no ARN of a consumer, like \
                         arn:aws:kinesis:eu-west-1:123456789012:stream/my-stream/consumer/my-consumer:1700000000"
                    ));
                };
                let is_other = |stream: &&Stream| match stream.arn() {
                    Some(arn) => of.arn() != Some(arn),
                    None => of.name() != stream.name(),
                };
                let other = stream.filter(is_other)?;
                Some(format!(
                    "fan_out: the consumer {arn} is one of another stream than {other}"
                ))
            }
            StreamConsumer::OfApplication | StreamConsumer::Name(_) => None,
        }
    }
}

/// The stream that a consumer is registered with.
fn stream_of(consumer_arn: &str) -> Option<Stream> {
    let (stream, consumer) = consumer_arn.split_once("/consumer/")?;
    let (name, created) = consumer.rsplit_once(':')?;
    let is_consumer = Stream::parse(name).is_ok() && created.bytes().all(|byte| byte.is_ascii_digit());
    let stream = Stream::parse(stream).ok()?;
    (is_consumer && stream.arn().is_some()).then_some(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/consumer/app:1700000000";

    fn problem(consumer: StreamConsumer, application: &str, stream: &str) -> Option<String> {
        let stream = Stream::parse(stream).expect("a stream");
        FanOut::of(consumer).problem(application, Some(&stream))
    }

    #[test]
    fn consumers_that_there_may_be() {
        let of_another_account = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
        for (consumer, stream) in [
            (StreamConsumer::OfApplication, "clicks"),
            (StreamConsumer::Name("a.b_c-1".to_owned()), "clicks"),
            (StreamConsumer::Arn(ARN.to_owned()), "clicks"),
            (StreamConsumer::Arn(ARN.to_owned()), of_another_account),
        ] {
            assert_eq!(problem(consumer, "app", stream), None);
        }
    }

    #[test]
    fn consumers_that_there_cannot_be_are_refused_with_what_to_do() {
        let other = "arn:aws:kinesis:eu-west-1:210987654321:stream/clicks";
        for (consumer, application, stream, told) in [
            (StreamConsumer::OfApplication, "team/app", "clicks", "name one"),
            (
                StreamConsumer::Name(String::new()),
                "app",
                "clicks",
                "must have 1 to 128",
            ),
            (
                StreamConsumer::Arn("app".to_owned()),
                "app",
                "clicks",
                "no ARN of a consumer",
            ),
            (
                StreamConsumer::Arn(ARN.to_owned()),
                "app",
                "orders",
                "of another stream than orders",
            ),
            (
                StreamConsumer::Arn(ARN.to_owned()),
                "app",
                other,
                "of another stream",
            ),
        ] {
            let problem = problem(consumer, application, stream).expect(told);
            assert!(problem.contains(told), "{problem}");
        }
    }
}
