//! The index by which owners find their leases, for as long as it cannot be used.

use kcl_local::faults::{Call, Fault};
use tokio::time::Instant;

/// Until when it cannot be used, and what DynamoDB says of it.
#[derive(Debug, Default)]
pub(super) struct Index(Option<(Instant, &'static str)>);

impl Index {
    /// It is missing, or being built, until then.
    pub(super) fn lose(&mut self, until: Instant, is_being_built: bool) {
        let says = match is_being_built {
            true => "ValidationException",
            false => "ResourceNotFoundException",
        };
        self.0 = Some((until, says));
    }

    /// What a request meets while it is lost.
    pub(super) fn meets(&self, call: &Call<'_>) -> Option<Fault> {
        let (_, says) = self.0.filter(|(until, _)| *until > Instant::now())?;
        (call.operation == "Query").then(|| Fault::respond(400, says))
    }
}
