//! One worker's membership in a fleet: the loops that join the rooms.

mod announce;
mod declared;
mod discover;
mod forecast;
mod lead;
mod leave;
mod moves;
mod options;
mod scan_pace;
mod shared;
mod watched;

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::declared::Declared;
pub use self::forecast::{Forecast, JudgedLease, JudgedWorker, PlannedMove, Standing};
pub use self::options::FleetOptions;
use self::shared::{Knowledge, Shared};
pub use self::watched::Broken;
use self::watched::watched;
use crate::environment::Environment;
use crate::health::Problem;
use crate::ids::{LeaseKey, WorkerId};
use crate::keeper::{HeldLease, Holder, Keeper, RenewalOptions};
use crate::lease::StreamIdentity;
use crate::load::Meter;
use crate::seat::Seat;
use crate::store::{BoundedStore, ClientVersion, LeaseStore, StoreError, StoreErrorKind, TableSnapshot};
use crate::trouble::Trouble;

/// Why a worker cannot join its fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The lease table cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The worker id is, or may become, the key of a row with another meaning.
    #[error("worker id {0:?} is reserved, looks like the key of a lease, or is empty; choose another one")]
    ReservedWorkerId(WorkerId),
    /// Whoever was asked whether to join said no.
    #[error("{0}")]
    Refused(#[source] Box<dyn StdError + Send + Sync>),
    /// The other workers speak another protocol.
    #[error(
        "the application's workers are in state {found} (written by {modified_by}), this worker speaks only \
         {}; finish the migration of the Java workers to KCL 3.x first",
        ClientVersion::CURRENT
    )]
    OtherProtocol {
        /// The stored state.
        found: String,
        /// Who stored it.
        modified_by: String,
    },
}

impl JoinError {
    /// Whether joining may succeed later, without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retryable())
    }
}

/// A snapshot of what a worker knows about its fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStatus {
    /// This worker.
    pub worker_id: WorkerId,
    /// Whether it leads.
    pub is_leader: bool,
    /// The leader as far as it is known.
    pub leader: Option<WorkerId>,
    /// Leases that this worker holds.
    pub leases_held: usize,
    /// Workers alive; known only to the leader.
    pub workers: Option<usize>,
    /// What is wrong at present; empty while all is well.
    pub problems: Vec<Problem>,
}

/// A worker's membership. Clones are the same membership; it ends at once, as in a crash, when the last clone is dropped
/// or [`Membership::abandon`] is called, and in good order with [`Membership::leave`].
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
    loops: Arc<Mutex<JoinSet<()>>>,
    announcing: watch::Receiver<bool>,
    leading: watch::Receiver<bool>,
}

const RESERVED: [&str; 4] = ["", "Leader", "Migration3.0", "TableMigration3.5"];

/// Whether another row of the table has, or may get, this key. Leases are keyed by shard ids, with the stream in front if
/// there are several.
fn is_reserved(id: &WorkerId) -> bool {
    RESERVED.contains(&id.as_str()) || id.as_str().contains("shardId-")
}

/// Asked before a worker writes anything but a missing table: whether to join, given the stream that the leases are of, if it
/// is recorded. The answer is the stream to record.
pub type Admission<'a> = dyn Fn(
        Arc<dyn LeaseStore>,
        Option<StreamIdentity>,
    ) -> BoxFuture<'a, Result<Option<StreamIdentity>, JoinError>>
    + Send
    + Sync
    + 'a;

impl Membership {
    /// Prepares the table, announces the worker, whose id is unique in the application and never the key of a lease, and starts to
    /// renew, to discover and to compete for leadership. Each
    /// lease that the worker acquires arrives on the channel.
    ///
    /// # Errors
    /// The table cannot be used, the worker id is reserved, or the fleet speaks another protocol.
    pub async fn join(
        store: Arc<dyn LeaseStore>,
        worker_id: impl Into<WorkerId>,
        options: FleetOptions,
        env: Environment,
    ) -> Result<(Self, mpsc::UnboundedReceiver<HeldLease>), JoinError> {
        let admit = |_, _| std::future::ready(Ok(None)).boxed();
        Self::join_if(store, worker_id, options, env, &admit).await
    }

