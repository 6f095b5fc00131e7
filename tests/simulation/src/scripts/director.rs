//! What a script can do, and wait for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::{InitialPosition, SequenceNumber, WorkerHandle, WorkerPhase, WorkerStatus};
use tokio::time::{Instant, sleep, timeout};

use super::Script;
use crate::edits::Edit;
use crate::faults::{Cue, Met, Trouble};
use crate::fleet::Fleet;
use crate::history::{Event, Name, Row, What};
use crate::oracle::Times;
use crate::policies::Policy;
use crate::processor::{Direction, Stage};
use crate::watcher::Watcher;
use crate::workload::Workload;

/// A script that waits in vain for so long cannot be played.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether something has come about.
const LOOK: Duration = Duration::from_millis(10);

/// Why a script does not go on: what it waited for did not come.
#[derive(Debug)]
pub struct Unplayable(String);

/// What came of a step of a script.
pub type Played<T = ()> = Result<T, Unplayable>;

/// Does what a script says, and waits for what it needs. Nothing else happens by chance but the workload and the jitter.
pub struct Director {
    stage: Stage,
    fleet: Fleet,
    workload: Arc<tokio::sync::Mutex<Workload>>,
    watcher: Watcher,
    times: Times,
    world: Name,
    /// Everybody who was started, by id.
    handles: Mutex<BTreeMap<String, WorkerHandle>>,
}

impl Director {
    /// Who may do all of this.
    pub fn new(
        stage: Stage,
        fleet: Fleet,
        workload: Arc<tokio::sync::Mutex<Workload>>,
        watcher: Watcher,
        times: Times,
    ) -> Self {
        Self {
            stage,
            fleet,
            workload,
            watcher,
            times,
            world: "world".into(),
            handles: Mutex::default(),
        }
    }

    /// Plays a script to its end. That it could not be played is written down as a broken rule, unless the library broke one
    /// before.
    pub async fn play(&self, script: &Script) {
        let played = (script.play)(self).await;
        if let Err(Unplayable(waited_for)) = played
            && !self.stage.history.is_violated()
        {
            self.note(What::Unplayable { waited_for });
        }
    }

    fn note(&self, what: What) {
        self.stage.history.record(&self.world, what);
    }

    fn handles(&self) -> MutexGuard<'_, BTreeMap<String, WorkerHandle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a silent worker keeps its leases.
    pub fn failover(&self) -> Duration {
        self.times.failover
    }

    /// How long the world has existed.
    pub fn now(&self) -> Duration {
        self.stage.history.elapsed()
    }
}

/// Deeds.
impl Director {
    /// Starts a worker.
    pub fn start(&self, id: &str) {
        let handle = self.fleet.start_as(id);
        self.handles().insert(id.to_owned(), handle);
    }

    /// Starts a worker with a fail-over time of its own.
    pub fn start_with(&self, id: &str, failover: Duration) {
        let handle = self.fleet.start_with(id, failover);
        self.handles().insert(id.to_owned(), handle);
    }

    /// Starts a worker that is configured to begin a new application with the latest record.
    pub fn start_at_latest(&self, id: &str) {
        let handle = self.fleet.start_from(id, InitialPosition::Latest);
        self.handles().insert(id.to_owned(), handle);
    }

    /// Starts a worker that is told what to do with what keeps failing.
    pub fn start_told(&self, id: &str, policy: Policy) {
        let handle = self.fleet.start_told(id, policy);
        self.handles().insert(id.to_owned(), handle);
    }

    /// Starts another process of a worker that lives. What its status says is the first one's.
    pub fn start_twin(&self, id: &str) {
        let handle = self.fleet.start_twin(id);
        self.handles().insert(format!("{id}'"), handle);
    }

    /// Tells a worker to stop; it does so meanwhile.
    pub fn stop(&self, id: &str) {
        if let Some(member) = self.fleet.take(id) {
            let fleet = self.fleet.clone();
            tokio::spawn(async move { fleet.stop(member).await });
        }
    }

    /// Ends a worker without warning.
    pub fn kill(&self, id: &str) {
        if let Some(member) = self.fleet.take(id) {
            self.fleet.kill(member);
        }
    }

    /// Brings trouble over a worker, until it is healed.
    pub fn trouble(&self, id: &str, trouble: Trouble) {
        let who = Name::from(id);
        let history = &self.stage.history;
        history.record(&who, What::Disturbed(format!("{trouble:?}")));
        history.record(&who, What::Impaired);
        self.stage.network.trouble(id, trouble);
    }

