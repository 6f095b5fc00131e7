//! Candidacy and leadership: observe, plan, write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::moves::{MOVING, WritePace, Written, write_moves};
use super::scan_pace::ScanPace;
use super::shared::Shared;
use crate::health::Activity;
use crate::ids::WorkerId;
use crate::leader::{Candidacy, Election, ElectionOptions, HEARTBEAT, LeaderNotes, Leadership};
use crate::metrics::{Counter, Gauge, Histogram, Labels, Metrics};
use crate::plan::{
    BalanceLimits, Balancer, FleetView, Observer, ObserverOptions, Sighting, Standstills, disagreement,
    disagreement_with_leader, leftovers, name_heirs,
};
use crate::store::{StoreError, UnreadableRow, WorkerRow};

const COMPETING: Activity = Activity {
    code: "election-failing",
    doing: "looking at the leader lock",
};
const ASSIGNING: Activity = Activity {
    code: "scan-failing",
    doing: "scanning the lease table as leader",
};
const READING_ROWS: Activity = Activity {
    code: "rows-unreadable",
    doing: "reading the rows of the lease table",
};
/// So many unreadable rows are named.
const NAMED_ROWS: usize = 3;

/// The code of the problem that workers have different fail-over times.
const DISAGREEMENT: &str = "failover-times-differ";

/// A candidate's acquaintance with the leases while the leader may be dead.
struct Watch {
    observer: Observer,
    /// When the read budget allows the next scan.
    due: Instant,
    pace: ScanPace,
}

