//! Names of streams and shards.

use std::fmt;
use std::sync::Arc;

/// A text that names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no stream; give a name of 1 to 128 letters, digits, '_', '.' or '-', or an ARN like \
     arn:aws:kinesis:eu-west-1:123456789012:stream/my-stream"
)]
pub struct InvalidStream(pub String);

/// A Kinesis data stream, by name or by ARN. With an ARN, streams of other accounts can be read.
///
/// ```
/// use kcl_core::Stream;
///
/// let stream = Stream::parse("arn:aws:kinesis:eu-central-1:123456789012:stream/orders")?;
/// assert_eq!(stream.name(), "orders");
/// # Ok::<(), kcl_core::InvalidStream>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    name: Arc<str>,
    arn: Option<Arc<str>>,
}

impl Stream {
    /// Parses a name or an ARN.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidStream> {
        let invalid = || InvalidStream(text.to_owned());
        if !text.starts_with("arn:") {
            return if is_name(text) {
                Ok(Self {
                    name: text.into(),
                    arn: None,
                })
            } else {
                Err(invalid())
            };
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [_, partition, "kinesis", region, account, resource] = parts[..] else {
            return Err(invalid());
        };
        let name = resource
            .strip_prefix("stream/")
            .filter(|name| is_name(name))
            .ok_or_else(invalid)?;
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if !partition.starts_with("aws") || region.is_empty() || !is_account {
            return Err(invalid());
        }
        Ok(Self {
            name: name.into(),
            arn: Some(text.into()),
        })
    }

    /// The name without account and region.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ARN, if the stream was given by it.
    pub fn arn(&self) -> Option<&str> {
        self.arn.as_deref()
    }

    /// The account that it is in, if it was given by its ARN.
    pub(crate) fn account(&self) -> Option<&str> {
        self.arn.as_deref()?.split(':').nth(4)
    }

    /// What is wrong with its ARN, if it has one, for a client that calls this region.
    pub(crate) fn problem_in(&self, region: &str) -> Option<String> {
        let arn = self.arn.as_deref()?;
        let mut parts = arn.split(':').skip(1);
        let (partition, _, named) = (parts.next()?, parts.next()?, parts.next()?);
        let of_region = partition_of(named);
        if partition != of_region {
            return Some(format!(
                "stream {arn} names the partition {partition}, but its region {named} is in {of_region}; correct the ARN"
            ));
        }
        (named != region).then(|| {
            format!(
                "stream {arn} is in region {named}, but the Kinesis client calls {region}; give aws_config, or kinesis_client, \
                 the region {named}"
            )
        })
    }

    /// What to send as `StreamName`: the name, unless the ARN is known, which says more.
    pub(crate) fn request_name(&self) -> Option<String> {
        self.arn.is_none().then(|| self.name.to_string())
    }

    /// What to send as `StreamARN`.
    pub(crate) fn request_arn(&self) -> Option<String> {
        self.arn.as_deref().map(str::to_owned)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.arn.as_deref().unwrap_or(&self.name))
    }
}

/// A text that is no id of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no id of a stream; it has the form 123456789012:my-stream:1700000000, as account, name and creation time"
)]
pub struct InvalidStreamId(pub String);

/// One stream among several: its account, its name, and when it was created, in seconds since the Unix epoch. A stream that is
/// deleted and made anew is another one. The Java KCL calls streams in the same way where it reads several.
///
/// ```
/// use kcl_core::StreamId;
///
/// let id: StreamId = "123456789012:orders:1700000000".parse()?;
/// assert_eq!((id.account(), id.name(), id.created_at()), ("123456789012", "orders", 1_700_000_000));
/// # Ok::<(), kcl_core::InvalidStreamId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    account: Arc<str>,
    name: Arc<str>,
    created_at: u64,
}

impl StreamId {
    pub(crate) fn new(account: &str, name: &str, created_at: u64) -> Self {
        Self {
            account: account.into(),
            name: name.into(),
            created_at,
        }
    }

    /// The account that the stream is in: digits, twelve on AWS.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was created, in seconds since the Unix epoch.
    pub fn created_at(&self) -> u64 {
        self.created_at
    }

