//! What goes wrong between a client and the backend, and when.
//!
//! A [`FaultInjector`] is asked once per request, before anything else happens, and answers with a [`Fault`].
//! [`FaultScript`] is the one to use in a test; implement the trait for anything else.
//!
//! Each backend has a [`FaultPlan`] besides: rules as data, in JSON, that other processes read and change over HTTP while it
//! runs. What the plan has nothing for is left to the injector.

mod call;
mod events;
mod form;
mod freeze;
mod layers;
mod operations;
mod past;
mod plan;
mod rule;
mod script;

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

pub use call::Call;
pub use events::{Event, EventFault, Interruption};
pub use form::{
    ErrorForm, FaultForm, HowForm, InterruptForm, LossForm, Operations, PlanForm, RuleForm, ServiceForm, Span,
};
pub use freeze::Freeze;
pub(crate) use layers::Layers;
pub(crate) use past::{Past, eventually_consistent};
pub use plan::{FaultPlan, PlanError, PlannedRule};
pub use rule::Rule;
pub use script::{FaultScript, RuleId, RuleStatus};

/// Decides what happens to each request.
pub trait FaultInjector: fmt::Debug + Send + Sync {
    /// The fate of `call`. Called once per attempt, so a client's retry is decided anew.
    fn decide(&self, call: &Call<'_>) -> Fault;

    /// An answer, or a refusal, has come back to a client. Its request asked for `operation`. Of a subscription this is the
    /// beginning, without a body.
    fn answered(&self, client: &str, operation: &str, answer: &Response<Bytes>) {
        let _ = (client, operation, answer);
    }

    /// The fate of an event of a subscription. Called once for each, heartbeats and exceptions included.
    fn event(&self, event: &Event<'_>) -> EventFault {
        let _ = event;
        EventFault::none()
    }

    /// An event has come to a client.
    fn event_arrived(&self, event: &Event<'_>) {
        let _ = event;
    }

    /// Whether answers are to be kept for [`Outcome::Stale`]. Asked with each read.
    fn needs_past(&self) -> bool {
        false
    }
}

/// Nothing ever goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl FaultInjector for NoFaults {
    fn decide(&self, _: &Call<'_>) -> Fault {
        Fault::none()
    }
}

/// What happens to one request: a wait, an outcome, and another wait before the client hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How long the request is under way. The client may give up meanwhile; then it is never handled.
    pub delay_before: Duration,
    /// What becomes of it.
    pub outcome: Outcome,
    /// How long the answer, or the error, is under way. The client may give up on a request that took effect.
    pub delay_after: Duration,
    /// How many bytes of the answer arrive in a second; without it, it arrives whole. Of a subscription, each event arrives
    /// whole, when its bytes are there.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is handled and answered.
    Pass,
    /// The service refuses it, and nothing takes effect.
    Respond {
        /// The error's name, such as `ThrottlingException`.
        code: String,
        /// The error's text.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// It is answered with what was true so long ago, if it is a read of DynamoDB that may be (not strongly consistent,
    /// or of an index), and the same read was answered then. Otherwise it passes.
    Stale(Duration),
    /// If it is a `GetRecords`, it is answered without records, from where it stands: whoever reads on meets the records that
    /// are left out here. The service does so now and then. Otherwise it passes.
    EmptyPage {
        /// The lag that the answer tells.
        behind: Duration,
    },
    /// If it is a `SubscribeToShard` that succeeds, the subscription is interrupted when it is so old, or would be.
    /// Otherwise it passes.
    Interrupt {
        /// How long after the answer began.
        after: Duration,
        /// What happens then.
        how: Interruption,
    },
    /// It waits until it is let go on, and passes then. So do the events of a subscription.
    Freeze(Freeze),
    /// It never arrives.
    DropRequest(Loss),
    /// It is handled and takes effect, but the answer never arrives.
    DropAnswer(Loss),
}

/// How a client learns that its request or answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The connection breaks.
    #[error("the connection was reset (injected fault)")]
    Reset,
    /// The transport gives up waiting.
    #[error("the transport timed out (injected fault)")]
    TimedOut,
    /// It does not: only the client's own read, attempt or operation time-out ends the wait.
    #[error("no answer ever comes (injected fault)")]
    Hang,
}

impl Fault {
    /// The request is handled at once.
    pub const fn none() -> Self {
        Self::new(Outcome::Pass)
    }

    /// `outcome`, without any delay.
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            delay_before: Duration::ZERO,
            outcome,
            delay_after: Duration::ZERO,
            bytes_per_second: None,
        }
    }

    /// The service refuses with `code` and an HTTP status.
    pub fn respond(status: u16, code: impl Into<String>) -> Self {
        let message = String::from("injected fault");
        Self::new(Outcome::Respond {
            code: code.into(),
            message,
            status,
        })
    }

    /// The service throttles: `ProvisionedThroughputExceededException`, which both services answer.
    pub fn throttled() -> Self {
        Self::respond(400, "ProvisionedThroughputExceededException")
    }

    /// The service fails: an `InternalServerError` with status 500.
    pub fn internal_error() -> Self {
        Self::respond(500, "InternalServerError")
    }

    /// A replica or an index lags behind by `age`.
    pub const fn stale(age: Duration) -> Self {
        Self::new(Outcome::Stale(age))
    }

    /// A read is answered without records, with this lag.
    pub const fn empty_page(behind: Duration) -> Self {
        Self::new(Outcome::EmptyPage { behind })
    }

    /// A subscription is interrupted when it is so old.
    pub const fn interrupted(after: Duration, how: Interruption) -> Self {
        Self::new(Outcome::Interrupt { after, how })
    }

    /// The request never arrives.
    pub const fn drop_request(loss: Loss) -> Self {
        Self::new(Outcome::DropRequest(loss))
    }

    /// The request takes effect, and its answer is lost.
    pub const fn drop_answer(loss: Loss) -> Self {
        Self::new(Outcome::DropAnswer(loss))
    }

    /// No connection can be made: the SDK's default connect time-out of 3.1 s passes, then the transport gives up.
    pub fn unreachable() -> Self {
        Self::drop_request(Loss::TimedOut).after(Duration::from_millis(3_100))
    }

    /// The same, with the request under way for `delay` first.
    pub fn after(self, delay: Duration) -> Self {
        Self {
            delay_before: delay,
            ..self
        }
    }

    /// The same, with the answer's body coming over a link of so many bytes per second.
    pub fn over_link(self, bytes_per_second: NonZeroU64) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second),
            ..self
        }
    }

    /// The same, with the answer under way for `delay`.
    pub fn answered_after(self, delay: Duration) -> Self {
        Self {
            delay_after: delay,
            ..self
        }
    }
}

impl Default for Fault {
    fn default() -> Self {
        Self::none()
    }
}
