//! Which stream a request means: by name, by ARN or by both.

use super::check;
use crate::kinesis::{ApiError, Kinesis};

impl Kinesis {
    /// The ARN of a stream of this account and region.
    pub(super) fn stream_arn(&self, name: &str) -> String {
        let options = self.options();
        format!(
            "arn:aws:kinesis:{}:{}:stream/{name}",
            options.region, options.account_id
        )
    }

    /// The name of the stream that a request means.
    ///
    /// # Errors
    /// `ValidationException` if neither is given or one is badly formed, `ResourceNotFoundException` for an ARN of
    /// another account or region, `InvalidArgumentException` if name and ARN are of different streams.
    pub(super) fn stream_name<'a>(
        &self,
        name: Option<&'a str>,
        arn: Option<&'a str>,
    ) -> Result<&'a str, ApiError> {
        if let Some(name) = name {
            check::name(name, "streamName")?;
        }
        let arn_name = arn.map(|arn| self.name_in_arn(arn)).transpose()?;
        match (name, arn_name) {
            (Some(name), Some(arn_name)) if name != arn_name => Err(ApiError::invalid_argument(format!(
                "StreamName {name} and StreamARN with the name {arn_name} are different streams."
            ))),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(check::broken(
                "streamName",
                "not be null: give StreamName or StreamARN",
            )),
        }
    }

    fn name_in_arn<'a>(&self, arn: &'a str) -> Result<&'a str, ApiError> {
        let malformed = || {
            check::broken(
                "streamARN",
                "satisfy arn:aws.*:kinesis:REGION:ACCOUNT:stream/NAME",
            )
        };
        let mut parts = arn.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(malformed);
        let (scheme, partition, service) = (part()?, part()?, part()?);
        let (region, account, resource) = (part()?, part()?, part()?);
        let name = resource.strip_prefix("stream/").ok_or_else(malformed)?;
        if scheme != "arn" || !partition.starts_with("aws") || service != "kinesis" {
            return Err(malformed());
        }
        check::name(name, "streamARN")?;
        if region != self.options().region || account != self.options().account_id {
            return Err(ApiError::client(
                "ResourceNotFoundException",
                format!(
                    "{arn} is not of region {} and account {}, which this backend serves.",
                    self.options().region,
                    self.options().account_id
                ),
            ));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::kinesis::KinesisOptions;

    fn kinesis() -> Kinesis {
        Kinesis::new(Clock::system(), KinesisOptions::default())
    }

    #[tokio::test]
    async fn a_stream_is_known_by_name_by_arn_and_by_both() {
        let kinesis = kinesis();
        let arn = kinesis.stream_arn("orders");
        assert_eq!(arn, "arn:aws:kinesis:us-east-1:000000000000:stream/orders");
        assert_eq!(kinesis.stream_name(Some("orders"), None), Ok("orders"));
        assert_eq!(kinesis.stream_name(None, Some(&arn)), Ok("orders"));
        assert_eq!(kinesis.stream_name(Some("orders"), Some(&arn)), Ok("orders"));
    }

    #[tokio::test]
    async fn names_and_arns_that_do_not_fit_are_refused() {
        let kinesis = kinesis();
        let code = |name, arn| kinesis.stream_name(name, arn).unwrap_err().code;
        let own = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
        assert_eq!(code(None, None), "ValidationException");
        assert_eq!(code(Some("a b"), None), "ValidationException");
        assert_eq!(code(Some("payments"), Some(own)), "InvalidArgumentException");
        let elsewhere = own.replace("us-east-1", "eu-west-1");
        assert_eq!(code(None, Some(&elsewhere)), "ResourceNotFoundException");
        for arn in [
            "",
            "orders",
            "arn:aws:kinesis",
            "arn:aws:sqs:us-east-1:000000000000:stream/orders",
        ] {
            assert_eq!(code(None, Some(arn)), "ValidationException", "{arn}");
        }
    }
}
