//! Which stream a request means: by name, by ARN or by both.

use super::check::{Checks, Text, rules};
use crate::kinesis::engine::StreamLabel;
use crate::kinesis::{ApiError, Kinesis};

/// What a request says of the stream that it means.
///
/// The service has stream ids in its API and says that they are for later; they are checked and mean nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamRef<'a> {
    name: Option<&'a str>,
    arn: Option<&'a str>,
    id: Option<&'a str>,
}

impl<'a> StreamRef<'a> {
    pub(super) fn new(name: &'a Option<String>, arn: &'a Option<String>, id: &'a Option<String>) -> Self {
        Self {
            name: name.as_deref(),
            arn: arn.as_deref(),
            id: id.as_deref(),
        }
    }

    /// Checks what is given. One of name and ARN must be.
    pub(super) fn check(self, checks: &mut Checks) {
        checks.required("streamName", self.name.or(self.arn).as_ref());
        self.check_given(checks);
    }

    /// Checks what is given, which may be nothing.
    pub(super) fn check_given(self, checks: &mut Checks) {
        let mut text = |member, value, rule: &Text| checks.text(member, value, rule);
        text("streamName", self.name, &rules::NAME);
        text("streamARN", self.arn, &rules::STREAM_ARN);
        text("streamId", self.id, &rules::STREAM_ID);
    }

    pub(super) fn is_given(self) -> bool {
        self.name.or(self.arn).is_some()
    }
}

impl Kinesis {
    /// The ARN of a stream of this account and region.
    pub(super) fn stream_arn(&self, name: &str) -> String {
        let options = self.options();
        format!(
            "arn:aws:kinesis:{}:{}:stream/{name}",
            options.region, options.account_id
        )
    }

    /// A stream of this account as errors name it.
    pub(super) fn label(&self, name: &str) -> StreamLabel {
        StreamLabel::new(name, self.options().account_id.as_str().into())
    }

    /// The name of the stream that a request means, which was [checked](StreamRef::check).
    ///
    /// # Errors
    /// `ResourceNotFoundException` for an ARN of another account or region, `InvalidArgumentException` if name and ARN are
    /// of different streams.
    pub(super) fn stream_name<'a>(&self, stream: StreamRef<'a>) -> Result<&'a str, ApiError> {
        let arn_name = stream.arn.map(|arn| self.name_in_arn(arn)).transpose()?;
        match (stream.name, arn_name) {
            (Some(name), Some(arn_name)) if name != arn_name => Err(ApiError::invalid_argument(format!(
                "StreamName {name} and StreamARN with the name {arn_name} are different streams."
            ))),
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(ApiError::invalid_argument(
                "Neither StreamName nor StreamARN is given.",
            )),
        }
    }

    /// The name of the stream with this ARN.
    pub(super) fn name_in_arn<'a>(&self, arn: &'a str) -> Result<&'a str, ApiError> {
        self.resource_in_arn(arn)?
            .strip_prefix("stream/")
            .ok_or_else(|| ApiError::invalid_argument(format!("{arn} is not the ARN of a stream.")))
    }

    /// What an ARN names behind its account.
    pub(super) fn resource_in_arn<'a>(&self, arn: &'a str) -> Result<&'a str, ApiError> {
        let malformed = || ApiError::invalid_argument(format!("{arn} is not an ARN."));
        let mut parts = arn.splitn(6, ':').skip(3);
        let mut part = || parts.next().ok_or_else(malformed);
        let (region, account, resource) = (part()?, part()?, part()?);
        let options = self.options();
        if region != options.region || account != options.account_id {
            return Err(ApiError::client(
                "ResourceNotFoundException",
                format!(
                    "{arn} is not of region {} and account {}, which the request is for.",
                    options.region, options.account_id
                ),
            ));
        }
        Ok(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::kinesis::KinesisOptions;

    const OWN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

    fn named(name: Option<&str>, arn: Option<&str>) -> Result<String, ApiError> {
        let kinesis = Kinesis::new(Clock::system(), KinesisOptions::default());
        let stream = StreamRef { name, arn, id: None };
        kinesis.stream_name(stream).map(str::to_owned)
    }

    #[tokio::test]
    async fn a_stream_is_known_by_name_by_arn_and_by_both() {
        for (name, arn) in [
            (Some("orders"), None),
            (None, Some(OWN)),
            (Some("orders"), Some(OWN)),
        ] {
            assert_eq!(named(name, arn).as_deref(), Ok("orders"));
        }
    }

    #[tokio::test]
    async fn names_and_arns_that_do_not_fit_are_refused() {
        let code = |name, arn| named(name, arn).unwrap_err().code;
        assert_eq!(code(None, None), "InvalidArgumentException");
        assert_eq!(code(Some("payments"), Some(OWN)), "InvalidArgumentException");
        let elsewhere = OWN.replace("us-east-1", "eu-west-1");
        assert_eq!(code(None, Some(&elsewhere)), "ResourceNotFoundException");
        assert_eq!(
            code(None, Some("arn:aws:kinesis:us-east-1")),
            "InvalidArgumentException"
        );
    }
}
