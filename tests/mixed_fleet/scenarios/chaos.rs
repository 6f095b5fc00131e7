//! A long history of everything at once: workers, shards and the network, chosen by a seed.

use std::time::Duration;

use kcl_local::faults::{Fault, Loss, Rule};
use kcl_tests::Running;
use tokio::time::{Instant, sleep};

use crate::fleet::{CURRENT, MixedFleet};
use crate::java::JavaWorker;

/// How long disturbances go on.
const DURATION: Duration = Duration::from_secs(200);

/// Workers of one kind at a time: each Java worker is a process that wants its share of the machine.
const MOST: usize = 2;

/// Long enough for batches to be under way when something happens.
const WORK: Duration = Duration::from_millis(150);

struct Fleet {
    fleet: MixedFleet,
    dice: fastrand::Rng,
    java: Vec<JavaWorker>,
    rust: Vec<Running>,
    started: usize,
}

/// Workers of both kinds come, leave, crash, freeze and lose the network while shards are split and merged. `KCL_MIXED_SEED` picks
/// another history; time is real, so a history is repeated only roughly.
pub(crate) async fn whatever_happens_nothing_is_lost(scenario: &'static str) {
    let seed = std::env::var("KCL_MIXED_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let scenario = format!("{scenario}-{seed}").leak();
    println!("{scenario}: KCL_MIXED_SEED={seed}");
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let mut all = Fleet {
        fleet,
        dice: fastrand::Rng::with_seed(seed),
        java: Vec::new(),
        rust: Vec::new(),
        started: 0,
    };
    all.start_java();
    all.start_rust();
    let end = Instant::now() + DURATION;
    while Instant::now() < end {
        all.step().await;
        if all.dice.bool() {
            all.fleet.until_caught_up().await;
        } else {
            sleep(Duration::from_millis(all.dice.u64(0..6000))).await;
        }
    }
    all.fleet.until_caught_up().await;
    all.fleet.settle(producer).await;
    for worker in all.rust {
        worker.stop().await;
    }
    for worker in all.java {
        worker.stop().await;
    }
}

impl Fleet {
    fn next_name(&mut self, kind: &str) -> String {
        self.started += 1;
        format!("{kind}{}", self.started)
    }

    fn start_java(&mut self) {
        let name = self.next_name("java");
        println!("start {name}");
        let mut options = self.fleet.java_options(CURRENT);
        options
            .settings
            .insert("workMillis", WORK.as_millis().to_string());
        self.java.push(self.fleet.java_with(&name, &options));
    }

    fn start_rust(&mut self) {
        let name = self.next_name("rust");
        println!("start {name}");
        self.rust.push(self.fleet.rust_at_work(&name, WORK));
    }

    fn has_company(&self) -> bool {
        self.java.len() + self.rust.len() > 1
    }

    fn some_java(&mut self) -> Option<JavaWorker> {
        let index = (!self.java.is_empty()).then(|| self.dice.usize(..self.java.len()))?;
        Some(self.java.remove(index))
    }

    fn some_rust(&mut self) -> Option<Running> {
        let index = (!self.rust.is_empty()).then(|| self.dice.usize(..self.rust.len()))?;
        Some(self.rust.remove(index))
    }

    /// A worker that runs.
    fn some_name(&mut self) -> String {
        let java = self.java.iter().map(|worker| &worker.name);
        let names: Vec<_> = java.chain(self.rust.iter().map(|worker| &worker.name)).collect();
        names[self.dice.usize(..names.len())].clone()
    }

    async fn step(&mut self) {
        match self.dice.u8(0..14) {
            0 | 1 if self.java.len() < MOST => self.start_java(),
            2 | 3 if self.rust.len() < MOST => self.start_rust(),
            4 if self.has_company() => {
                if let Some(java) = self.some_java() {
                    println!("stop {}", java.name);
                    java.stop().await;
                }
            }
            5 if self.has_company() => {
                if let Some(rust) = self.some_rust() {
                    println!("stop {}", rust.name);
                    rust.stop().await;
                }
            }
            6 if self.has_company() => {
                if let Some(java) = self.some_java() {
                    println!("kill {}", java.name);
                    java.kill();
                }
            }
            7 if self.has_company() => {
                if let Some(rust) = self.some_rust() {
                    println!("kill {}", rust.name);
                    rust.kill().await;
                }
            }
            8 | 9 => {
                if let Some(java) = self.some_java() {
                    let pause = Duration::from_millis(self.dice.u64(1000..12_000));
                    println!("freeze {} for {pause:?}", java.name);
                    java.freeze();
                    sleep(pause).await;
                    java.thaw();
                    self.java.push(java);
                }
            }
            10 => self.split().await,
            11 => self.merge().await,
            12 => {
                let name = self.some_name();
                let pause = Duration::from_millis(self.dice.u64(1000..9000));
                println!("cut {name} off for {pause:?}");
                self.fleet.world.servers.faults.cut(&name);
                sleep(pause).await;
                self.fleet.world.servers.faults.heal(&name);
            }
            13 => {
                let (name, times) = (self.some_name(), self.dice.u64(1..8));
                println!("lose {times} answers to writes of {name}");
                for operation in ["UpdateItem", "PutItem", "DeleteItem"] {
                    let rule = Rule::on(operation).by(&name).times(times);
                    self.fleet
                        .world
                        .servers
                        .faults
                        .add(rule.fault(Fault::drop_answer(Loss::Reset)));
                }
            }
            _ => {}
        }
    }

    async fn split(&mut self) {
        let open = self.fleet.world.open_shards().await;
        if open.len() < 7 {
            let shard = &open[self.dice.usize(..open.len())];
            println!("split {shard}");
            self.fleet.world.split(shard).await;
        }
    }

    async fn merge(&mut self) {
        let open = self.fleet.world.open_shards().await;
        if open.len() > 3 {
            let pair = self.dice.usize(..open.len() - 1);
            println!("merge {} and {}", open[pair], open[pair + 1]);
            self.fleet.world.merge(&open[pair], &open[pair + 1]).await;
        }
    }
}
