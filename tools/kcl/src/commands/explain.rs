//! `kcl explain`: who has a shard, since when, why it does not move, and what the leader would do next.

use std::time::{Duration, UNIX_EPOCH};

use kcl_lease::{Condition, JudgedLease, Lease, LeaseChange, LeaseKey, PlannedMove, Standing, Timers};
use serde::Serialize;

use crate::arguments::ExplainArguments;
use crate::failure::{Failure, Status};
use crate::screen::{Ink, Line, Screen, ago, at_millis, date, span};
use crate::table::findings::{Finding, findings};
use crate::table::{Kind, Look, Table, options_of, watch};

pub(super) async fn run(
    table: &Table,
    arguments: &ExplainArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let key = &arguments.shard;
    let mut watched = watch(table, &arguments.watching, screen).await?;
    let look = &watched.last;
    let Some(lease) = look.lease(key) else {
        return no_such_lease(look, key);
    };
    let options = options_of(look, &arguments.watching);
    let timers = Timers::of(options.failover_time);
    let judged = watched.judged(key);
    let plan = watched.forecast.plan();
    let explained = explain(
        &Known {
            look,
            lease,
            judged: judged.as_ref(),
            watched_for: watched.watched_for,
            timers,
            hand_off_timeout: options.hand_off_timeout,
        },
        &plan,
    );
    let needs_attention = explained.needs_attention;
    if screen.json {
        screen.report(&explained, false)?;
    } else {
        screen.line(Line::of(Ink::Strong, key.to_string()))?;
        for said in &explained.said {
            let about = format!("{:11}", said.about);
            screen.line(Line::of(Ink::Faint, about).and(Ink::Plain, said.text.as_str()))?;
        }
    }
    Ok(Status::attention_if(needs_attention))
}

/// There may be a row of that key all the same.
fn no_such_lease(look: &Look, key: &LeaseKey) -> Result<Status, Failure> {
    let row = look
        .snapshot
        .unreadable
        .iter()
        .find(|row| row.key == key.as_str());
    let similar = look
        .snapshot
        .leases
        .iter()
        .filter(|lease| lease.key.as_str().ends_with(key.as_str()))
        .map(|lease| lease.key.to_string())
        .take(5);
    let similar: Vec<_> = similar.collect();
    Err(Failure::Refused(match row {
        Some(row) => format!(
            "the row {key} cannot be read as a lease: {}. Nobody is given it until it is corrected; if it is deleted, the leader makes \
             it anew",
            row.problem
        ),
        None if similar.is_empty() => format!(
            "the table has no lease {key}: the shard was never seen, or was processed to its end and cleaned up. `kcl list` shows what \
             there is"
        ),
        None => format!(
            "the table has no lease {key}; did you mean {}?",
            similar.join(", ")
        ),
    }))
}

/// What is said of a shard.
#[derive(Debug, Serialize)]
struct Explanation {
    lease: Lease,
    kind_of_owner: Option<Kind>,
    standing: Option<Standing>,
    needs_attention: bool,
    said: Vec<Said>,
    findings: Vec<Finding>,
}

/// A sentence about something.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Said {
    about: &'static str,
    text: String,
}

/// What is known of a shard.
struct Known<'a> {
    look: &'a Look,
    lease: &'a Lease,
    judged: Option<&'a JudgedLease>,
    watched_for: Duration,
    timers: Timers,
    hand_off_timeout: Duration,
}

