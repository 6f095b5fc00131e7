//! How soon records flow again after whatever happens to a fleet: `cargo bench -p kcl-tests --bench transitions`.
//!
//! In virtual time, with 64 shards, 4 workers, a fail-over time of 10 s and 5 ms for each request, 40 runs each; what is
//! disturbed, is disturbed at another moment each time. `-- --runs 100` runs more, `-- --tcp` runs a few in real time
//! over TCP instead, `-- --failover 3` sets another fail-over time in seconds, and a word on the command line picks
//! transitions whose names contain it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench program"
)]

mod fleet;
mod flow;
mod measures;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::fleet::{Place, Setting};
use crate::measures::{ALL, Took, Transition};

const RUNS: u64 = 40;
const RUNS_OVER_TCP: u64 = 3;

struct Request {
    runs: u64,
    place: Place,
    failover: Duration,
    words: Vec<String>,
}

impl Request {
    /// `None` unless measurements are wanted: `cargo test --benches` runs bench programs too.
    fn read() -> Option<Self> {
        let mut arguments = std::env::args().skip(1);
        let (mut wanted, mut runs, mut failover) = (false, None, None);
        let (mut place, mut words) = (Place::InProcess, Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => wanted = true,
                "--tcp" => place = Place::Tcp,
                "--failover" => failover = arguments.next().and_then(|seconds| seconds.parse().ok()),
                "--runs" => runs = arguments.next().and_then(|runs| runs.parse().ok()),
                _ => words.push(argument),
            }
        }
        let usual = match place {
            Place::InProcess => RUNS,
            Place::Tcp => RUNS_OVER_TCP,
        };
        wanted.then_some(Self {
            runs: runs.unwrap_or(usual),
            place,
            failover: Duration::from_secs(failover.unwrap_or(10)),
            words,
        })
    }

    fn wants(&self, transition: &Transition) -> bool {
        self.words.is_empty()
            || self
                .words
                .iter()
                .any(|word| transition.name.contains(word.as_str()))
    }
}

fn runtime(place: Place) -> Runtime {
    match place {
        Place::InProcess => Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build(),
        Place::Tcp => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
    }
    .expect("a runtime")
}

fn main() {
    let Some(request) = Request::read() else { return };
    println!(
        "seconds to records flowing again, fail-over time {:?}, {} runs each",
        request.failover, request.runs
    );
    println!(
        "{:<60} {:>8} {:>8} {:>8} {:>10}  aim",
        "transition", "p50", "p99", "most", "duplicates"
    );
    for transition in ALL.iter().filter(|transition| request.wants(transition)) {
        let mut all = Vec::new();
        let mut duplicates = 0;
        for run in 0..request.runs {
            let setting = Setting {
                place: request.place,
                failover: request.failover,
                run,
            };
            let Took { seconds, twice } = runtime(request.place).block_on((transition.measure)(setting));
            all.push(seconds);
            duplicates += twice;
        }
        all.sort_by(f64::total_cmp);
        println!(
            "{:<60} {:>8.3} {:>8.3} {:>8.3} {:>10}  {}",
            transition.name,
            percentile(&all, 0.5),
            percentile(&all, 0.99),
            percentile(&all, 1.0),
            duplicates,
            transition.aim
        );
    }
}

/// The smallest value that so large a part of all does not exceed.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}
