//! The condition that one worker's network is in.

use std::time::Duration;

use kcl_local::faults::{Call, EventFault, Fault, Interruption, Loss};
use kcl_local::wire::Service;
use tokio::time::Instant;

/// What comes over a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Cut off from the lease table.
    NoDynamoDb,
    /// Cut off from the stream.
    NoKinesis,
    /// Cut off from both.
    Neither,
    /// Requests arrive and take effect, answers are lost.
    OneWay,
    /// Every request takes this long.
    Slow(Duration),
    /// Every request is throttled.
    Throttled,
    /// Reads of the lease table that need not be consistent lag by this.
    Lagging(Duration),
    /// Until then it may not read shards.
    ReadsDenied(Instant),
    /// Until then it may not query the owner index.
    IndexDenied(Instant),
    /// Until then its runtime does nothing, and its leases are renewed on another thread.
    Blocked(Instant),
}

/// What one worker suffers from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// The whole process stands still until then.
    pub(super) frozen: Option<Instant>,
    /// No request reaches DynamoDB.
    no_dynamodb: bool,
    /// No request reaches Kinesis.
    no_kinesis: bool,
    /// No answer comes back.
    no_answers: bool,
    /// Every request takes this long.
    pub(super) slow: Duration,
    /// Every request is throttled.
    throttled: bool,
    /// Its reads of the lease table are answered by replicas and indexes that lag by this.
    lag: Duration,
    /// It may not read shards until then.
    reads_denied: Option<Instant>,
    /// It may not query the owner index until then.
    index_denied: Option<Instant>,
    /// Its runtime does nothing until then.
    blocked: Option<Instant>,
    /// The process was killed: nothing of it may reach anything.
    pub(super) dead: bool,
}

impl Condition {
    pub(super) fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::NoDynamoDb => self.no_dynamodb = true,
            Trouble::NoKinesis => self.no_kinesis = true,
            Trouble::Neither => {
                self.no_dynamodb = true;
                self.no_kinesis = true;
            }
            Trouble::OneWay => self.no_answers = true,
            Trouble::Slow(delay) => self.slow = delay,
            Trouble::Throttled => self.throttled = true,
            Trouble::Lagging(lag) => self.lag = lag,
            Trouble::ReadsDenied(until) => self.reads_denied = self.reads_denied.max(Some(until)),
            Trouble::IndexDenied(until) => self.index_denied = self.index_denied.max(Some(until)),
            Trouble::Blocked(until) => self.blocked = self.blocked.max(Some(until)),
        }
    }

    /// Ends what does not end by itself.
    pub(super) fn heal(&mut self) {
        *self = Self {
            frozen: self.frozen,
            reads_denied: self.reads_denied,
            index_denied: self.index_denied,
            blocked: self.blocked,
            dead: self.dead,
            ..Self::default()
        };
    }

    /// Ends everything but death.
    pub(super) fn heal_wholly(&mut self) {
        *self = Self {
            dead: self.dead,
            ..Self::default()
        };
    }

    /// Until when its processors stand still, if they do.
    pub(super) fn stands_until(&self) -> Option<Instant> {
        let until = self.frozen.max(self.blocked)?;
        (until > Instant::now()).then_some(until)
    }

    /// Whether it is denied to read.
    pub(super) fn may_not_read(&self) -> bool {
        self.reads_denied.is_some_and(|until| until > Instant::now())
    }

    /// What an event of one of its subscriptions meets.
    pub(super) fn meets_event(&self) -> Option<EventFault> {
        if self.dead || self.no_kinesis || self.no_answers {
            Some(EventFault::interrupted(Interruption::Stall))
        } else if let Some(until) = self.stands_until() {
            Some(EventFault::delayed(until - Instant::now()))
        } else if self.may_not_read() {
            let denied = Interruption::exception("KMSAccessDeniedException");
            Some(EventFault::interrupted(denied))
        } else if !self.slow.is_zero() {
            Some(EventFault::delayed(self.slow))
        } else {
            None
        }
    }

    /// What a request of a process meets that is not frozen.
    pub(super) fn meets(&self, call: &Call<'_>) -> Option<Fault> {
        let now = Instant::now();
        let lasts = |until: Option<Instant>| until.filter(|until| *until > now);
        let is_kinesis = call.service == Some(Service::Kinesis);
        let is_cut_off = if is_kinesis {
            self.no_kinesis
        } else {
            self.no_dynamodb
        };
        let is_read = matches!(
            call.operation,
            "GetRecords" | "GetShardIterator" | "SubscribeToShard"
        );
        let is_denied = is_read && lasts(self.reads_denied).is_some()
            || call.operation == "Query" && lasts(self.index_denied).is_some();
        if is_cut_off {
            Some(Fault::unreachable())
        } else if let Some(until) = lasts(self.blocked).filter(|_| is_kinesis) {
            Some(Fault::none().after(until - now))
        } else if self.no_answers {
            Some(Fault::drop_answer(Loss::Hang))
        } else if self.throttled {
            Some(Fault::throttled())
        } else if is_denied {
            Some(Fault::respond(400, "AccessDeniedException"))
        } else if !self.lag.is_zero() && !is_kinesis {
            Some(Fault::stale(self.lag))
        } else {
            None
        }
    }
}