    /// By what it is called, for a client of this region.
    pub(crate) fn in_region(&self, region: &str) -> Stream {
        let (partition, account, name) = (partition_of(region), &self.account, &self.name);
        Stream {
            name: name.clone(),
            arn: Some(format!("arn:{partition}:kinesis:{region}:{account}:stream/{name}").into()),
        }
    }
}

impl std::str::FromStr for StreamId {
    type Err = InvalidStreamId;

    fn from_str(text: &str) -> Result<Self, InvalidStreamId> {
        let invalid = || InvalidStreamId(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let [account, name, created_at] = parts[..] else {
            return Err(invalid());
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let created_at = created_at.parse().ok().filter(|_| is_number(created_at));
        let created_at = created_at.filter(|at| *at > 0).ok_or_else(invalid)?;
        if !is_number(account) || !is_name(name) {
            return Err(invalid());
        }
        Ok(Self::new(account, name, created_at))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.account, self.name, self.created_at)
    }
}

/// The partition of AWS that a region is in.
fn partition_of(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    let known = PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix));
    known.map_or("aws", |(_, partition)| partition)
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A shard's id, such as `shardId-000000000003`: unique inside its stream.
///
/// ```
/// use kcl_core::ShardId;
///
/// assert_eq!(ShardId::from("shardId-000000000003").as_str(), "shardId-000000000003");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// Wraps an id as Kinesis gave it.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id as Kinesis gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for ShardId {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_given_by_name_or_by_arn() {
        let by_name = Stream::parse("orders.v2").expect("valid");
        assert_eq!((by_name.name(), by_name.arn()), ("orders.v2", None));
        let arn = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders";
        let by_arn = Stream::parse(arn).expect("valid");
        assert_eq!((by_arn.name(), by_arn.arn()), ("orders", Some(arn)));
        assert_eq!(by_arn.request_name(), None, "the ARN says it all");
    }

    #[test]
    fn an_arn_must_be_of_the_client_s_region_and_of_its_partition() {
        let stream = |arn: &str| Stream::parse(arn).expect(arn);
        let ours = stream("arn:aws:kinesis:eu-west-1:123456789012:stream/orders");
        assert_eq!(ours.problem_in("eu-west-1"), None);
        let problem = ours.problem_in("eu-central-1").expect("another region");
        assert!(problem.contains("the region eu-west-1"), "{problem}");
        let china = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders";
        assert_eq!(stream(china).problem_in("cn-north-1"), None);
        let mixed = stream("arn:aws:kinesis:us-gov-west-1:123456789012:stream/orders");
        let problem = mixed.problem_in("us-gov-west-1").expect("another partition");
        assert!(problem.contains("aws-us-gov"), "{problem}");
        assert_eq!(stream("orders").problem_in("anywhere"), None);
    }

    #[test]
    fn a_stream_among_several_is_known_by_account_name_and_creation() {
        let id: StreamId = "123456789012:orders.v2:1700000000".parse().expect("an id");
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        let in_china = id.in_region("cn-north-1");
        let arn = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders.v2";
        assert_eq!(in_china.arn(), Some(arn));
        assert_eq!(Stream::parse(arn), Ok(in_china.clone()));
        assert_eq!(in_china.account(), Some("123456789012"));
        for wrong in [
            "",
            "orders",
            "123456789012:orders",
            "123456789012:orders:0",
            "123456789012:orders:-1",
            "123456789012:orders:+1",
            "123456789012:orders:99999999999999999999999",
            ":orders:1700000000",
            "a:orders:1700000000",
            "123456789012::1700000000",
            "123456789012:or ders:1700000000",
            "123456789012:orders:1700000000:shardId-000000000000",
        ] {
            let refused = wrong.parse::<StreamId>().expect_err(wrong);
            assert!(
                refused.to_string().contains("123456789012:my-stream"),
                "{refused}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_accepted_forms() {
        let too_long = "x".repeat(129);
        for text in [
            "",
            "a b",
            too_long.as_str(),
            "arn:aws:kinesis:eu-west-1:1234:stream/orders",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/c:1",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
        ] {
            let refused = Stream::parse(text).expect_err(text);
            assert!(refused.to_string().contains("arn:aws:kinesis:"), "{refused}");
        }
    }
}