/// Competes for the lock, and leads while it is held. Ends when the worker resigns.
pub(super) async fn keep_leading(shared: &Shared) {
    let timers = ElectionOptions::of(shared.options.timers());
    let mut election = Election::new(shared.me().clone());
    let mut watch = None;
    while !shared.resigning.is_cancelled() {
        let result = tokio::select! {
            biased;
            () = shared.resigning.cancelled() => return,
            result = compete(shared, &timers, &mut election, &mut watch) => result,
        };
        let mut pause = shared.env.jittered(timers.heartbeat, 0.1);
        match result {
            Ok(None) => shared.health.succeeded(COMPETING),
            Ok(Some(leadership)) => {
                shared.health.succeeded(COMPETING);
                // The lock is not refreshed meanwhile.
                let is_said = say_which_protocol(shared).await;
                let observer = watch.take().map(|watch: Watch| watch.observer);
                let outcome = lead(shared, leadership, observer, &election, is_said).await;
                election = Election::new(shared.me().clone());
                if outcome == Outcome::SteppedDown {
                    // Somebody whose scans work should get the chance.
                    pause = timers.duration * 2;
                }
            }
            Err(error) => shared.health.failed(COMPETING, &error),
        }
        tokio::select! {
            biased;
            () = shared.resigning.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// One look at the lock; the leadership if it was taken.
async fn compete(
    shared: &Shared,
    timers: &ElectionOptions,
    election: &mut Election,
    watch: &mut Option<Watch>,
) -> Result<Option<Leadership>, StoreError> {
    let lock = shared.store.read_leader().await?;
    let (ours, failover_time) = (timers.duration, shared.options.failover_time);
    let problem = lock
        .as_ref()
        .and_then(|lock| disagreement_with_leader(lock, ours, failover_time));
    tell_disagreement(shared, problem);
    let candidacy = election.consider(lock, Instant::now());
    shared.fleet.lock().unwrap_or_else(PoisonError::into_inner).leader = election.leader().cloned();
    match candidacy {
        Candidacy::Wait => {
            *watch = None;
            Ok(None)
        }
        Candidacy::Watch => {
            let watch = watch.get_or_insert_with(|| Watch {
                observer: new_observer(shared),
                due: Instant::now(),
                pace: ScanPace::default(),
            });
            if Instant::now() >= watch.due {
                let snapshot = match shared.store.scan().await {
                    Ok(snapshot) => snapshot,
                    Err(error) => {
                        let pause = watch.pace.after_failure(&shared.options, error.kind());
                        watch.due = Instant::now() + pause.saturating_sub(timers.heartbeat / 2);
                        return Err(error);
                    }
                };
                let (now, sighting) = (Instant::now(), election.sighting());
                watch
                    .observer
                    .observe(&snapshot, now, shared.epoch_seconds(), sighting.as_ref());
                // Looks come once in a heartbeat, give or take: what is due at about the next one is not left to that after it.
                let interval = watch.pace.after_success(&shared.options, snapshot.read_units, 1);
                watch.due = now + interval.saturating_sub(timers.heartbeat / 2);
            }
            Ok(None)
        }
        Candidacy::Take { seen } => {
            let (store, env, me) = (Arc::clone(&shared.store), shared.env.clone(), shared.me().clone());
            let standstills = inherited(election).lasting(Duration::ZERO, Instant::now());
            let heirs = election.other_heirs();
            Leadership::take(
                store,
                env,
                me,
                timers.clone(),
                seen.as_deref(),
                standstills,
                heirs,
            )
            .await
        }
    }
}

/// What the last leader left of standstills.
fn inherited(election: &Election) -> Standstills {
    election
        .sighting()
        .map(|sighting| sighting.standstills)
        .unwrap_or_default()
}

/// Leases in a table that does not say so look like those of older workers, and whoever starts is refused. Workers say it
/// when they start; but the table may have been deleted since, and made anew by one that has not come so far. True once it is
/// recorded.
async fn say_which_protocol(shared: &Shared) -> bool {
    let version = super::our_version(shared);
    let limit = shared.options.look();
    match timeout(limit, shared.store.agree_on_version(&version)).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the protocol of this application's workers could not be recorded");
        }
        Err(_) => tracing::warn!(
            ?limit,
            "the protocol of this application's workers was not recorded in time"
        ),
    }
    false
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Lost,
    Resigned,
    SteppedDown,
}

async fn lead(
    shared: &Shared,
    mut leadership: Leadership,
    observer: Option<Observer>,
    election: &Election,
    is_said: bool,
) -> Outcome {
    tracing::info!(worker = %shared.me(), "leads the fleet");
    let observer = observer.unwrap_or_else(|| new_observer(shared));
    {
        let mut knowledge = shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        knowledge.leader = Some(shared.me().clone());
        knowledge.heirs = election.other_heirs();
    }
    shared.is_leader.send_replace(true);
    tell_leadership(&shared.options.metrics, true);
    let standstills = Mutex::new(inherited(election));
    let lasting = |least| {
        let standstills = standstills.lock().unwrap_or_else(PoisonError::into_inner);
        standstills.lasting(least, Instant::now())
    };
    let limits = BalanceLimits {
        max_leases: shared.options.max_leases(),
        report_interval: shared.options.report_interval,
    };
    let duty = Duty {
        observer,
        balancer: Balancer::new(shared.options.balancing, limits),
        sighting: election.sighting(),
        standstills: &standstills,
        scans: ScanPace::default(),
        is_said,
    };
    let outcome = {
        let notes = || LeaderNotes {
            held_digest: shared.keeper.digest(),
            standstills: lasting(shared.options.timers().standstill()),
            heirs: shared.heirs(),
        };
        let lost = leadership.keep(notes, &shared.health);
        tokio::select! {
            biased;
            () = lost => Outcome::Lost,
            outcome = keep_assigning(shared, duty) => outcome,
        }
    };
    shared.is_leader.send_replace(false);
    tell_leadership(&shared.options.metrics, false);
    for activity in [ASSIGNING, HEARTBEAT, MOVING, READING_ROWS] {
        shared.health.ended(activity);
    }
    shared.table.send_replace(None);
    tell_numbers(&shared.options.metrics, &FleetView::default());
    {
        let mut knowledge = shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        knowledge.workers = None;
        knowledge.dead.clear();
        knowledge.heirs.clear();
    }
    if outcome != Outcome::Lost
        && leadership.is_valid()
        && let Err(error) = leadership.release(lasting(Duration::ZERO)).await
    {
        tracing::warn!(%error, "the leader lock could not be released; the next leader has to wait for its end");
    }
    outcome
}

/// What a leader keeps from pass to pass.
struct Duty<'a> {
    observer: Observer,
    balancer: Balancer,
    /// The lock as this worker saw it before it took it.
    sighting: Option<Sighting>,
    standstills: &'a Mutex<Standstills>,
    scans: ScanPace,
    /// Whether the table is known to say which protocol is spoken.
    is_said: bool,
}

/// Scans, plans and writes, until the worker resigns or scans have failed for the fail-over time.
async fn keep_assigning(shared: &Shared, mut duty: Duty<'_>) -> Outcome {
    let mut failing_since: Option<Instant> = None;
    let mut writes = WritePace::default();
    loop {
        let resigns = shared.resigning.is_cancelled();
        let mut soonest = Instant::now() + shared.options.look() / 4;
        let began = Instant::now();
        let pass = assign_once(shared, &mut duty).await;
        tell_pass(&shared.options.metrics, &pass, began.elapsed());
        let next = match pass {
            Ok((next, written)) => {
                failing_since = None;
                shared.health.succeeded(ASSIGNING);
                written.tell(&shared.health);
                match writes.pause_after(&written, &shared.options) {
                    None => next,
                    Some(pause) => {
                        soonest = Instant::now() + pause;
                        next.max(soonest)
                    }
                }
            }
            Err(error) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                shared.health.failed(ASSIGNING, &error);
                if since.elapsed() >= shared.options.failover_time {
                    tracing::warn!("stepping down: the lease table could not be read for the fail-over time");
                    return Outcome::SteppedDown;
                }
                soonest = Instant::now() + duty.scans.after_failure(&shared.options, error.kind());
                soonest
            }
        };
        if resigns {
            return Outcome::Resigned;
        }
        tokio::select! {
            biased;
            () = shared.resigning.cancelled() => {}
            // However often somebody asks for it.
            () = async { shared.scan.notified().await; sleep_until(soonest).await } => {}
            () = sleep_until(next) => {}
        }
    }
}

