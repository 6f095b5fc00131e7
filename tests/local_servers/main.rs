//! The end-to-end scenarios against the servers that LocalStack is made of: kinesis-local for Kinesis, DynamoDB Local for
//! DynamoDB. In real time.
//!
//! Needs Java 17 or later, Maven, Node.js and npm, and what Maven and npm fetch once; where one of them is missing the suite
//! says so and passes. What the servers logged: `target/tmp/local-servers/logs`.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod fetched;
mod running;

use std::process::ExitCode;
use std::time::Duration;

use kcl_tests::runner::{Scenario, Suite};
use kcl_tests::{World, WorldOptions, scenarios};

macro_rules! scenario {
    ($name:ident, $shards:literal) => {
        Scenario {
            name: stringify!($name),
            is_short: true,
            prepare: running::start,
            run: || {
                Box::pin(async {
                    scenarios::$name(world(stringify!($name), $shards).await).await;
                })
            },
        }
    };
}

const SCENARIOS: &[Scenario] = &[
    scenario!(a_second_start_goes_on_where_the_first_stopped, 4),
    scenario!(two_workers_share_a_stream_and_hand_it_on, 2),
    scenario!(a_killed_worker_is_replaced_by_its_peer, 4),
    scenario!(a_lone_worker_that_is_killed_is_followed_by_a_new_one, 4),
    scenario!(a_split_is_followed_by_both_children, 2),
    scenario!(a_merged_shard_waits_for_both_parents, 2),
];

/// A stream and a lease table of this name.
async fn world(name: &'static str, shards: i32) -> World<kcl_tests::Remote> {
    let options = WorldOptions {
        application: name,
        stream: name,
        shards,
        failover_time: Duration::from_secs(4),
        ..WorldOptions::default()
    };
    World::on(running::endpoints(), options).await
}

fn main() -> ExitCode {
    let suite = Suite {
        scenarios: SCENARIOS,
        all: None,
        // kinesis-local has one thread, and answers some 150 requests in a second.
        at_once: 3,
        limit: Duration::from_secs(180),
    };
    let code = suite.run();
    running::stop();
    code
}
