//! Candidacy and leadership: observe, plan, write.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::shared::Shared;
use crate::health::Activity;
use crate::ids::WorkerId;
use crate::keeper::at_once;
use crate::leader::{Candidacy, Election, ElectionOptions, HEARTBEAT, Leadership, Word};
use crate::plan::{
    BalanceLimits, Balancer, FleetView, Move, Observer, ObserverOptions, Sighting, Standstills, disagreement,
    disagreement_with_leader, leftovers, name_heirs,
};
use crate::store::{LeaseChange, StoreError, TableSnapshot, WriteOutcome};

const STANDING: Activity = Activity {
    code: "election-failing",
    doing: "looking at the leader lock",
};
const ASSIGNING: Activity = Activity {
    code: "scan-failing",
    doing: "scanning the lease table as leader",
};

/// The code of the problem that workers have different fail-over times.
const DISAGREEMENT: &str = "failover-times-differ";

/// After this part of the fail-over time heartbeats tell of a standstill: longer than a healthy owner lets a lease be.
const STANDSTILL: f64 = 0.4;

/// A candidate's acquaintance with the leases while the leader may be dead.
struct Watch {
    observer: Observer,
    /// When the read budget allows the next scan.
    due: Instant,
}

/// Competes for the lock, and leads while it is held. Ends when the worker resigns.
pub(super) async fn keep_leading(shared: &Shared) {
    let timers = ElectionOptions::for_failover_time(shared.options.failover_time);
    let mut election = Election::new(shared.me().clone());
    let mut watch = None;
    while !shared.resigning.is_cancelled() {
        let result = tokio::select! {
            biased;
            () = shared.resigning.cancelled() => return,
            result = stand(shared, &timers, &mut election, &mut watch) => result,
        };
        let mut pause = shared.env.jittered(timers.heartbeat, 0.1);
        match result {
            Ok(None) => shared.health.succeeded(STANDING),
            Ok(Some(leadership)) => {
                shared.health.succeeded(STANDING);
                say_which_protocol(shared).await;
                let observer = watch.take().map(|watch: Watch| watch.observer);
                let outcome = lead(shared, leadership, observer, &election).await;
                election = Election::new(shared.me().clone());
                if outcome == Outcome::SteppedDown {
                    // Somebody whose scans work should get the chance.
                    pause = timers.duration * 2;
                }
            }
            Err(error) => shared.health.failed(STANDING, &error),
        }
        tokio::select! {
            biased;
            () = shared.resigning.cancelled() => return,
            () = sleep(pause) => {}
        }
    }
}