    /// As [`join`](Self::join), if it is admitted.
    ///
    /// # Errors
    /// Also what `admission` answers.
    pub async fn join_if(
        store: Arc<dyn LeaseStore>,
        worker_id: impl Into<WorkerId>,
        options: FleetOptions,
        env: Environment,
        admission: &Admission<'_>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<HeldLease>), JoinError> {
        let worker_id = worker_id.into();
        if is_reserved(&worker_id) {
            return Err(JoinError::ReservedWorkerId(worker_id));
        }
        let (acquired, acquisitions) = mpsc::unbounded_channel();
        let seat = Seat::take();
        let store: Arc<dyn LeaseStore> = Arc::new(BoundedStore::new(
            store,
            options.timers(),
            seat.clone(),
            options.metrics.clone(),
        ));
        let process = env.process_id(&worker_id);
        let keeper = Keeper::new(Arc::new(Holder::new(
            Arc::clone(&store),
            worker_id.clone(),
            process.clone(),
            options.timers(),
            env.clone(),
            seat.clone(),
            options.metrics.clone(),
        )));
        let meter = Meter::start(&options.meter(), &env).await;
        let health = options.health.clone();
        let shared = Arc::new(Shared {
            store,
            seat,
            process,
            worker_id,
            options,
            env,
            keeper,
            meter,
            health,
            declared: Declared::default(),
            reports: AtomicU64::new(0),
            has_retired: AtomicBool::new(false),
            discover: Notify::new(),
            created: Mutex::default(),
            scan: Notify::new(),
            leaving: CancellationToken::new(),
            resigning: CancellationToken::new(),
            broken: watch::Sender::new(None),
            is_leader: watch::Sender::new(false),
            table: watch::Sender::new(None),
            acquired,
            fleet: Mutex::new(Knowledge::default()),
        });
        match enter(&shared, admission).await {
            // Deleted between its preparation and its use. A table that must exist is missed once more.
            Err(JoinError::Store(error)) if error.kind() == StoreErrorKind::TableMissing => {
                enter(&shared, admission).await?;
            }
            entered => entered?,
        }
        Ok((Self::start(shared), acquisitions))
    }

    fn start(shared: Arc<Shared>) -> Self {
        let mut loops = Loops {
            tasks: JoinSet::new(),
            seat: shared.seat.clone(),
            broken: shared.broken.clone(),
        };
        let never = || false;
        let giving_way = Arc::clone(&shared);
        loops.start("looking after the worker's name", || true, async move {
            giving_way.keeper.superseded().await;
            giving_way.give_way();
        });
        let renewing = Arc::clone(&shared);
        loops.start("renewing the leases", never, async move {
            let concurrency = renewing.options.renewal_concurrency;
            let options = RenewalOptions { concurrency };
            let (health, metrics) = (&renewing.health, &renewing.options.metrics);
            renewing.keeper.keep_renewing(options, health, metrics).await;
        });
        if shared.meter.has_source() {
            let measuring = Arc::clone(&shared);
            loops.start("measuring the load", never, async move {
                measuring.meter.keep_sampling(&measuring.health).await;
            });
        }
        let may_stop = || {
            let leaving = shared.leaving.clone();
            move || leaving.is_cancelled()
        };
        let discovering = Arc::clone(&shared);
        loops.start("looking for assigned leases", may_stop(), async move {
            discover::keep_discovering(&discovering).await;
        });
        let (announces, announcing) = watch::channel(true);
        let announcer = Arc::clone(&shared);
        loops.start("reporting to the leader", may_stop(), async move {
            announce::keep_announced(&announcer).await;
            announces.send_replace(false);
        });
        let (leads, leading) = watch::channel(true);
        let (leader, resigning) = (Arc::clone(&shared), shared.resigning.clone());
        let may_end = move || resigning.is_cancelled();
        loops.start("leading, or waiting to lead", may_end, async move {
            lead::keep_leading(&leader).await;
            leads.send_replace(false);
        });
        let loops = loops.tasks;
        Self {
            shared,
            loops: Arc::new(Mutex::new(loops)),
            announcing,
            leading,
        }
    }

    /// Completes when another process was started under this worker's id. Its leases are lost by then, and nothing is left to do
    /// but to end.
    pub async fn superseded(&self) {
        self.shared.keeper.superseded().await;
    }

    /// The lease table, as this worker calls it: on the thread that keeps its leases, each call bounded in time. Whatever else
    /// calls the same table through the same client should do so through this.
    pub fn store(&self) -> &Arc<dyn LeaseStore> {
        &self.shared.store
    }