    /// Ends the trouble of a worker.
    pub fn heal(&self, id: &str) {
        let who = Name::from(id);
        let history = &self.stage.history;
        history.record(&who, What::Disturbed("its network heals".to_owned()));
        self.stage.network.heal(id);
        history.record(&who, What::Recovered);
    }

    /// From now on a worker says that it is so busy, in percent, besides its leases. It must be said before it starts.
    pub fn load(&self, id: &str, percent: f64) {
        self.note(What::Disturbed(format!("{id} is busy at {percent} %")));
        self.stage.told.set_base(id, percent);
    }

    /// A worker's first look at its load will show nothing. It must be said before it starts.
    pub fn blank_at_first(&self, id: &str) {
        self.stage.told.set_blank_at_first(id);
    }

    /// From now on whoever processes a shard says that it is so much busier.
    pub fn weigh(&self, shard: &Name, percent: f64) {
        self.note(What::Disturbed(format!("{shard} takes {percent} %")));
        self.stage.told.set_weight(shard, percent);
    }

    /// From now on the shards get equally many records.
    pub async fn spread_in_turn(&self) {
        self.workload.lock().await.spread_in_turn();
    }

    /// A shard gets no records for some time, as long as they are spread in turn.
    pub async fn hush(&self, shard: &Name, time: Duration) {
        self.note(What::Disturbed(format!("{shard} is quiet for {time:?}")));
        self.workload.lock().await.hush(shard, time).await;
    }

    /// Nothing is put from now on; waits until all that was put is processed.
    pub async fn come_to_the_end(&self) -> Played {
        self.note(What::Disturbed("nothing more is put".to_owned()));
        self.workload.lock().await.rest(true);
        self.until("everything to be processed", || {
            self.stage.history.unprocessed() == 0
        })
        .await
    }

    /// Records are put again.
    pub async fn go_on(&self) {
        self.note(What::Disturbed("records are put again".to_owned()));
        self.workload.lock().await.rest(false);
    }

    /// Changes a lease's row by hand.
    pub fn edit(&self, shard: &Name, edit: Edit) {
        self.note(What::Disturbed(format!("the row of {shard} is {edit}")));
        self.watcher.edit_this(shard, edit);
    }

    /// Lets so much time go by that shards leave the stream. Nobody is there meanwhile.
    pub async fn age(&self, time: Duration) {
        let before = self.workload.lock().await.shards().await;
        self.watcher.rest(true);
        sleep(time).await;
        self.watcher.rest(false);
        let after = self.workload.lock().await.shards().await;
        for gone in before.iter().filter(|shard| !after.contains(shard)) {
            let shard = gone.shard_id().into();
            self.note(What::ShardGone { shard });
        }
    }

    /// Deletes the stream, and makes another one under its name after some time.
    pub async fn make_anew(&self, away: Duration, shards: i32) {
        self.workload.lock().await.make_anew(away, shards).await;
    }

    /// Deletes the whole lease table.
    pub fn delete_table(&self) {
        self.watcher.delete_table();
    }

    /// Splits a shard; the shards that follow it, in the order of their hash keys.
    pub async fn split(&self, shard: &Name) -> Vec<Name> {
        self.note(What::Disturbed(format!("split {shard}")));
        let mut workload = self.workload.lock().await;
        workload.split_this(shard).await;
        let open = workload.open_shards().await;
        let children = open.iter().filter(|child| child.parent_shard_id() == Some(shard));
        children.map(|child| child.shard_id().into()).collect()
    }

    /// Merges two shards that are neighbours; the shard that follows them.
    pub async fn merge(&self, left: &Name, right: &Name) -> Played<Name> {
        self.note(What::Disturbed(format!("merged {left} and {right}")));
        let mut workload = self.workload.lock().await;
        workload.merge_these(left, right).await;
        let open = workload.open_shards().await;
        let child = open.iter().find(|shard| shard.parent_shard_id() == Some(left));
        let child = child.map(|shard| Name::from(shard.shard_id()));
        child.ok_or_else(|| Unplayable(format!("a shard that follows {left}")))
    }

    /// Tells a worker's processor of a shard what to do.
    pub fn direct(&self, id: &str, shard: &Name, direction: Direction) {
        self.stage.direct(id, shard, direction);
    }