fn explain(known: &Known<'_>, plan: &[PlannedMove]) -> Explanation {
    let Known {
        look, lease, judged, ..
    } = known;
    let mut said = Vec::new();
    let mut say = |about, text| said.push(Said { about, text });
    say("owner", known.owner());
    if let Some(since) = known.since() {
        say("since", since);
    }
    if let Some(hand_off) = known.hand_off() {
        say("hand-off", hand_off);
    }
    say("checkpoint", known.checkpoint());
    let parents = known.parents();
    if let Some(parents) = &parents {
        say("parents", parents.text.clone());
    }
    if let Some(to) = &lease.rewind_to {
        say(
            "reset",
            format!(
                "it is to be processed anew from {to}, by whoever begins with it next; who has it gives it up. Java workers do not heed it"
            ),
        );
    }
    if let Some(since) = lease.paused_since {
        let at = at_millis(since);
        say(
            "paused",
            format!(
                "since {} ({}), whoever has it; `kcl resume {}` ends that. Java workers do not heed it",
                date(at),
                ago(at, look.at),
                lease.key
            ),
        );
    }
    if lease.owner_switches_since_checkpoint > 1 {
        say(
            "switches",
            format!(
                "{} changes of owner since the last checkpoint: whoever has it seems not to get on with it",
                lease.owner_switches_since_checkpoint
            ),
        );
    }
    let failing: Vec<_> = look
        .snapshot
        .workers
        .iter()
        .filter(|row| row.trouble.failing.contains(&lease.key))
        .map(|row| row.id.to_string())
        .collect();
    if !failing.is_empty() {
        let why = match failing.len() {
            1 => "it is moved to another worker, if one can take it",
            _ => {
                "so it is not their fault, and it stays where it is: look at the record behind the checkpoint"
            }
        };
        say(
            "failing",
            format!("it failed for long at {}: {why}", failing.join(", ")),
        );
    }
    if let Some(why) = known.why_it_stands() {
        say("stands", why);
    }
    let next = known.next(plan);
    say("next", next);
    let all = findings(look);
    for found in &all {
        say("table", found.text.clone());
    }
    let standing = judged.map(|judged| judged.standing);
    let is_stuck = matches!(
        standing,
        Some(Standing::Unowned | Standing::Expired | Standing::HandOffOverdue)
    );
    Explanation {
        lease: (*lease).clone(),
        kind_of_owner: lease.actual_owner().map(|owner| look.kind(owner)),
        standing,
        needs_attention: is_stuck || !failing.is_empty() || lease.paused_since.is_some(),
        said,
        findings: all,
    }
}

