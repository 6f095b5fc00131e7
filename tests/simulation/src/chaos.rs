//! Does what the schedule says.

mod rare;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::faults::{Deed, Schedule, Trouble};
use crate::fleet::Fleet;
use crate::history::{Name, What};
use crate::oracle::Times;
use crate::processor::Stage;
use crate::watcher::Watcher;
use crate::workload::Workload;

/// A fleet does not grow beyond this.
const MOST_WORKERS: usize = 8;

/// The one who disturbs.
#[derive(Clone)]
pub struct Chaos {
    stage: Stage,
    fleet: Fleet,
    workload: Arc<Mutex<Workload>>,
    watcher: Watcher,
    times: Times,
    world: Name,
    /// Deeds that are yet to be done.
    pending: Arc<AtomicUsize>,
}

impl Chaos {
    /// Who may disturb all of these.
    pub fn new(
        stage: Stage,
        fleet: Fleet,
        workload: Arc<Mutex<Workload>>,
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
            pending: Arc::default(),
        }
    }

    /// Disturbs the world for a while, or until a rule is broken.
    pub async fn rage(&self, mut schedule: Schedule, lasting: Duration) {
        let end = Instant::now() + lasting;
        while !self.stage.history.is_violated() {
            let (pause, deed) = schedule.next_deed();
            let due = (Instant::now() + pause).min(end);
            while Instant::now() < due && !self.stage.history.is_violated() {
                sleep(Duration::from_millis(100).min(due - Instant::now())).await;
            }
            if Instant::now() >= end {
                return;
            }
            self.stage.network.count(deed.name());
            self.perform(deed, &mut schedule).await;
        }
    }

    /// Whether workers may still join or leave.
    pub fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }

    fn note(&self, who: &Name, text: String) {
        self.stage.history.record(who, What::Disturbed(text));
    }

    async fn perform(&self, deed: Deed, schedule: &mut Schedule) {
        match deed {
            Deed::Kill => {
                if let Some(member) = self.fleet.draw(schedule.dice()) {
                    self.fleet.kill(member);
                    self.later(schedule, 5_000, |chaos| async move { chaos.fleet.start() });
                }
            }
            Deed::KillAndReturn => {
                if let Some(member) = self.fleet.draw(schedule.dice()) {
                    let id = self.fleet.kill(member);
                    self.later(
                        schedule,
                        15_000,
                        |chaos| async move { chaos.fleet.start_again(id) },
                    );
                }
            }
            Deed::Freeze => {
                if let Some(who) = self.fleet.any(schedule.dice()) {
                    let time = schedule.duration(self.times.failover);
                    self.note(&who, format!("frozen for {time:?}"));
                    self.stage.network.freeze(&who, Instant::now() + time);
                    self.impair(&who, time, |_| {});
                }
            }
            Deed::CutDynamoDb => self.trouble(Trouble::NoDynamoDb, schedule),
            Deed::CutKinesis => self.trouble(Trouble::NoKinesis, schedule),
            Deed::CutBoth => self.trouble(Trouble::Neither, schedule),
            Deed::OneWay => self.trouble(Trouble::OneWay, schedule),
            Deed::Throttle => self.trouble(Trouble::Throttled, schedule),
            Deed::Slow => {
                let delay = Duration::from_millis(schedule.dice().between(20, 4_000));
                self.trouble(Trouble::Slow(delay), schedule);
            }
            Deed::ClockJump => {
                let seconds = *schedule
                    .dice()
                    .pick(&[-86_400, -3_600, -30, 30, 3_600, 86_400])
                    .unwrap_or(&30);
                if let Some(who) = self.fleet.any(schedule.dice()) {
                    self.fleet.each(|member| {
                        if member.who == who {
                            member.skew(seconds * 1_000);
                        }
                    });
                    self.note(&who, format!("its wall clock jumps by {seconds} s"));
                }
            }
            Deed::Split | Deed::DoubleSplit => {
                let done = self.workload.lock().await.split(deed == Deed::DoubleSplit).await;
                self.note(&self.world, done);
            }
            Deed::Merge => {
                let done = self.workload.lock().await.merge().await;
                self.note(&self.world, done);
            }
            Deed::ScaleOut if self.fleet.len() < MOST_WORKERS => self.fleet.start(),
            Deed::ScaleOut => {}
            Deed::ScaleIn => {
                if let Some(member) = self.fleet.draw(schedule.dice()) {
                    self.later(schedule, 1, |chaos| async move { chaos.fleet.stop(member).await });
                }
            }
            Deed::Deploy => {
                let old = self.fleet.len();
                self.note(&self.world, format!("deploys, {old} workers"));
                self.later(schedule, 1, move |chaos| async move {
                    for _ in 0..old {
                        chaos.fleet.start();
                        if let Some(member) = chaos.fleet.oldest() {
                            chaos.fleet.stop(member).await;
                        }
                    }
                });
            }
            Deed::DeleteRow => self.watcher.delete_some_row(),
            Deed::EditRow => self.watcher.edit_some_row(),
            Deed::DeleteTable => {
                self.watcher.delete_table();
                self.later(schedule, 20_000, |chaos| async move { chaos.fleet.start() });
            }
            Deed::Lag => {
                let lag = Duration::from_millis(schedule.dice().between(100, 5_000));
                self.trouble(Trouble::Lagging(lag), schedule);
            }
            Deed::Outage => {
                if let Some(member) = self.fleet.draw(schedule.dice()) {
                    let id = self.fleet.kill(member);
                    // Records are old when they are trimmed: nobody reads on from just before them.
                    if !self.fleet.each(|member| member.id.clone()).contains(&id) {
                        self.watcher.trim_what_belongs_to(&id);
                    }
                    self.later(schedule, 5_000, |chaos| async move { chaos.fleet.start() });
                }
            }
            Deed::Twin => self.start_twin(schedule),
            Deed::DenyReads => self.deny_reads(schedule),
            Deed::DenyIndex => self.deny_index(schedule),
            Deed::LoseIndex => self.lose_index(schedule),
            Deed::Block => self.block(schedule),
            Deed::Damage => self.damage(schedule),
            Deed::MakeAnew => self.make_anew(schedule).await,
        }
    }

    /// Brings trouble over a random worker, for a while.
    fn trouble(&self, trouble: Trouble, schedule: &mut Schedule) {
        let Some(who) = self.fleet.any(schedule.dice()) else {
            return;
        };
        let time = schedule.duration(self.times.failover);
        self.note(&who, format!("{trouble:?} for {time:?}"));
        self.stage.network.trouble(&who, trouble);
        let healed = who.clone();
        self.impair(&who, time, move |chaos| {
            chaos.stage.network.heal(&healed);
            chaos.note(&healed, "its network heals".to_owned());
        });
    }

    /// A worker is in trouble for a while; what is done when that is over.
    fn impair(&self, who: &Name, time: Duration, over: impl FnOnce(&Self) + Send + 'static) {
        self.stage.history.record(who, What::Impaired);
        let (chaos, who) = (self.clone(), who.clone());
        tokio::spawn(async move {
            sleep(time).await;
            over(&chaos);
            chaos.stage.history.record(&who, What::Recovered);
        });
    }

    /// Does something after at most so many milliseconds, while other things happen.
    fn later<F, D>(&self, schedule: &mut Schedule, most: u64, deed: D)
    where
        D: FnOnce(Self) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let pause = Duration::from_millis(schedule.dice().roll(most));
        let chaos = self.clone();
        self.pending.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            sleep(pause).await;
            deed(chaos.clone()).await;
            chaos.pending.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").finish_non_exhaustive()
    }
}