    /// Lets a worker's processor of a shard do what it does otherwise.
    pub fn undirect(&self, id: &str, shard: &Name) {
        self.stage.undirect(id, shard);
    }

    /// Waits for requests of a worker from now on.
    pub fn await_request(&self, cue: Cue) -> Met {
        self.stage.network.await_request(cue)
    }

    /// Lets the requests arrive that a cue withheld.
    pub async fn deliver(&self, met: &Met) {
        self.note(What::Disturbed("a late request arrives".to_owned()));
        self.stage.network.deliver(met).await;
    }
}

/// What can be seen.
impl Director {
    /// A worker's own words; of one that never started those of nobody.
    pub fn status(&self, id: &str) -> Option<WorkerStatus> {
        self.handles().get(id).map(WorkerHandle::status)
    }

    /// Whether a worker leads, as far as it knows.
    pub fn leads(&self, id: &str) -> bool {
        self.status(id).is_some_and(|status| status.is_leader)
    }

    /// Whether a worker has come to its end.
    pub fn has_stopped(&self, id: &str) -> bool {
        self.status(id)
            .is_some_and(|status| status.phase == WorkerPhase::Stopped)
    }

    /// The rows of the leases as they are.
    pub fn rows(&self) -> BTreeMap<Name, Row> {
        self.watcher.look();
        self.watcher.rows()
    }

    /// A lease's row as it is.
    pub fn row(&self, shard: &Name) -> Option<Row> {
        self.rows().remove(shard)
    }

    /// The throughput that a lease's row tells of, in KB/s.
    pub fn throughput(&self, shard: &Name) -> Option<f64> {
        self.watcher.throughput(shard)
    }

    /// Whether a worker has a row of its own.
    pub fn is_announced(&self, id: &str) -> bool {
        self.watcher.left_by(id).1
    }

    /// Open leases that a worker processes, as their rows say, and that are not in hand-off.
    pub fn leases_of(&self, id: &str) -> Vec<Name> {
        let rows = self.rows().into_iter();
        let its = rows.filter(|(_, row)| {
            let is_settled = row.checkpoint_owner.is_none() && !row.has_ended();
            is_settled && row.owner.as_deref() == Some(id)
        });
        its.map(|(shard, _)| shard).collect()
    }

    /// The shard of a hand-off from one worker to another.
    pub fn handed_over(&self, from: &str, to: &str) -> Option<Name> {
        let mut rows = self.rows().into_iter();
        let is_it =
            |row: &Row| row.checkpoint_owner.as_deref() == Some(from) && row.owner.as_deref() == Some(to);
        rows.find(|(_, row)| is_it(row)).map(|(shard, _)| shard)
    }

    /// Whether a worker's processor has begun a batch of a shard at this time or later.
    pub fn has_begun_since(&self, time: Duration, id: &str, shard: &Name) -> bool {
        self.stage.history.has_since(time, |event| {
            matches!(&event.what, What::BatchBegan { of, .. } if of.shard == *shard) && &*event.who == id
        })
    }

    /// Whether anybody has begun a batch of a shard at this time or later.
    pub fn flows_since(&self, time: Duration, shard: &Name) -> bool {
        self.stage.history.has_since(
            time,
            |event| matches!(&event.what, What::BatchBegan { of, .. } if of.shard == *shard),
        )
    }

    /// Whether a record has been given to a processor at this time or later.
    pub fn is_delivered_since(&self, time: Duration, record: &SequenceNumber) -> bool {
        self.stage.history.has_since(
            time,
            |event| matches!(&event.what, What::Delivered { position, .. } if position.sequence == *record),
        )
    }

    /// The numbers of the records of a shard.
    pub fn records_of(&self, of: &Name) -> Vec<SequenceNumber> {
        let its = |event: &Event| match &event.what {
            What::Put { shard, position, .. } if shard == of => Some(position.sequence.clone()),
            _ => None,
        };
        self.stage
            .history
            .look(|events| events.iter().filter_map(its).collect())
    }

    /// The number with which a shard begins.
    pub async fn first_number_of(&self, of: &Name) -> Played<String> {
        let shards = self.workload.lock().await.shards().await;
        let shard = shards.iter().find(|shard| shard.shard_id() == &**of);
        let range = shard.and_then(|shard| shard.sequence_number_range());
        let first = range.map(|range| range.starting_sequence_number().to_owned());
        first.ok_or_else(|| Unplayable(format!("the first number of {of}")))
    }

