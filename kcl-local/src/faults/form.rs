//! Rules as data: the JSON in which a plan is read, changed and listed.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{EventFault, Fault, Interruption, Loss, Outcome, Rule, operations};
use crate::wire::Service;

/// Rules that are to take the place of a plan's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanForm {
    /// What the dice of rules begin with that have no seed of their own.
    #[serde(default)]
    pub seed: u64,
    /// The rules: the first one that is for a request and has faults left decides.
    #[serde(default)]
    pub rules: Vec<RuleForm>,
}

/// A [`Rule`] in JSON. Members that are missing restrict nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleForm {
    /// What the rule is called: letters, digits, `-`, `_` and `.`; a number is given to one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One operation, such as `"GetRecords"`, or a list of them.
    #[serde(default, skip_serializing_if = "Operations::is_empty")]
    pub operation: Operations,
    /// `"kinesis"`, `"dynamodb"`, `"cloudwatch"` or `"sts"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceForm>,
    /// The name or the ARN of a stream or of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The name of an index that is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The access key id that a client signs with; in process, its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Which share of the requests meets the fault, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What the dice begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How many requests pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// How many requests meet the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How long the rule lasts, in the machine's time.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
    /// How long a request is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// How long an answer is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_delay: Option<Span>,
    /// How many bytes of an answer arrive in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<NonZeroU64>,
    /// What becomes of the requests; without it they pass, after their delays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultForm>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultForm {
    /// It is refused with an error of any name.
    Error(ErrorForm),
    /// It is refused with `ProvisionedThroughputExceededException`.
    Throttle,
    /// It fails with status 500.
    InternalError,
    /// `GetRecords` is refused with `ExpiredIteratorException`.
    ExpiredIterator,
    /// It never arrives.
    DropRequest(LossForm),
    /// It takes effect, and the answer is lost.
    DropAnswer(LossForm),
    /// A read of DynamoDB that need not be consistent is answered with what was true so long ago.
    Stale(Span),
    /// `GetRecords` is answered without records, with this lag.
    EmptyPage(Span),
    /// A subscription ends, or falls silent, when it is so old.
    Interrupt(InterruptForm),
    /// It stands still until the rule ends or is removed, and goes on then.
    Freeze,
    /// The service cannot be reached.
    Cut,
    /// As AWS Fault Injection Service has it.
    #[serde(rename = "aws:kinesis:inject-api-provisioned-throughput-exception")]
    InjectProvisionedThroughput,
    /// As AWS Fault Injection Service has it.
    #[serde(rename = "aws:kinesis:inject-api-expired-iterator-exception")]
    InjectExpiredIterator,
    /// As AWS Fault Injection Service has it.
    #[serde(rename = "aws:fis:inject-api-internal-error")]
    InjectInternalError,
    /// As AWS Fault Injection Service has it.
    #[serde(rename = "aws:fis:inject-api-throttle-error")]
    InjectThrottle,
    /// As AWS Fault Injection Service has it.
    #[serde(rename = "aws:fis:inject-api-unavailable-error")]
    InjectUnavailable,
}

/// An error by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorForm {
    /// Such as `LimitExceededException`.
    pub code: String,
    /// The HTTP status; 500 if the name says that the service failed, and 400 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The text; that it was injected, otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How something is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossForm {
    /// The connection breaks at once.
    Reset,
    /// Nothing is heard any more.
    Hang,
}

/// How and when a subscription is interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterruptForm {
    /// How old the subscription is then.
    pub after: Span,
    /// What happens.
    pub how: HowForm,
}

/// What happens to a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowForm {
    /// The connection breaks.
    Cut,
    /// Nothing comes any more.
    Stall,
    /// It ends in order.
    End,
    /// It ends with the exception of this name.
    Exception(String),
}

/// A service, as rules call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceForm {
    /// Amazon Kinesis Data Streams.
    Kinesis,
    /// Amazon DynamoDB.
    DynamoDb,
    /// Amazon CloudWatch.
    CloudWatch,
    /// AWS Security Token Service.
    Sts,
}

