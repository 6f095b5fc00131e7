//! The workers of a world: started, killed, stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use kcl_core::{
    Environment, Error, FanOut, InitialPosition, OtherStream, ReadEncoding, RecordProcessor, ShardContext,
    Stopped, Worker, WorkerHandle, WorkerPhase,
};
use kcl_local::Backend;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::failovers::Failovers;
use crate::history::{Name, What};
use crate::load::{Machines, REPORT_INTERVAL};
use crate::oracle::Times;
use crate::policies::Policy;
use crate::processor::singly::Singly;
use crate::processor::{Actor, Stage};
use crate::seeds::Dice;
use crate::sink::Letters;
use crate::watcher::Watcher;
use crate::workload::STREAM;

/// The application's name, and so its table's.
pub const APPLICATION: &str = "simulated";

/// A lease that was handed to a worker in the very moment in which it left is noticed by the leader soon after.
pub const GRACE: Duration = Duration::from_millis(1_500);

/// Who ended by itself is started again after so long.
const RESTART: Duration = Duration::from_secs(3);

type Processors = Box<dyn Fn(&ShardContext) -> Box<dyn RecordProcessor> + Send + Sync>;

/// A worker that runs.
pub struct Member {
    /// Its id in the lease table.
    pub id: String,
    /// The name of its life.
    pub who: Name,
    /// How long it keeps its leases when it is silent.
    pub failover: Duration,
    /// Its status.
    pub handle: WorkerHandle,
    task: JoinHandle<Result<Stopped, Error>>,
    /// How far its wall clock is off, in milliseconds.
    skew: Arc<AtomicI64>,
}

impl Member {
    /// Moves its wall clock.
    pub fn skew(&self, by: i64) {
        self.skew.fetch_add(by, Ordering::Relaxed);
    }
}

/// A third of the workers read in JSON.
fn encoding_of(who: &Name) -> ReadEncoding {
    match who.bytes().map(u32::from).sum::<u32>() % 3 {
        0 => ReadEncoding::Json,
        _ => ReadEncoding::Cbor,
    }
}

/// All workers. Clones share them.
#[derive(Clone)]
pub struct Fleet {
    stage: Stage,
    backend: Backend,
    watcher: Watcher,
    times: Times,
    failovers: Failovers,
    start: InitialPosition,
    state: Arc<Mutex<State>>,
}

struct State {
    dice: Dice,
    /// Where the stream is made anew: their dice, by which some workers refuse to begin it.
    refusals: Option<Dice>,
    /// Those that ended by themselves; and when they are started again.
    due: Vec<(Instant, String)>,
    members: Vec<Member>,
    started: usize,
    lives: usize,
    /// The ids of those that are stopping.
    leaving: Vec<String>,
    ids: BTreeMap<Name, String>,
    /// Ids that were given to a second process while the first one lived.
    twins: BTreeSet<String>,
    /// Those that leave by themselves, with their ids.
    leavers: BTreeMap<Name, String>,
}

