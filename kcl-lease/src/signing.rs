//! Calls that AWS does not believe, or that cannot be signed or addressed at all: one set of words for every service.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;

/// What is wrong with how this process calls AWS, whatever it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SigningProblem {
    /// No region is configured.
    NoRegion,
    /// No credentials are configured.
    NoCredentials,
    /// The credentials could not be fetched from where they come from.
    CredentialsUnavailable,
    /// The credentials were valid once.
    CredentialsExpired,
    /// AWS does not know the credentials.
    CredentialsRefused,
    /// This machine's clock differs from that of AWS by more than AWS tolerates, five minutes in most cases.
    ClockWrong,
}

impl SigningProblem {
    /// By the code and the message of the answer of any service of AWS.
    pub fn of_answer(code: &str, message: &str) -> Option<Self> {
        // Some endpoints prefix the code with a namespace.
        let code = code.rsplit('#').next().unwrap_or(code);
        match code {
            "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => Some(Self::ClockWrong),
            // "Signature expired: 20260101T000000Z is now earlier than ...", "Signature not yet current: ..."
            "InvalidSignatureException" | "SignatureDoesNotMatch" | "IncompleteSignatureException"
                if message.contains("Signature expired") || message.contains("not yet current") =>
            {
                Some(Self::ClockWrong)
            }
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
                Some(Self::CredentialsExpired)
            }
            "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "InvalidToken"
            | "NotAuthorized" => Some(Self::CredentialsRefused),
            _ => None,
        }
    }

    /// By an error of the SDK and its sources, for a call that was not answered.
    pub fn of_unsent(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            match error.downcast_ref::<CredentialsError>() {
                Some(
                    CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_),
                ) => {
                    return Some(Self::NoCredentials);
                }
                Some(_) => return Some(Self::CredentialsUnavailable),
                None => {}
            }
            // The SDK has no types for these.
            let text = error.to_string();
            if text.contains("Missing Region") {
                return Some(Self::NoRegion);
            }
            if text.contains("no identity resolver") || text.contains("select an auth scheme") {
                return Some(Self::NoCredentials);
            }
            next = error.source();
        }
        None
    }

    /// Stable name of the problem, for alarms.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRegion => "region-missing",
            Self::NoCredentials => "credentials-missing",
            Self::CredentialsUnavailable => "credentials-unavailable",
            Self::CredentialsExpired => "credentials-expired",
            Self::CredentialsRefused => "credentials-refused",
            Self::ClockWrong => "clock-wrong",
        }
    }

    /// Whether it lasts until the process starts again with another configuration.
    pub fn is_lasting(self) -> bool {
        match self {
            Self::NoRegion | Self::NoCredentials | Self::CredentialsRefused => true,
            Self::CredentialsUnavailable | Self::CredentialsExpired | Self::ClockWrong => false,
        }
    }

    /// What is wrong, and what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::NoRegion => {
                "no AWS region is configured: set AWS_REGION, or a region in the profile or in the SdkConfig"
            }
            Self::NoCredentials => {
                "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the \
                 machine, task or pod a role"
            }
            Self::CredentialsUnavailable => {
                "the AWS credentials cannot be fetched; it is repeated; look at their provider (instance metadata, the task's \
                 or pod's role, STS, SSO)"
            }
            Self::CredentialsExpired => {
                "the AWS credentials have expired; it goes on as soon as their provider has new ones; those in environment \
                 variables need a restart"
            }
            Self::CredentialsRefused => {
                "AWS does not know these credentials: check the access key, its secret, and whether they are of this \
                 partition and account"
            }
            Self::ClockWrong => {
                "the clock of this machine is off, so that AWS refuses what it signs: look at its time synchronization (NTP)"
            }
        }
    }
}

impl fmt::Display for SigningProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

/// An error's message and those of its sources, each once: what a line of a log has room for.
pub fn brief(error: &(dyn StdError + 'static)) -> String {
    const MOST: usize = 500;
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = error.source();
    }
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_code_and_message() {
        use SigningProblem::*;
        for (code, message, problem) in [
            (
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z (20260101T002000Z - 5 min.)",
                Some(ClockWrong),
            ),
            (
                "InvalidSignatureException",
                "Signature not yet current: 20260101T010000Z is still later than 20260101T000500Z",
                Some(ClockWrong),
            ),
            (
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
                Some(CredentialsRefused),
            ),
            ("RequestTimeTooSkewed", "", Some(ClockWrong)),
            (
                "ExpiredTokenException",
                "The security token included in the request is expired",
                Some(CredentialsExpired),
            ),
            (
                "com.amazon.coral.service#UnrecognizedClientException",
                "",
                Some(CredentialsRefused),
            ),
            ("AccessDeniedException", "is not authorized to perform", None),
            ("ThrottlingException", "", None),
        ] {
            assert_eq!(
                SigningProblem::of_answer(code, message),
                problem,
                "{code}: {message}"
            );
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("dispatch failure")]
    struct Dispatch(#[source] CredentialsError);

    #[test]
    fn credentials_that_are_not_there_are_found_among_the_sources() {
        let missing = Dispatch(CredentialsError::not_loaded(
            "no providers in chain provided credentials",
        ));
        assert_eq!(
            SigningProblem::of_unsent(&missing),
            Some(SigningProblem::NoCredentials)
        );
        let unreachable = Dispatch(CredentialsError::provider_error("503"));
        let problem = SigningProblem::of_unsent(&unreachable).expect("one");
        assert!(!problem.is_lasting(), "{problem}");
        assert_eq!(SigningProblem::of_unsent(&fmt::Error), None);
    }

    #[test]
    fn a_chain_is_told_once_and_in_short() {
        let missing = Dispatch(CredentialsError::not_loaded("x".repeat(3_000)));
        let text = brief(&missing);
        assert!(
            text.starts_with("dispatch failure: ") && text.len() < 600,
            "{text}"
        );
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Outer(#[source] fmt::Error);
        assert_eq!(brief(&Outer(fmt::Error)), Outer(fmt::Error).to_string());
    }
}