/// One pass; when the next one is due, and what came of the writes.
async fn assign_once(shared: &Shared, duty: &mut Duty<'_>) -> Result<(Instant, Written), StoreError> {
    let snapshot = shared.store.scan().await?;
    let now = Instant::now();
    // A table without leases may be a new one, and leases are made as soon as somebody has seen it.
    if snapshot.leases.is_empty() || !duty.is_said {
        duty.is_said = say_which_protocol(shared).await;
    }
    let view = duty
        .observer
        .observe(&snapshot, now, shared.epoch_seconds(), duty.sighting.as_ref());
    *duty.standstills.lock().unwrap_or_else(PoisonError::into_inner) =
        duty.observer.standstills(&snapshot, now);
    tell_of_unreadable(shared, &snapshot.unreadable);
    tell_disagreement(shared, disagreement(&snapshot, &view));
    tell_numbers(&shared.options.metrics, &view);
    remember(shared, &view, name_heirs(&snapshot, &view, shared.me()));
    let regular = now + duty.scans.after_success(&shared.options, snapshot.read_units, 1);
    let next = next_scan(shared, &view, regular, now);
    let mut gone = leftovers(&snapshot, &view, shared.epoch_seconds());
    gone.extend(duty.observer.silent(&snapshot, now));
    forget(shared, gone).await;
    shared.table.send_replace(Some(Arc::new(snapshot)));
    let written = write_moves(shared, duty.balancer.plan(&view)).await;
    Ok((next, written))
}

fn tell_disagreement(shared: &Shared, problem: Option<String>) {
    match problem {
        Some(problem) => shared.health.raise(DISAGREEMENT, problem),
        None => shared.health.settle(DISAGREEMENT),
    }
}

async fn forget(shared: &Shared, gone: Vec<&WorkerRow>) {
    for row in gone {
        match shared.store.forget(row).await {
            Ok(is_gone) => {
                tracing::info!(worker = %row.id, is_gone, "the row of a worker that is gone is deleted")
            }
            Err(error) => {
                tracing::warn!(worker = %row.id, %error, "the row of a worker that is gone could not be deleted");
            }
        }
    }
}

fn tell_of_unreadable(shared: &Shared, rows: &[UnreadableRow]) {
    if rows.is_empty() {
        shared.health.settle(READING_ROWS.code);
        return;
    }
    let named = rows.iter().take(NAMED_ROWS);
    let named: Vec<_> = named.map(|row| format!("{}: {}", row.key, row.problem)).collect();
    let more = if rows.len() > NAMED_ROWS { " ..." } else { "" };
    let text = format!(
        "{} rows of the lease table cannot be read, and nobody is given their leases until they are corrected, or deleted \
         to begin anew: {}{more}",
        rows.len(),
        named.join("; ")
    );
    shared.health.raise(READING_ROWS.code, text);
}

fn tell_pass<T>(metrics: &Metrics, pass: &Result<T, StoreError>, time: Duration) {
    let code = pass.as_ref().map_or_else(|error| error.kind().code(), |_| "ok");
    metrics.add(Counter::LeaderPasses, Labels::NONE.with_code(code), 1);
    metrics.took(Histogram::LeaderPassTime, Labels::NONE, time);
}

fn tell_leadership(metrics: &Metrics, leads: bool) {
    metrics.set(Gauge::Leads, Labels::NONE, f64::from(u8::from(leads)));
}

fn tell_numbers(metrics: &Metrics, view: &FleetView) {
    let numbers = [
        (Gauge::FleetWorkers, view.eligible()),
        (Gauge::FleetLeases, view.open()),
        (Gauge::FleetLeasesWaiting, view.waiting()),
    ];
    for (gauge, count) in numbers {
        metrics.set(gauge, Labels::NONE, count as f64);
    }
}

fn remember(shared: &Shared, view: &FleetView, heirs: Vec<WorkerId>) {
    let mut knowledge = shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
    knowledge.heirs = heirs;
    knowledge.workers = Some(view.eligible());
    knowledge.dead = view
        .workers
        .iter()
        .filter(|worker| !worker.eligible || worker.overdue)
        .map(|worker| worker.id.clone())
        .collect();
}

/// As the read budget allows, but at once when a silent owner's lease expires.
fn next_scan(shared: &Shared, view: &FleetView, regular: Instant, now: Instant) -> Instant {
    let soonest = now + shared.options.look() / 4;
    view.next_expiry
        .map_or(regular, |expiry| regular.min(expiry.max(soonest)))
}

fn new_observer(shared: &Shared) -> Observer {
    Observer::new(ObserverOptions {
        me: shared.me().clone(),
        failover_time: shared.options.failover_time,
        hand_off_timeout: shared.options.hand_off_timeout,
        report_interval: shared.options.report_interval,
    })
}