impl Fleet {
    /// No worker yet.
    pub fn new(
        stage: Stage,
        backend: Backend,
        watcher: Watcher,
        times: Times,
        failovers: Failovers,
        start: InitialPosition,
        dice: Dice,
    ) -> Self {
        let state = State {
            dice,
            refusals: None,
            due: Vec::new(),
            members: Vec::new(),
            started: 0,
            lives: 0,
            leaving: Vec::new(),
            ids: BTreeMap::new(),
            twins: BTreeSet::new(),
            leavers: BTreeMap::new(),
        };
        Self {
            stage,
            backend,
            watcher,
            times,
            failovers,
            start,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The stream is made anew while they run: by these dice some refuse to begin it.
    pub fn with_refusals(self, dice: Option<Dice>) -> Self {
        self.state().refusals = dice;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of workers, without those that are stopping.
    pub fn len(&self) -> usize {
        self.state().members.len()
    }

    /// Whether leases are spread by what a script makes the workers say.
    pub fn tells_loads(&self) -> bool {
        !self.stage.told.is_empty()
    }

    /// Whether there is no worker.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of workers that are stopping, or have ended by themselves and are yet to be started again.
    pub fn stopping(&self) -> usize {
        let state = self.state();
        state.leaving.len() + state.leavers.len() + state.due.len()
    }

    /// The ids of all lives, by their names.
    pub fn ids(&self) -> BTreeMap<Name, String> {
        self.state().ids.clone()
    }

    /// Looks at every worker.
    pub fn each<T>(&self, look: impl FnMut(&Member) -> T) -> Vec<T> {
        self.state().members.iter().map(look).collect()
    }

    /// Starts a worker under a new id.
    pub fn start(&self) {
        let number = {
            let mut state = self.state();
            state.started += 1;
            state.started
        };
        let id = format!("w{number}");
        self.live(&id.clone(), id);
    }

    /// Starts a worker under an id that was used before.
    pub fn start_again(&self, id: String) {
        let lives = {
            let mut state = self.state();
            state.lives += 1;
            state.lives + 1
        };
        self.live(&format!("{id}.{lives}"), id);
    }

    /// Starts a worker under an id that was not used before; what shows its status.
    pub fn start_as(&self, id: &str) -> WorkerHandle {
        self.live(id, id.to_owned())
    }

    /// Starts a worker with a fail-over time of its own; what shows its status.
    pub fn start_with(&self, id: &str, failover: Duration) -> WorkerHandle {
        self.live_with(id, id.to_owned(), failover)
    }

    /// Starts a worker whose configuration says where a new application begins; what shows its status.
    pub fn start_from(&self, id: &str, start: InitialPosition) -> WorkerHandle {
        let other = Self {
            start,
            ..self.clone()
        };
        other.live(id, id.to_owned())
    }

    /// Starts a worker that is told what to do with what keeps failing; what shows its status.
    pub fn start_told(&self, id: &str, policy: Policy) -> WorkerHandle {
        let mut other = self.clone();
        other.stage.policy = Some(policy);
        other.live(id, id.to_owned())
    }

    /// Starts another process of a worker that lives.
    pub fn start_twin(&self, id: &str) -> WorkerHandle {
        let ids = self.ids();
        let mut who = format!("{id}'");
        while ids.contains_key(who.as_str()) {
            who.push('\'');
        }
        self.live(&who, id.to_owned())
    }

    /// Whether a process with this id lives.
    fn lives(&self, id: &str) -> bool {
        let state = self.state();
        state.members.iter().any(|member| member.id == id) || state.leaving.iter().any(|other| other == id)
    }

    /// A second process gets this id.
    fn take_name(&self, id: &str) {
        self.state().twins.insert(id.to_owned());
        let rows = self.watcher.rows().into_iter();
        let its = rows.filter(|(_, row)| row.actual_owner() == Some(id));
        let what = What::NameTaken {
            id: id.to_owned(),
            shards: its.map(|(shard, _)| shard).collect(),
        };
        self.stage.history.record(&"world".into(), what);
    }

    fn is_twin(&self, id: &str) -> bool {
        self.state().twins.contains(id)
    }

    /// Takes the worker of this id out of the list.
    pub fn take(&self, id: &str) -> Option<Member> {
        let mut state = self.state();
        let index = state.members.iter().position(|member| member.id == id)?;
        Some(state.members.remove(index))
    }

    fn live(&self, who: &str, id: String) -> WorkerHandle {
        let failover = self.failovers.draw();
        self.live_with(who, id, failover)
    }

    /// What makes the processors of a worker's life.
    fn processors(&self, who: &Name, id: &str) -> Processors {
        let (stage, who, id) = (self.stage.clone(), who.clone(), id.to_owned());
        match stage.singles {
            Some(singles) => {
                let singly = Singly::processors(stage, who, id, singles.limits);
                Box::new(move |shard| Box::new(singly(shard)))
            }
            None => Box::new(move |shard| Box::new(Actor::new(stage.clone(), who.clone(), &id, shard))),
        }
    }

    fn live_with(&self, who: &str, id: String, failover: Duration) -> WorkerHandle {
        let (seed, skew) = {
            let dice = &mut self.state().dice;
            let most = *dice.pick(&[100_u32, 5_000, 3_600_000]).unwrap_or(&100);
            let most = if self.stage.is_scripted() { 100 } else { most };
            let skew = i64::from(most) - i64::try_from(dice.roll(u64::from(most) * 2)).unwrap_or(0);
            (dice.next(), Arc::new(AtomicI64::new(skew)))
        };
        let who: Name = who.into();
        let (clock, offset) = (self.backend.clock().clone(), skew.clone());
        let environment =
            Environment::seeded(seed, move || shifted(clock.now(), offset.load(Ordering::Relaxed)));
        let mut builder = Worker::builder(APPLICATION, STREAM, self.processors(&who, &id))
            .aws_config(&self.backend.sdk_config_named(&*who))
            .worker_id(id.as_str())
            .failover_time(failover)
            .initial_position(self.start)
            .hand_off_timeout(self.times.drain)
            .audit_interval(Duration::from_secs(15))
            .cleanup_interval(Duration::from_secs(20))
            .read_encoding(encoding_of(&who))
            .environment(environment);
        if let Some(dice) = &mut self.state().refusals {
            // Whoever is started again has been told to go on.
            let refuses = !self.stage.is_calm() && !who.contains('.') && dice.happens(300);
            let choice = if refuses {
                OtherStream::Refuse
            } else {
                OtherStream::BeginAnew
            };
            builder = builder.on_other_stream(choice);
        }
        if self.stage.is_scripted() {
            builder = builder.on_other_stream(OtherStream::BeginAnew);
        }
        if self.stage.reads_several {
            builder = builder.streams(kcl_core::Streams::fixed([STREAM]));
        }
        if let Some(sink) = &self.stage.sink {
            builder = builder
                .failure_policy(sink.policy())
                .dead_letters(Letters::new(
                    self.stage.history.clone(),
                    who.clone(),
                    sink.clone(),
                ))
                .stop_timeout(self.times.stop);
        }
        if let Some(policy) = self.stage.policy {
            self.stage.history.record(&who, What::Resorts { policy });
            builder = policy.applied_to(builder);
        }
        if let Some(or_polling) = self.stage.pushing.as_ref().and_then(|it| it.of_worker(&who)) {
            builder = builder.fan_out(FanOut::default().or_polling(or_polling));
        }
        if let Some(batch) = self.stage.batch {
            builder = builder.max_records(batch);
        }
        if let Some(memory) = &self.stage.memory {
            builder = builder.prefetch_bytes_per_worker(memory.bound);
            let bytes = memory.bound;
            self.stage.history.record(&who, What::Bounded { bytes });
        }
        if let Some(after) = self.stage.stalled_after {
            let (stage, who) = (self.stage.clone(), who.clone());
            stage.history.record(&who, What::TellsStalls { after });
            builder = builder.stalled_after(after).on_stalled(move |shard| {
                let what = What::StallTold {
                    shard: stage.streams.name_of_row(&shard.shard_id),
                    stalls: shard.stalled.is_some(),
                };
                stage.history.record(&who, what);
            });
        }
        if let Some(singles) = &self.stage.singles {
            let limits = singles.limits;
            self.stage.history.record(&who, What::HandlesSingly { limits });
        }
        if let Some(machines) = &self.stage.machines {
            builder = builder
                .load(machines.load_of(&who, &self.stage.processed))
                .max_utilization(machines.max_utilization())
                .report_interval(REPORT_INTERVAL);
        }
        if let Some(load) = self.stage.told.load_of(&who, &self.stage.processed) {
            builder = builder.load(load).report_interval(REPORT_INTERVAL);
        }
        let worker = builder.build().expect("a valid configuration");
        if self.lives(&id) {
            self.take_name(&id);
        }
        let started = What::Started {
            id: id.clone(),
            failover,
        };
        self.stage.history.record(&who, started);
        self.state().ids.insert(who.clone(), id.clone());
        let handle = worker.handle();
        let member = Member {
            id,
            who,
            failover,
            handle: handle.clone(),
            task: tokio::spawn(worker.run()),
            skew,
        };
        self.state().members.push(member);
        handle
    }

    /// How the fleet is once it is calm.
    pub fn calm(&self, machines: &Machines) -> What {
        let each = self.each(|member| (member.id.clone(), machines.of(&member.who)));
        What::Calm {
            machines: each.into_iter().collect(),
            record: machines.record(),
            max_utilization: machines.max_utilization(),
        }
    }

    /// Takes a random worker out of the list.
    pub fn draw(&self, dice: &mut Dice) -> Option<Member> {
        let mut state = self.state();
        let count = state.members.len();
        (count > 0).then(|| {
            let index = usize::try_from(dice.roll(count as u64)).unwrap_or(0);
            state.members.remove(index)
        })
    }

    /// The oldest worker, out of the list.
    pub fn oldest(&self) -> Option<Member> {
        let mut state = self.state();
        (!state.members.is_empty()).then(|| state.members.remove(0))
    }

    /// The name of a random worker's life.
    pub fn any(&self, dice: &mut Dice) -> Option<Name> {
        let names = self.each(|member| member.who.clone());
        dice.pick(&names).cloned()
    }

    /// Ends a worker without warning; its id.
    pub fn kill(&self, member: Member) -> String {
        self.stage.network.bury(&member.who);
        let id = member.id.clone();
        self.stage
            .history
            .record(&member.who, What::Killed { id: id.clone() });
        member.task.abort();
        id
    }

    /// Stops a worker in good order and looks at what it left behind.
    pub async fn stop(&self, member: Member) {
        let (network, history) = (&self.stage.network, &self.stage.history);
        let id = member.id.clone();
        history.record(&member.who, What::Stopping { id: id.clone() });
        self.state().leaving.push(id.clone());
        // Nor has one that leaves by itself to begin another stream, in whatever trouble it is.
        let had_joined = member.handle.status().phase == WorkerPhase::Running;
        // What a former life of this worker sent may be on its way still.
        let lives = self.ids().into_iter().filter(|(_, its)| *its == id);
        let had_late = lives.into_iter().any(|(who, _)| network.has_late(&who));
        let before = network.faults_of(&member.who);
        member.handle.shutdown().await;
        let ended = member.task.await;
        let is_superseded = self.is_twin(&id) && matches!(ended, Ok(Err(Error::Superseded { .. })));
        let ends_by_itself = matches!(&ended, Ok(Err(error)) if self.may_end_with(&member.who, error));
        let ended = ended.map_err(|error| error.to_string());
        let reason = ended.and_then(|ended| ended.map_err(|error| error.to_string()));
        if let Err(reason) = reason
            && !is_superseded
            && !ends_by_itself
        {
            history.record(&member.who, What::Ended { reason });
        }
        let faults = network.faults_of(&member.who) - before + u64::from(had_late);
        sleep(GRACE).await;
        let (owned, has_row) = self.watcher.left_by(&id);
        let index = self.state().leaving.iter().position(|other| *other == id);
        if let Some(index) = index {
            self.state().leaving.remove(index);
        }
        if is_superseded {
            history.record(&member.who, What::GaveWay { id });
            return;
        }
        let what = What::Stopped {
            id,
            owned,
            has_row,
            had_joined,
            faults,
        };
        history.record(&member.who, what);
    }

    /// Whether a worker may end with this error: since its stream was deleted, or for what keeps failing.
    fn may_end_with(&self, who: &Name, error: &Error) -> bool {
        match error {
            Error::OtherStream(_) | Error::Stream { .. } => self.stage.streams.was_deleted(),
            Error::Processor { shard, .. } if self.stops_for_failures() => {
                let shard = self.stage.streams.name_of_row(shard);
                self.stage.network.count("stopped by policy");
                self.stage.history.record(who, What::StoppedByPolicy { shard });
                true
            }
            _ => false,
        }
    }

    fn stops_for_failures(&self) -> bool {
        self.stage.policy.is_some_and(|policy| policy.stops())
    }

    /// Writes down which workers leave although nobody told them to: such as see that their stream was made anew, or stop for what
    /// keeps failing.
    pub fn look_for_leavers(&self) {
        if !self.stage.streams.was_deleted() && !self.stops_for_failures() {
            return;
        }
        let mut state = self.state();
        let leavers = state
            .members
            .iter()
            .filter(|member| member.handle.status().phase == WorkerPhase::Stopping)
            .map(|member| (member.who.clone(), member.id.clone()));
        let leavers: BTreeMap<_, _> = leavers.collect();
        for (who, id) in &leavers {
            if !state.leavers.contains_key(who) {
                let what = What::LeavesByItself { id: id.clone() };
                self.stage.history.record(who, what);
            }
        }
        state.leavers = leavers;
    }

    /// Writes down which workers have ended although nobody told them to.
    pub fn look_for_the_dead(&self) {
        let mut state = self.state();
        let dead = |member: &Member| member.task.is_finished();
        while let Some(index) = state.members.iter().position(dead) {
            let member = state.members.remove(index);
            let reason = match member.task.now_or_never() {
                Some(Ok(Err(Error::Superseded { .. }))) if state.twins.contains(&member.id) => {
                    let what = What::GaveWay { id: member.id };
                    self.stage.history.record(&member.who, what);
                    continue;
                }
                Some(Ok(Err(error))) if self.may_end_with(&member.who, &error) => {
                    let text = format!("ends, and is to be started again: {error}");
                    self.stage.history.record(&member.who, What::Disturbed(text));
                    let id = member.id.clone();
                    self.stage
                        .history
                        .record(&member.who, What::Killed { id: id.clone() });
                    state.due.push((Instant::now() + RESTART, id));
                    continue;
                }
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(error)) => error.to_string(),
                _ => "its task ended".to_owned(),
            };
            self.stage.history.record(&member.who, What::Ended { reason });
        }
    }

    /// Starts workers again that ended by themselves, as an orchestrator does.
    pub fn start_what_is_due(&self) {
        let due: Vec<_> = {
            let mut state = self.state();
            let due = state.due.extract_if(.., |(at, _)| *at <= Instant::now());
            due.collect()
        };
        for (_, id) in due {
            self.start_again(id);
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("who", &self.who)
            .finish_non_exhaustive()
    }
}

fn shifted(time: SystemTime, millis: i64) -> SystemTime {
    let by = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { time - by } else { time + by }
}