/// One look at the lock; the leadership if it was taken.
async fn stand(
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
            });
            if Instant::now() >= watch.due {
                let snapshot = shared.store.scan().await?;
                let (now, sighting) = (Instant::now(), election.sighting());
                watch
                    .observer
                    .observe(&snapshot, now, shared.epoch_seconds(), sighting.as_ref());
                // Looks come once in a heartbeat, give or take: what is due at about the next one is not left to that after it.
                let interval = shared.options.scan_interval(snapshot.read_units);
                watch.due = now + interval.saturating_sub(timers.heartbeat / 2);
            }
            Ok(None)
        }
        Candidacy::Take { seen } => {
            let (store, env, me) = (Arc::clone(&shared.store), shared.env.clone(), shared.me().clone());
            let standstills = inherited(election).lasting(Duration::ZERO, Instant::now());
            let inherited = (standstills, election.other_heirs());
            Leadership::take(store, env, me, timers.clone(), seen.as_deref(), inherited).await
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
/// when they start; but the table may have been deleted since, and made anew by one that has not come so far.
async fn say_which_protocol(shared: &Shared) {
    let version = super::our_version(&shared.options, &shared.env);
    // The lock is not refreshed meanwhile.
    let limit = shared.options.min_scan_interval;
    match timeout(limit, shared.store.agree_on_version(&version)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the protocol of this application's workers could not be recorded");
        }
        Err(_) => tracing::warn!(
            ?limit,
            "the protocol of this application's workers was not recorded in time"
        ),
    }
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
) -> Outcome {
    tracing::info!(worker = %shared.me(), "leads the fleet");
    let observer = observer.unwrap_or_else(|| new_observer(shared));
    {
        let mut knowledge = shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        knowledge.leader = Some(shared.me().clone());
        knowledge.heirs = election.other_heirs();
    }
    shared.is_leader.send_replace(true);
    let standstills = Mutex::new(inherited(election));
    let lasting = |least| {
        let standstills = standstills.lock().unwrap_or_else(PoisonError::into_inner);
        standstills.lasting(least, Instant::now())
    };
    let outcome = {
        let word = || Word {
            held_digest: shared.keeper.digest(),
            standstills: lasting(shared.options.failover_time.mul_f64(STANDSTILL)),
            heirs: shared.heirs(),
        };
        let lost = leadership.keep(word, &shared.health);
        tokio::select! {
            biased;
            () = lost => Outcome::Lost,
            outcome = keep_assigning(shared, observer, election, &standstills) => outcome,
        }
    };
    shared.is_leader.send_replace(false);
    shared.health.ended(ASSIGNING);
    shared.health.ended(HEARTBEAT);
    shared.table.send_replace(None);
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

/// Scans, plans and writes, until the worker resigns or scans have failed for the fail-over time.
async fn keep_assigning(
    shared: &Shared,
    mut observer: Observer,
    election: &Election,
    standstills: &Mutex<Standstills>,
) -> Outcome {
    let mut failing_since: Option<Instant> = None;
    let sighting = election.sighting();
    let limits = BalanceLimits {
        max_leases: shared.options.max_leases,
        report_interval: shared.options.report_interval,
    };
    let mut balancer = Balancer::new(shared.options.balancing, limits);
    loop {
        let resigns = shared.resigning.is_cancelled();
        let soonest = Instant::now() + shared.options.min_scan_interval / 4;
        let next = match assign_once(
            shared,
            &mut observer,
            &mut balancer,
            sighting.as_ref(),
            standstills,
        )
        .await
        {
            Ok(next) => {
                failing_since = None;
                shared.health.succeeded(ASSIGNING);
                next
            }
            Err(error) => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                shared.health.failed(ASSIGNING, &error);
                if since.elapsed() >= shared.options.failover_time {
                    tracing::warn!("stepping down: the lease table could not be read for the fail-over time");
                    return Outcome::SteppedDown;
                }
                Instant::now() + shared.options.min_scan_interval
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

/// One pass; when the next one is due.
async fn assign_once(
    shared: &Shared,
    observer: &mut Observer,
    balancer: &mut Balancer,
    sighting: Option<&Sighting>,
    standstills: &Mutex<Standstills>,
) -> Result<Instant, StoreError> {
    let snapshot = shared.store.scan().await?;
    let now = Instant::now();
    let view = observer.observe(&snapshot, now, shared.epoch_seconds(), sighting);
    *standstills.lock().unwrap_or_else(PoisonError::into_inner) = observer.standstills(&snapshot, now);
    for row in &snapshot.unreadable {
        tracing::debug!(row = %row.key, problem = %row.problem, "a row of the lease table cannot be read");
    }
    tell_disagreement(shared, disagreement(&snapshot, &view));
    remember(shared, &view, name_heirs(&snapshot, &view, shared.me()));
    let next = next_scan(shared, &view, snapshot.read_units, now);
    forget_leftovers(shared, &snapshot, &view).await;
    shared.table.send_replace(Some(Arc::new(snapshot)));
    let moves = without_departed(shared, balancer.plan(&view)).await;
    let most = at_once(shared.options.write_concurrency, moves.len());
    stream::iter(moves)
        .for_each_concurrent(most, |planned| carry_out(shared, planned))
        .await;
    Ok(next)
}

/// Takes hand-offs to workers that have left out of a plan: the scan may show what was true a moment ago. Nothing waits for
/// a hand-off, so it can be planned again.
async fn without_departed(shared: &Shared, mut moves: Vec<Move>) -> Vec<Move> {
    let receiver = |planned: &Move| match &planned.change {
        LeaseChange::BeginHandOff { to } if to != shared.me() => Some(to.clone()),
        _ => None,
    };
    let receivers: BTreeSet<WorkerId> = moves.iter().filter_map(receiver).collect();
    let departed: BTreeSet<WorkerId> = stream::iter(receivers)
        .map(|id| async move { (shared.store.is_announced(&id).await, id) })
        .buffer_unordered(shared.options.write_concurrency)
        .filter_map(|(is_announced, id)| async move { matches!(is_announced, Ok(false)).then_some(id) })
        .collect()
        .await;
    moves.retain(|planned| receiver(planned).is_none_or(|id| !departed.contains(&id)));
    moves
}

fn tell_disagreement(shared: &Shared, problem: Option<String>) {
    match problem {
        Some(problem) => shared.health.raise(DISAGREEMENT, problem),
        None => shared.health.settle(DISAGREEMENT),
    }
}

async fn forget_leftovers(shared: &Shared, snapshot: &TableSnapshot, view: &FleetView) {
    for row in leftovers(snapshot, view, shared.epoch_seconds()) {
        match shared.store.forget(row).await {
            Ok(is_gone) => {
                tracing::info!(worker = %row.id, is_gone, "the row of a worker that is long gone is deleted")
            }
            Err(error) => {
                tracing::warn!(worker = %row.id, %error, "the row of a worker that is long gone could not be deleted");
            }
        }
    }
}

async fn carry_out(shared: &Shared, planned: Move) {
    let key = &planned.lease.key;
    match shared.store.write(&planned.lease, &planned.change).await {
        Ok(WriteOutcome::Applied(_)) => {
            tracing::info!(lease = %key, change = ?planned.change, "leader moves a lease");
            if planned.target() == Some(shared.me()) {
                shared.discover.notify_one();
            }
        }
        // The row changed since the scan, or the answer to a first sending was lost: the next scan tells.
        Ok(WriteOutcome::Refused(_)) => tracing::debug!(lease = %key, "a planned move was overtaken"),
        Err(error) => tracing::warn!(lease = %key, %error, "a planned move failed; the next scan plans anew"),
    }
}

fn remember(shared: &Shared, view: &FleetView, heirs: Vec<WorkerId>) {
    let mut knowledge = shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
    knowledge.heirs = heirs;
    knowledge.workers = Some(view.workers.iter().filter(|worker| worker.eligible).count());
    knowledge.dead = view
        .workers
        .iter()
        .filter(|worker| !worker.eligible || worker.overdue)
        .map(|worker| worker.id.clone())
        .collect();
}

/// As the read budget allows, but at once when a silent owner's lease expires.
fn next_scan(shared: &Shared, view: &FleetView, read_units: f64, now: Instant) -> Instant {
    let regular = now + shared.options.scan_interval(read_units);
    let soonest = now + shared.options.min_scan_interval / 4;
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