    /// Whether a worker's status names a problem by this code.
    pub fn tells_of(&self, id: &str, code: &str) -> bool {
        let problems = self.status(id).map(|status| status.problems);
        problems.iter().flatten().any(|problem| problem.code == code)
    }

    /// Whether a processor is in the middle of a call.
    pub fn is_at_work(&self, id: &str, shard: &Name) -> bool {
        let its = |event: &Event| match &event.what {
            _ if &*event.who != id => None,
            What::BatchBegan { of, .. } => (of.shard == *shard).then_some(true),
            What::BatchEnded { of, .. } => (of.shard == *shard).then_some(false),
            _ => None,
        };
        let last = self
            .stage
            .history
            .look(|events| events.iter().rev().find_map(its));
        last == Some(true)
    }

    /// Whether a processor was told that its shard has ended, and has not agreed yet.
    pub fn is_ending(&self, id: &str, shard: &Name) -> bool {
        let begins = format!("is at the end of {shard}");
        let its = |event: &Event| match &event.what {
            _ if &*event.who != id => None,
            What::Disturbed(text) => (*text == begins).then_some(true),
            What::ShardEnded { of } => (of.shard == *shard).then_some(false),
            _ => None,
        };
        let last = self
            .stage
            .history
            .look(|events| events.iter().rev().find_map(its));
        last == Some(true)
    }

    /// Whether the leases are of the stream that is there now.
    pub fn is_recognised(&self) -> bool {
        self.watcher.look();
        self.stage.streams.is_recorded()
    }

    /// When a lease's counter moved last.
    pub fn renewed_at(&self, shard: &Name) -> Duration {
        let (mut counter, mut renewed_at) = (None, Duration::ZERO);
        self.stage.history.look(|events| {
            for event in events {
                if let What::Row { shard: of, row } = &event.what
                    && of == shard
                    && counter.replace(row.counter) != Some(row.counter)
                {
                    renewed_at = event.at;
                }
            }
        });
        renewed_at
    }
}

/// Waiting.
impl Director {
    /// Waits until something has come about.
    pub async fn until(&self, what: &str, is_so: impl FnMut() -> bool) -> Played {
        if self.comes_about(PATIENCE, is_so).await {
            Ok(())
        } else {
            Err(Unplayable(what.to_owned()))
        }
    }

    /// Waits until something can be found.
    pub async fn find<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Played<T> {
        let mut found = None;
        self.until(what, || {
            found = look();
            found.is_some()
        })
        .await?;
        found.ok_or_else(|| Unplayable(what.to_owned()))
    }

    /// Waits until a request was met.
    pub async fn met(&self, what: &str, met: &Met) -> Played {
        match timeout(PATIENCE, met.once()).await {
            Ok(()) => {
                self.note(What::Disturbed(format!("the script saw {what}")));
                Ok(())
            }
            Err(_) => Err(Unplayable(what.to_owned())),
        }
    }

    /// Waits until a request was met that is about a lease; which.
    pub async fn met_for(&self, what: &str, met: &Met) -> Played<Name> {
        self.met(what, met).await?;
        let key = met.key().map(Name::from);
        key.ok_or_else(|| Unplayable(format!("the lease of {what}")))
    }

    /// Waits until the world has existed for so long.
    pub async fn until_time(&self, time: Duration) {
        sleep(time.saturating_sub(self.now())).await;
    }

    /// Lets time go by.
    pub async fn pause(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until something has come about that must within some time.
    pub async fn expect(&self, expectation: &'static str, within: Duration, is_so: impl FnMut() -> bool) {
        if !self.comes_about(within, is_so).await && !self.stage.history.is_violated() {
            let seen = format!("not within {within:?}");
            self.note(What::Unmet { expectation, seen });
        }
    }

    /// Looks for something that must not be for so long.
    pub async fn never(&self, expectation: &'static str, during: Duration, is_so: impl FnMut() -> bool) {
        if self.comes_about(during, is_so).await && !self.stage.history.is_violated() {
            let seen = format!("so it was within {during:?}");
            self.note(What::Unmet { expectation, seen });
        }
    }

    /// Whether something comes about in time, and before a rule is broken.
    async fn comes_about(&self, within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + within;
        loop {
            if is_so() {
                return true;
            }
            if Instant::now() >= end || self.stage.history.is_violated() {
                return false;
            }
            sleep(LOOK).await;
        }
    }
}

impl fmt::Debug for Director {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Director").finish_non_exhaustive()
    }
}