/// One operation or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operations(pub Vec<String>);

/// A duration as people write it: `"200ms"`, `"1m 30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Operations {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Operations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => serializer.serialize_str(one),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Operations;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an operation, or a list of names")
            }
            fn visit_str<E: de::Error>(self, one: &str) -> Result<Operations, E> {
                operations::check(one).map_err(E::custom)?;
                Ok(Operations(vec![one.to_owned()]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut all: A) -> Result<Operations, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = all.next_element::<String>()? {
                    operations::check(&name).map_err(de::Error::custom)?;
                    names.push(name);
                }
                if names.is_empty() {
                    return Err(de::Error::custom(
                        "a list without operations is for none: leave it out for all",
                    ));
                }
                Ok(Operations(names))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"200ms\", \"5s\" or \"1m 30s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
                // What lasts longer than this lasts for ever, and timers have no room for it.
                (duration <= Duration::from_secs(10 * 366 * 24 * 60 * 60))
                    .then_some(Span(duration))
                    .ok_or_else(|| E::custom("a duration is ten years at most"))
            }
        }
        deserializer.deserialize_str(Written)
    }
}

impl From<LossForm> for Loss {
    fn from(loss: LossForm) -> Self {
        match loss {
            LossForm::Reset => Self::Reset,
            LossForm::Hang => Self::Hang,
        }
    }
}

impl From<ServiceForm> for Service {
    fn from(service: ServiceForm) -> Self {
        match service {
            ServiceForm::Kinesis => Self::Kinesis,
            ServiceForm::DynamoDb => Self::DynamoDb,
            ServiceForm::CloudWatch => Self::CloudWatch,
            ServiceForm::Sts => Self::Sts,
        }
    }
}

impl ErrorForm {
    fn fault(&self) -> Fault {
        let status = self.status.unwrap_or_else(|| match self.code.as_str() {
            "ServiceUnavailable" | "ServiceUnavailableException" => 503,
            code if code.starts_with("Internal") => 500,
            _ => 400,
        });
        let message = self.message.clone();
        Fault::new(Outcome::Respond {
            code: self.code.clone(),
            message: message.unwrap_or_else(|| "injected fault".to_owned()),
            status,
        })
    }
}

impl FaultForm {
    /// The operations that can meet it, if not all can.
    fn reach(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::ExpiredIterator | Self::InjectExpiredIterator | Self::EmptyPage(_) => Some(&["GetRecords"]),
            Self::InjectProvisionedThroughput => Some(&["GetRecords", "PutRecord", "PutRecords"]),
            Self::Stale(_) => Some(&["GetItem", "Query", "Scan"]),
            Self::Interrupt(_) => Some(&["SubscribeToShard"]),
            _ => None,
        }
    }

    /// What it does to a request; a freeze is the rule's.
    fn fault(&self) -> Fault {
        match self {
            Self::Error(error) => error.fault(),
            Self::Throttle | Self::InjectProvisionedThroughput => Fault::throttled(),
            Self::InternalError => Fault::internal_error(),
            Self::ExpiredIterator | Self::InjectExpiredIterator => {
                Fault::respond(400, "ExpiredIteratorException")
            }
            Self::DropRequest(loss) => Fault::drop_request((*loss).into()),
            Self::DropAnswer(loss) => Fault::drop_answer((*loss).into()),
            Self::Stale(age) => Fault::stale(age.0),
            Self::EmptyPage(behind) => Fault::empty_page(behind.0),
            Self::Interrupt(interrupt) => {
                let how = match &interrupt.how {
                    HowForm::Cut => Interruption::Cut,
                    HowForm::Stall => Interruption::Stall,
                    HowForm::End => Interruption::End,
                    HowForm::Exception(code) => Interruption::exception(code),
                };
                Fault::interrupted(interrupt.after.0, how)
            }
            Self::Freeze => Fault::none(),
            Self::Cut => Fault::unreachable(),
            Self::InjectInternalError => Fault::respond(500, "InternalFailure"),
            Self::InjectThrottle => Fault::respond(400, "ThrottlingException"),
            Self::InjectUnavailable => Fault::respond(503, "ServiceUnavailable"),
        }
    }

    /// What is wrong with the names and numbers in it.
    fn check(&self) -> Result<(), String> {
        let (code, status) = match self {
            Self::Error(error) => (&error.code, error.status),
            Self::Interrupt(InterruptForm {
                how: HowForm::Exception(code),
                ..
            }) => (code, None),
            _ => return Ok(()),
        };
        if !is_name(code, 128) {
            return Err("code is the name of an error, such as LimitExceededException".to_owned());
        }
        if status.is_some_and(|status| !(400..=599).contains(&status)) {
            return Err("status is that of an error: 400 to 599".to_owned());
        }
        Ok(())
    }
}

