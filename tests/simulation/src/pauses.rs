//! Workers and shards that are paused for a while, as an operator does it: in the histories of some seeds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::WorkerHandle;
use tokio::time::sleep;

use crate::faults::{PAUSES, Wanted};
use crate::fleet::Fleet;
use crate::history::{Name, What};
use crate::processor::Stage;
use crate::seeds::Dice;
use crate::watcher::Watcher;

/// Histories of a thousand that have pauses.
const HISTORIES: u64 = 150;
/// How often a worker is asked to resume a shard that is paused for all.
const RETRY: Duration = Duration::from_millis(500);

/// The operator who pauses. Clones are the same one.
#[derive(Clone)]
pub struct Pauses {
    stage: Stage,
    fleet: Fleet,
    watcher: Watcher,
    active: Arc<Mutex<Vec<Pause>>>,
    /// By their ids, the shards that are paused for all, and whether they are to be resumed.
    for_all: Arc<Mutex<BTreeMap<Name, bool>>>,
}

/// One worker's part of a pause.
#[derive(Clone)]
struct Pause {
    number: u64,
    who: Name,
    handle: WorkerHandle,
    /// Its id, and what the history calls it; none for all of the worker's.
    shard: Option<(Name, Name)>,
}

impl Pauses {
    /// Whether there are pauses in a seed's history.
    #[must_use]
    pub fn are_in(seed: u64, wanted: &Wanted) -> bool {
        wanted.has(PAUSES, Dice::of(seed, "has pauses").happens(HISTORIES))
    }

    /// Who may pause all of these.
    #[must_use]
    pub fn new(stage: Stage, fleet: Fleet, watcher: Watcher) -> Self {
        Self {
            stage,
            fleet,
            watcher,
            active: Arc::default(),
            for_all: Arc::default(),
        }
    }

    /// Pauses something now and then, until the world is calm.
    pub async fn run(self, mut dice: Dice) {
        for number in 0.. {
            sleep(Duration::from_millis(dice.between(500, 8_000))).await;
            if self.stage.is_calm() {
                return;
            }
            let time = Duration::from_millis(dice.between(200, 15_000));
            if dice.happens(300) {
                self.pause_for_all(time, &mut dice);
                continue;
            }
            let targets = self.draw(number, &mut dice);
            for pause in &targets {
                pause.begin(&self.stage);
            }
            self.active().extend(targets);
            let pauses = self.clone();
            tokio::spawn(async move {
                sleep(time).await;
                pauses.resume(|pause| pause.number == number);
            });
        }
    }

    /// Resumes everything.
    pub fn end(&self) {
        self.resume(|_| true);
        let shards: Vec<_> = self.for_all().keys().cloned().collect();
        for id in shards {
            tokio::spawn(self.clone().resume_for_all(id));
        }
    }

    /// Has the worker that has a shard write into its lease that it is paused, for a while.
    fn pause_for_all(&self, time: Duration, dice: &mut Dice) {
        let rows: Vec<_> = self.watcher.rows().into_iter().collect();
        let Some((id, row)) = dice.pick(&rows).cloned() else {
            return;
        };
        let owner = row.actual_owner();
        let handles = self
            .fleet
            .each(|member| (Some(&*member.id) == owner).then(|| (member.who.clone(), member.handle.clone())));
        let Some((who, handle)) = handles.into_iter().flatten().next() else {
            return;
        };
        // What could not be written may have been.
        if self.for_all().contains_key(&id) {
            return;
        }
        self.for_all().insert(id.clone(), false);
        self.stage.network.count("shard paused for all");
        let pauses = self.clone();
        tokio::spawn(async move {
            let name = pauses.stage.streams.name_of_row(&id);
            let key = pauses.stage.streams.key_of(&id);
            let is_written = handle.pause_shard_for_all(&key).await.is_ok();
            if is_written && pauses.for_all().get(&id) == Some(&false) {
                let what = What::PausedForAll { shard: name };
                pauses.stage.history.record(&who, what);
            }
            sleep(time).await;
            pauses.resume_for_all(id).await;
        });
    }

    /// Asks whoever has the shard to resume it, until its lease says that it is not paused.
    async fn resume_for_all(self, id: Name) {
        let shard = self.stage.streams.name_of_row(&id);
        if self.for_all().insert(id.clone(), true) == Some(true) {
            return;
        }
        let what = What::ResumedForAll { shard };
        self.stage.history.record(&"world".into(), what);
        while self.watcher.rows().get(&id).is_some_and(|row| !row.has_ended()) {
            for handle in self.fleet.each(|member| member.handle.clone()) {
                let key = self.stage.streams.key_of(&id);
                if handle.resume_shard_for_all(&key).await.is_ok() {
                    self.for_all().remove(&id);
                    return;
                }
            }
            sleep(RETRY).await;
        }
        self.for_all().remove(&id);
    }

    fn for_all(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, bool>> {
        self.for_all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> std::sync::MutexGuard<'_, Vec<Pause>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resume(&self, is_it: impl Fn(&Pause) -> bool) {
        let over: Vec<_> = self.active().extract_if(.., |pause| is_it(pause)).collect();
        for pause in over {
            pause.end(&self.stage);
        }
    }

    /// A worker; or a shard, at every worker or at the one that has it.
    fn draw(&self, number: u64, dice: &mut Dice) -> Vec<Pause> {
        let workers = self
            .fleet
            .each(|member| (member.who.clone(), member.id.clone(), member.handle.clone()));
        let pause = |(who, _, handle): (Name, String, WorkerHandle), shard| Pause {
            number,
            who,
            handle,
            shard,
        };
        if dice.happens(400) {
            self.stage.network.count("worker paused");
            let worker = dice.pick(&workers).cloned();
            return worker.map(|worker| pause(worker, None)).into_iter().collect();
        }
        self.stage.network.count("shard paused");
        let rows: Vec<_> = self.watcher.rows().into_iter().collect();
        let is_everywhere = dice.happens(500);
        let Some((id, row)) = dice.pick(&rows) else {
            return Vec::new();
        };
        let name = self.stage.streams.name_of_row(id);
        let has_it = |worker: &str| row.actual_owner() == Some(worker);
        let workers = workers
            .into_iter()
            .filter(|(_, worker, _)| is_everywhere || has_it(worker));
        workers
            .map(|worker| pause(worker, Some((id.clone(), name.clone()))))
            .collect()
    }
}

impl Pause {
    fn begin(&self, stage: &Stage) {
        match &self.shard {
            Some((id, _)) => self.handle.pause_shard(&stage.streams.key_of(id)),
            None => self.handle.pause(),
        }
        let shard = self.named();
        stage.history.record(&self.who, What::Paused { shard });
    }

    fn end(&self, stage: &Stage) {
        let shard = self.named();
        stage.history.record(&self.who, What::Resumed { shard });
        match &self.shard {
            Some((id, _)) => self.handle.resume_shard(&stage.streams.key_of(id)),
            None => self.handle.resume(),
        }
    }

    fn named(&self) -> Option<Name> {
        self.shard.as_ref().map(|(_, name)| name.clone())
    }
}

impl fmt::Debug for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pauses").finish_non_exhaustive()
    }
}