    /// Whether this worker leads the fleet.
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.shared.is_leader.subscribe()
    }

    /// The table as the leader last saw it; `None` while this worker does not lead.
    pub fn table(&self) -> watch::Receiver<Option<Arc<TableSnapshot>>> {
        self.shared.table.subscribe()
    }

    /// Records the protocol of this application's workers, unless that is recorded. To be called before leases are made in a table that
    /// has none: it may have been deleted and made anew since this worker joined, and leases in a table that does not say so look like
    /// those of older workers.
    ///
    /// # Errors
    /// The table does not take it.
    pub async fn record_protocol(&self) -> Result<(), StoreError> {
        let ours = our_version(&self.shared);
        self.shared.store.agree_on_version(&ours).await.map(drop)
    }

    /// Asks the leader, if this worker is it, to look at the table now: leases were created.
    pub fn request_scan(&self) {
        self.shared.scan.notify_one();
    }

    /// This worker's id.
    pub fn worker_id(&self) -> &WorkerId {
        self.shared.me()
    }

    /// How many leases may be created as this worker's own when `ending` ends: what
    /// [`max_leases`](field@FleetOptions::max_leases) leaves, and none once the worker leaves.
    pub fn room_after(&self, ending: &LeaseKey) -> usize {
        if self.shared.leaving.is_cancelled() {
            return 0;
        }
        let is_open = |held: &&HeldLease| held.key() != ending && !held.has_ended();
        let open = self.held().iter().filter(is_open).count();
        let taken = open + self.shared.created().len();
        self.shared.options.max_leases().saturating_sub(taken)
    }

    /// Takes up leases that were created as this worker's own, at once and not only when they are found in the table.
    pub fn take_up(&self, created: impl IntoIterator<Item = LeaseKey>) {
        self.shared.created().extend(created);
        self.shared.discover.notify_one();
    }

    /// Says how well this worker can process its leases; the others are told at once. Whoever says it once is to say it every
    /// second, from the runtime in which the leases are processed: two fail-over times of silence are taken for a runtime that
    /// is blocked, so that the worker is [`Unfit`](crate::Condition::Unfit). Whether that had happened before this call.
    pub fn declare(&self, trouble: Trouble) -> bool {
        self.shared.declared.speak(trouble)
    }

    /// The leases held now, by key.
    pub fn held(&self) -> Vec<HeldLease> {
        self.shared.keeper.held()
    }

    /// What this worker knows about its fleet.
    pub fn status(&self) -> FleetStatus {
        let knowledge = self
            .shared
            .fleet
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        FleetStatus {
            worker_id: self.shared.me().clone(),
            is_leader: *self.shared.is_leader.borrow(),
            leader: knowledge.leader,
            leases_held: self.held().len(),
            workers: knowledge.workers,
            problems: self.shared.health.list(),
        }
    }

    /// Completes when a loop of this worker ended although it may not: the worker should leave, as far as it can.
    pub async fn broken(&self) -> Broken {
        let mut broken = self.shared.broken.subscribe();
        loop {
            if let Some(broken) = &*broken.borrow_and_update() {
                return broken.clone();
            }
            if broken.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Stops everything at once and writes nothing more, as a crash would.
    pub fn abandon(&self) {
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }
}

/// The loops of a fleet while they are started.
struct Loops {
    tasks: JoinSet<()>,
    seat: Seat,
    broken: watch::Sender<Option<Broken>>,
}

impl Loops {
    fn start(
        &mut self,
        part: &'static str,
        may_end: impl Fn() -> bool + Send + Sync + 'static,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let work = watched(part, self.broken.clone(), may_end, work);
        self.seat.spawn(&mut self.tasks, work);
    }
}

/// The protocol that this worker speaks, as a row says it.
fn our_version(shared: &Shared) -> ClientVersion {
    ClientVersion {
        version: ClientVersion::CURRENT.to_owned(),
        modified_by: shared.me().to_string(),
        modified_at: u64::try_from(shared.env.since_epoch().as_millis()).unwrap_or(u64::MAX),
    }
}

/// Prepares the table, agrees with the other workers on the protocol, and announces the worker to them.
async fn enter(shared: &Shared, admission: &Admission<'_>) -> Result<(), JoinError> {
    shared.store.prepare().await?;
    let mut recorded = shared.store.stream().await?;
    let mut stream = admission(Arc::clone(&shared.store), recorded.clone()).await?;
    let ours = our_version(shared);
    let agreed = shared.store.agree_on_version(&ours).await?;
    if !agreed.is_current() {
        return Err(JoinError::OtherProtocol {
            found: agreed.version,
            modified_by: agreed.modified_by,
        });
    }
    while let Some(new) = &stream {
        if shared.store.record_stream(recorded.as_ref(), new).await? {
            break;
        }
        // Somebody else was faster, with whatever it recorded.
        recorded = shared.store.stream().await?;
        stream = admission(Arc::clone(&shared.store), recorded.clone()).await?;
    }
    announce::announce(shared).await?;
    Ok(())
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
