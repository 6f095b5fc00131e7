//! Plays a fleet whose loads answer to its plans, with the delay and the noise of real reports.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use super::super::*;
use super::left_by;
use crate::checkpoint::Checkpoint;
use crate::lease::Lease;
use crate::plan::{BalanceLimits, Balancer, Balancing, Claim, Relocation, WorkerView};
use crate::store::WorkerMetric;

const REPORT: u64 = 30;
/// Leaders look more often; here that would only take time.
const SCAN: u64 = 10;

struct Shard {
    kbps: f64,
    /// What it really costs, in points of a processor; the planner only guesses.
    cost: f64,
    owner: usize,
    moved: Option<(usize, u64)>,
}

struct Member {
    /// What its machine does besides.
    base: f64,
    since: u64,
    sum: f64,
    reports: VecDeque<f64>,
}

struct Model {
    rng: fastrand::Rng,
    balancer: Balancer,
    shards: Vec<Shard>,
    members: Vec<Member>,
    noise: f64,
    /// Second, shard, from, to.
    moves: Vec<(u64, usize, usize, usize)>,
}

impl Model {
    fn new(seed: u64, shards: usize, members: usize, noise: f64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut shard = |owner| {
            let kbps = 20.0 + 480.0 * rng.f64();
            Shard {
                kbps,
                cost: kbps * (0.5 + rng.f64()) * 45.0 * members as f64 / (shards as f64 * 260.0),
                owner,
                moved: None,
            }
        };
        let shards = (0..shards).map(|i| shard(i % members)).collect();
        let mut model = Self {
            balancer: Balancer::new(
                Balancing::Utilization,
                BalanceLimits {
                    max_leases: usize::MAX,
                    report_interval: std::time::Duration::from_secs(30),
                },
            ),
            shards,
            members: Vec::new(),
            noise,
            moves: Vec::new(),
            rng,
        };
        for _ in 0..members {
            model.join(0);
        }
        model
    }

    fn join(&mut self, now: u64) {
        let base = 10.0 * self.rng.f64();
        // Its processors are not in step.
        let since = now.saturating_sub(self.rng.u64(..REPORT));
        self.members.push(Member {
            base,
            since,
            sum: 0.0,
            reports: VecDeque::from([0.0]),
        });
    }

    fn load(&self, member: usize) -> f64 {
        let owned = self.shards.iter().filter(|shard| shard.owner == member);
        let cost: f64 = owned.map(|shard| shard.cost).sum();
        (self.members[member].base + cost).min(100.0)
    }

    fn run(&mut self, seconds: std::ops::Range<u64>) {
        for now in seconds {
            for id in 0..self.members.len() {
                let noise = self.noise * (2.0 * self.rng.f64() - 1.0);
                let load = self.load(id);
                let member = &mut self.members[id];
                member.sum += load;
                if now >= member.since + REPORT {
                    let mean = member.sum / REPORT as f64 + noise;
                    member.reports.push_back(mean.clamp(0.0, 100.0));
                    (member.sum, member.since) = (0.0, now);
                    if member.reports.len() > 10 || member.reports.len() == 2 && member.reports[0] == 0.0 {
                        member.reports.pop_front();
                    }
                }
            }
            if now % SCAN != 0 {
                continue;
            }
            for planned in self.balancer.plan(&self.view(now)) {
                let shard: usize = planned.lease.key.as_str().parse().unwrap();
                let to: usize = planned.target().unwrap().as_str().parse().unwrap();
                let from = std::mem::replace(&mut self.shards[shard].owner, to);
                self.shards[shard].moved = Some((from, now));
                self.moves.push((now, shard, from, to));
            }
        }
    }