impl RuleForm {
    /// Checks what the members say together.
    ///
    /// # Errors
    /// A sentence on what is wrong, and what is allowed.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.name.as_deref().is_some_and(|name| !is_name(name, 64)) {
            return Err("name has 1 to 64 letters, digits, '-', '_' and '.'".to_owned());
        }
        if self
            .probability
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            return Err("probability is a share of the requests: 0 to 1".to_owned());
        }
        if self.count == Some(0) {
            return Err("a count of 0 meets nothing: leave the rule out".to_owned());
        }
        let delays = self.delay.is_some() || self.answer_delay.is_some() || self.bytes_per_second.is_some();
        if self.fault.is_none() && !delays {
            return Err("a rule needs a fault, a delay, an answer_delay or bytes_per_second".to_owned());
        }
        let Some(fault) = &self.fault else { return Ok(()) };
        fault.check()?;
        if let Some(reach) = fault.reach() {
            let stray = self
                .operation
                .0
                .iter()
                .find(|operation| !reach.contains(&operation.as_str()));
            if let Some(stray) = stray {
                return Err(format!(
                    "this fault is for {}, and not for {stray}",
                    reach.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The rule that this describes. `seed` is for dice that have none of their own.
    pub(super) fn rule(&self, seed: u64) -> Rule {
        let mut rule = Rule::any();
        let reach = self.fault.as_ref().and_then(FaultForm::reach);
        if self.operation.is_empty() {
            rule = reach
                .into_iter()
                .flatten()
                .fold(rule, |rule, one| rule.or_on(*one));
        } else {
            rule = self.operation.0.iter().fold(rule, Rule::or_on);
        }
        if let Some(service) = self.service {
            rule = rule.of(service.into());
        }
        if let Some(resource) = &self.resource {
            rule = rule.about(resource);
        }
        if let Some(index) = &self.index {
            rule = rule.reading(index);
        }
        if let Some(client) = &self.client {
            rule = rule.by(client);
        }
        if let Some(probability) = self.probability {
            rule = rule.chance(probability, self.seed.unwrap_or(seed));
        }
        if let Some(Span(lasting)) = self.lasting {
            rule = rule.lasting(lasting);
        }
        let mut fault = self.fault.as_ref().map_or_else(Fault::none, FaultForm::fault);
        if let Some(Span(delay)) = self.delay {
            fault.delay_before = delay;
        }
        if let Some(Span(delay)) = self.answer_delay {
            fault.delay_after = delay;
        }
        fault.bytes_per_second = self.bytes_per_second;
        rule = rule.skip(self.skip.unwrap_or(0)).fault(fault);
        rule = rule.times(self.count.unwrap_or(u64::MAX));
        match self.fault {
            Some(FaultForm::Cut) => rule.event(EventFault::interrupted(Interruption::Stall)),
            Some(FaultForm::Freeze) => rule.freeze(),
            _ => rule,
        }
    }
}

fn is_name(text: &str, longest: usize) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    (1..=longest).contains(&text.len()) && text.chars().all(allowed)
}
