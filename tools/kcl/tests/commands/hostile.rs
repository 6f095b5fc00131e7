//! Rows that somebody wrote to do harm, or by mistake.

use kcl_lease::LeaseStore as _;

use super::world::{World, number, text};

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|it| it.is_control() && it != '\n') && !text.contains('\u{202e}')
}

/// A table with rows of every kind, all of them bad.
async fn world() -> World {
    let world = World::without_stream();
    world.store().prepare().await.expect("made");
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\n\r";
    let huge = "x".repeat(300_000);
    let lease = |key: &str, owner: &str| {
        vec![
            ("leaseKey", text(key)),
            ("leaseOwner", text(owner)),
            ("leaseCounter", number(u64::MAX)),
            ("checkpoint", text("TRIM_HORIZON")),
            ("checkpointSubSequenceNumber", number(0)),
            ("ownerSwitchesSinceCheckpoint", number(u64::MAX)),
            ("pausedSince", number(u64::MAX)),
            ("readingSince", number(u64::MAX)),
            ("throughputKBps", number("1e120")),
        ]
    };
    world.put_item("app", &lease(evil, evil)).await;
    world.put_item("app", &lease("huge owner", "y")).await;
    world
        .put_item(
            "app",
            &[("leaseKey", text("wrong types")), ("leaseCounter", text(evil))],
        )
        .await;
    let mut long = lease("long", "z");
    long.push(("checkpointOwner", text(&huge[..1_000])));
    long.push(("futureAttribute", text(&huge)));
    world.put_item("app", &long).await;
    let worker = |id: &str, at: u64| {
        [
            ("leaseKey", text(id)),
            ("entityType", text("WORKER_METRIC_STATS")),
            ("lut", number(at)),
            ("reportPeriodMillis", number(u64::MAX)),
            ("failoverTimeMillis", number(10_000)),
        ]
    };
    world
        .put_item("app", &worker(&format!("w{evil}"), u64::MAX))
        .await;
    world
        .put_item(
            "app",
            &[
                ("leaseKey", text("Leader")),
                ("entityType", text("LEADER")),
                ("ownerName", text(evil)),
                ("leaseDuration", text("soon")),
                ("recordVersionNumber", text("v")),
            ],
        )
        .await;
    world
}

#[tokio::test(start_paused = true)]
async fn no_row_reaches_the_terminal_unescaped_or_breaks_a_command() {
    let world = world().await;
    for arguments in [
        &["list"][..],
        &["plan"],
        &["explain", "long"],
        &["explain", "wrong types"],
        &["watch", "--looks", "2"],
        &["cost", "--watch-for", "1s"],
        &["migrate"],
        &["pause", "--all", "--dry-run"],
        &["reset", "--all", "--to", "beginning", "--dry-run"],
    ] {
        for json in [false, true] {
            let all: Vec<&str> = json
                .then_some("--json")
                .into_iter()
                .chain(arguments.iter().copied())
                .collect();
            let told = world.kcl(&all).await;
            assert!(is_harmless(&told.out), "{all:?}: {:?}", told.out);
            assert!(is_harmless(&told.err), "{all:?}: {:?}", told.err);
            assert!(
                told.out.len() < 100_000,
                "{all:?} writes {} bytes",
                told.out.len()
            );
        }
    }
    let told = world.kcl(&["list"]).await;
    told.says(
        3,
        &[
            r"\u{1b}[2J",
            "1 row cannot be read",
            "wrong types: checkpoint is missing",
            "leaseDuration is",
        ],
    );
    let told = world.kcl(&["explain", "wrong types"]).await;
    told.says(1, &["cannot be read as a lease"]);
    let told = world.kcl(&["pause", "--all", "--yes"]).await;
    // Leases without the row that says which protocol is spoken are of 2.x.
    told.says(1, &["KCL 2.x"]);
}