impl Known<'_> {
    fn owner(&self) -> String {
        let Some(owner) = self.lease.actual_owner() else {
            return match self.lease.has_ended() {
                true => "nobody, and nobody is needed: the shard is processed to its end".to_owned(),
                false => "nobody".to_owned(),
            };
        };
        let kind = match self.look.kind(owner) {
            Kind::Rust => "a Rust worker",
            Kind::Java => "a Java worker",
            Kind::Unknown => "a worker that has no row in the table",
        };
        let leads = match self.look.leader() == Some(owner) {
            true => ", which leads the fleet",
            false => "",
        };
        let row = self.look.worker(owner);
        let reported = match row.map(Look::reported_at) {
            Some(Some(at)) => format!("; it reported {}", ago(at, self.look.at)),
            _ => String::new(),
        };
        let condition = match row.map(|row| row.trouble.condition) {
            _ if row.is_some_and(|row| row.drained_since.is_some()) => {
                "; it is drained, so that its shards go to others"
            }
            Some(Condition::Ailing) => {
                "; it says that all its work fails, for some time, and is given nothing more"
            }
            Some(Condition::Unfit) => {
                "; it says that all its work fails, for long, so that its shards go to others"
            }
            Some(Condition::OnTrial) => "; it was unfit, and is being tried with one shard",
            _ => "",
        };
        format!("{owner}, {kind}{leads}{reported}{condition}")
    }

    /// An owner of ours lifts the counter to the present time when it begins, and each write adds one.
    fn since(&self) -> Option<String> {
        const PLAUSIBLE: u64 = 1_500_000_000_000;
        let owner = self.lease.actual_owner()?;
        if self.lease.has_ended() {
            return None;
        }
        let process = self.lease.process.as_ref();
        if !process.is_some_and(|process| process.is_of(owner)) {
            let text = match self.look.kind(owner) {
                Kind::Rust => "it has not begun with it yet",
                Kind::Java | Kind::Unknown => "not known: Java workers leave no trace of when they began",
            };
            return Some(text.to_owned());
        }
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(self.lease.counter))?;
        let is_told = self.lease.counter > PLAUSIBLE && at <= self.look.at + Duration::from_secs(3_600);
        Some(match is_told {
            true => format!(
                "about {} ({}), or a little before: the counter was lifted to the time then, and each write has added a millisecond",
                date(at),
                ago(at, self.look.at)
            ),
            false => "not known: the counter was above the time already when it began".to_owned(),
        })
    }

    fn hand_off(&self) -> Option<String> {
        let (next, processor) = (self.lease.owner.as_ref()?, self.lease.checkpoint_owner.as_ref()?);
        let limit = self.hand_off_timeout + self.timers.failover_time();
        let overdue = match self.judged.map(|judged| judged.standing) {
            Some(Standing::HandOffOverdue) => "; that is over, and the leader ends it",
            _ => "",
        };
        Some(format!(
            "{processor} is asked to finish and to give it to {next}. It learns of that with its next renewal, within {}. After {} at the \
             latest the leader ends it{overdue}",
            span(self.timers.renewal()),
            span(limit)
        ))
    }

    fn checkpoint(&self) -> String {
        use kcl_lease::Checkpoint;
        let at = match &self.lease.checkpoint {
            Checkpoint::ShardEnd => "the end of the shard".to_owned(),
            Checkpoint::TrimHorizon => "nothing yet: it begins with the oldest record".to_owned(),
            Checkpoint::Latest => match self.lease.reading_since {
                Some(millis) => {
                    let at = at_millis(millis);
                    format!(
                        "nothing yet: it began with the records after {} (Java workers: with those after they begin)",
                        date(at)
                    )
                }
                None => {
                    "nothing yet: it begins with the records that are put after its owner begins".to_owned()
                }
            },
            Checkpoint::AtTimestamp => {
                "nothing yet: it begins at the time that the application is configured with".to_owned()
            }
            position => format!("{position}"),
        };
        match &self.lease.pending_checkpoint {
            Some(pending) => format!("{at}; prepared: {}", pending.checkpoint),
            None => at,
        }
    }

    fn parents(&self) -> Option<Said> {
        let open: Vec<_> = self
            .lease
            .parents
            .iter()
            .filter(|parent| {
                let key = self.key_beside(parent);
                self.look.lease(&key).is_some_and(|parent| !parent.has_ended())
            })
            .cloned()
            .collect();
        let text = match (self.lease.parents.is_empty(), open.is_empty()) {
            (true, _) => return None,
            (false, true) => "all are processed to their ends".to_owned(),
            (false, false) => format!(
                "it waits: {} {} not processed to the end yet, and what is in there comes first",
                open.join(" and "),
                if open.len() == 1 { "is" } else { "are" }
            ),
        };
        Some(Said {
            about: "parents",
            text,
        })
    }

    /// The key of the lease of another shard of the same stream.
    fn key_beside(&self, shard: &str) -> LeaseKey {
        match &self.lease.stream_shard {
            Some(named) => LeaseKey::from(format!("{}:{shard}", named.stream)),
            None => LeaseKey::from(shard),
        }
    }

    fn why_it_stands(&self) -> Option<String> {
        let judged = self.judged?;
        let still = span(judged.still_for);
        match judged.standing {
            Standing::Ended => None,
            Standing::Unowned => Some(match self.look.leader() {
                Some(leader) => format!(
                    "nobody processes it. {leader} leads and gives such shards away with each of its scans, if there is a worker that may \
                     have one more"
                ),
                None => "nobody processes it, and nobody leads who would give it to a worker".to_owned(),
            }),
            Standing::Expired => Some(format!(
                "its owner has written nothing for {still}, which is more than the fail-over time of {}: it is as good as nobody's",
                span(self.timers.failover_time())
            )),
            Standing::Live if self.watched_for.is_zero() => {
                Some("it was looked at once, which does not tell whether its owner lives".to_owned())
            }
            Standing::Live if judged.has_begun == Some(false) => Some(format!(
                "its owner has not begun with it, {still} after it was given it"
            )),
            Standing::Live if judged.still_for >= self.watched_for => Some(format!(
                "its owner wrote nothing while it was watched, for {still}: if that goes on it expires after {}",
                span(self.timers.failover_time())
            )),
            _ => None,
        }
    }

    fn next(&self, plan: &[PlannedMove]) -> String {
        let planned = plan.iter().find(|planned| planned.lease.key == self.lease.key);
        let Some(planned) = planned else {
            return match self.judged.map(|judged| judged.standing) {
                Some(Standing::Ended) => {
                    "its lease is deleted when the leases of its children have begun to be processed"
                        .to_owned()
                }
                Some(Standing::Unowned | Standing::Expired) => {
                    "no worker may be given it: none is alive and well, or all have as many as they may have"
                        .to_owned()
                }
                Some(Standing::HandOff | Standing::HandOffOverdue) => {
                    "the leader leaves the hand-off to its owners".to_owned()
                }
                _ => "the leader leaves it where it is".to_owned(),
            };
        };
        let to = planned.to.as_ref().map(ToString::to_string).unwrap_or_default();
        match &planned.change {
            LeaseChange::Assign { .. } => format!("the leader gives it to {to} at once"),
            LeaseChange::BeginHandOff { .. } => {
                format!(
                    "the leader asks its owner to hand it to {to}, for the sake of balance or because its owner cannot process it"
                )
            }
            LeaseChange::CancelHandOff => {
                format!("the leader takes the hand-off back: {to} keeps it, as the next owner is gone")
            }
            _ => "the leader changes it".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kcl_core::FleetOptions;
    use kcl_lease::{Checkpoint, Forecast, LeaderLock, ProcessId, TableSnapshot, WorkerRow};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn told(leases: Vec<Lease>, key: &str) -> (String, bool) {
        let mut row = WorkerRow::new("a", NOW - 2);
        row.report_period = Some(Duration::from_secs(3));
        let look = Look {
            snapshot: TableSnapshot::new(leases, vec![row]),
            lock: Ok(Some(LeaderLock::new("a".into(), Duration::from_secs(5), "v"))),
            at: UNIX_EPOCH + Duration::from_secs(NOW),
        };
        let mut forecast = Forecast::new(&FleetOptions::default());
        forecast.observe(&look.snapshot, NOW);
        let key = LeaseKey::from(key);
        let judged = forecast.leases().into_iter().find(|it| it.key == key);
        let known = Known {
            look: &look,
            lease: look.lease(&key).expect("there"),
            judged: judged.as_ref(),
            watched_for: Duration::from_secs(11),
            timers: Timers::of(Duration::from_secs(10)),
            hand_off_timeout: Duration::from_secs(30),
        };
        let explained = explain(&known, &forecast.plan());
        let said: Vec<_> = explained
            .said
            .iter()
            .map(|said| format!("{}: {}", said.about, said.text))
            .collect();
        (said.join("\n"), explained.needs_attention)
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_without_owner_is_given_to_whoever_lives() {
        let (text, needs_attention) = told(vec![Lease::new("s0", Checkpoint::TrimHorizon)], "s0");
        assert!(needs_attention);
        for part in [
            "owner: nobody",
            "checkpoint: nothing yet: it begins with the oldest record",
            "a leads and gives such shards away",
            "next: the leader gives it to a at once",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_waits_for_its_parents_and_its_owner_is_known_since_it_began() {
        let owned = |key: &str| {
            let mut lease = Lease::new(key, Checkpoint::TrimHorizon);
            lease.owner = Some("a".into());
            lease.process = Some(ProcessId::of(&"a".into(), "p"));
            lease.counter = (NOW - 3_600) * 1_000;
            lease
        };
        let child = owned("s1").with_parents(["s0"]);
        let (text, _) = told(vec![owned("s0"), child], "s1");
        for part in [
            "owner: a, a Rust worker, which leads the fleet; it reported 2.0 s ago",
            "since: about 2027-01-15T07:00:00Z (1 h ago)",
            "parents: it waits: s0 is not processed to the end yet",
            "next: the leader leaves it where it is",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_of_another_century_is_explained_without_a_panic() {
        let mut lease = Lease::new("s0", Checkpoint::Latest);
        lease.owner = Some("a".into());
        lease.process = Some(ProcessId::of(&"a".into(), "p"));
        lease.counter = u64::MAX;
        lease.reading_since = Some(u64::MAX);
        lease.paused_since = Some(u64::MAX);
        let (text, needs_attention) = told(vec![lease], "s0");
        assert!(needs_attention && text.contains("since: not known"), "{text}");
    }
}