    fn view(&self, now: u64) -> FleetView {
        let name = |id: usize| format!("{id:03}");
        let leases = self.shards.iter().enumerate().map(|(key, shard)| {
            let moved = shard.moved.map(|(from, at)| Relocation {
                from: Some(name(from).as_str().into()),
                ago: Duration::from_secs(now - at),
            });
            LeaseView {
                left: left_by(moved.as_ref()),
                lease: Lease {
                    owner: Some(name(shard.owner).as_str().into()),
                    throughput_kbps: Some(shard.kbps),
                    ..Lease::new(name(key).as_str(), Checkpoint::TrimHorizon)
                },
                state: LeaseState::Live,
                claim: Claim::Yes,
                kbps: Some(shard.kbps),
                moved,
            }
        });
        let workers = self.members.iter().enumerate().map(|(id, member)| WorkerView {
            id: name(id).as_str().into(),
            eligible: true,
            overdue: false,
            is_unheard: false,
            metrics: BTreeMap::from([(
                WorkerMetric::CPU.to_owned(),
                WorkerMetric {
                    samples: member.reports.iter().copied().collect(),
                    max_utilization: 100.0,
                },
            )]),
            is_unmeasured: false,
            trouble: Default::default(),
        });
        FleetView {
            leases: leases.collect(),
            workers: workers.collect(),
            next_expiry: None,
        }
    }

    fn loads(&self) -> Vec<f64> {
        (0..self.members.len()).map(|id| self.load(id)).collect()
    }

    /// The most loaded worker's distance to the mean, in points.
    fn excess(&self) -> f64 {
        let loads = self.loads();
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        loads.iter().copied().fold(0.0, f64::max) - mean
    }

    fn story(&self) -> String {
        let mut story = String::new();
        for (second, shard, from, to) in &self.moves {
            let _ = write!(story, "{second}s {shard}:{from}>{to} ");
        }
        let _ = write!(story, "{:.1?}", self.loads());
        story
    }
}

#[test]
fn a_fleet_comes_to_rest_whatever_its_shards_cost() {
    for seed in 0..12 {
        let (shards, members) = (8 + (seed as usize * 7) % 50, 2 + (seed as usize) % 9);
        let mut model = Model::new(seed, shards, members, 2.0);
        let before = model.excess();
        model.run(0..1800);
        let early = model.moves.len();
        model.run(1800..5400);
        let late = model.moves.len() - early;
        assert!(
            early <= shards && late <= 2,
            "seed {seed}: {late} late: {}",
            model.story()
        );
        let dearest = model.shards.iter().map(|shard| shard.cost).fold(0.0, f64::max);
        let after = model.excess();
        assert!(
            after <= before.max(5.0),
            "seed {seed}: {before} became {}",
            model.story()
        );
        assert!(
            after <= dearest.max(10.0),
            "seed {seed}: {after}: {}",
            model.story()
        );
    }
}

#[test]
fn a_worker_that_joins_has_leases_at_once_and_its_part_of_the_load_in_time() {
    for seed in 0..12 {
        let (shards, members) = (20 + (seed as usize * 7) % 40, 2 + (seed as usize) % 5);
        let mut model = Model::new(seed, shards, members, 2.0);
        model.run(0..3600);
        let joins = model.moves.len();
        model.join(3600);
        model.run(3600..3601);
        let given = model.moves.len() - joins;
        assert!(given > 0, "seed {seed}: {}", model.story());
        model.run(3601..7200);
        let load = model.load(members);
        let mean = model.loads().iter().sum::<f64>() / (members + 1) as f64;
        assert!(
            (load - mean).abs() < 15.0,
            "seed {seed}: {load:.1} of {mean:.1}: {}",
            model.story()
        );
    }
}

#[test]
fn equal_workers_with_noisy_reports_keep_what_they_have() {
    for seed in 0..10 {
        let mut model = Model::new(seed, 24, 4, 4.0);
        for shard in &mut model.shards {
            (shard.kbps, shard.cost) = (250.0, 8.0);
        }
        for member in &mut model.members {
            member.base = 5.0;
        }
        model.run(0..7200);
        assert!(model.moves.is_empty(), "seed {seed}: {}", model.story());
    }
}
