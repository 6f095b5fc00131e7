//! Moves, drains and pauses, in a fleet that runs.

use std::time::Duration;

use kcl_lease::LeaseStore as _;
use kcl_local::faults::{Fault, Loss, Rule};
use tokio::time::{sleep, timeout};

use super::world::{World, number, text};

async fn key_of(world: &World, owner: &str) -> String {
    let table = world.table().await;
    let lease = table.leases.into_iter().find(|it| it.owner == Some(owner.into()));
    lease.expect("it has one").key.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_handed_over_in_good_order_and_what_the_leader_makes_of_it_is_told() {
    let (world, fleet) = World::with_fleet(4, ["w1", "w2"]).await;
    let key = key_of(&world, "w1").await;
    let before = world.lease(&key).await;
    let told = world.kcl(&["move", &key, "w2", "--dry-run"]).await;
    told.says(
        0,
        &[
            "w1 is asked to finish and to hand it over to w2",
            r#"writes: leaseOwner = "w2", checkpointOwner = "w1""#,
            r#"if: the row exists, leaseOwner is "w1", checkpointOwner is absent"#,
            "The leader will probably even that out",
            "1 row would be written",
        ],
    );
    assert_eq!(world.lease(&key).await.owner, before.owner, "nothing was written");
    // Without anybody to ask nothing is written, nor if the answer is no.
    world
        .kcl(&["move", &key, "w2"])
        .await
        .says(2, &["give --yes to write this"]);
    let told = world.kcl_with(&["move", &key, "w2"], Some(false)).await;
    told.says(4, &["Nothing was changed."]);
    assert_eq!(world.lease(&key).await.owner, before.owner);
    let told = world.kcl_with(&["move", &key, "w2"], Some(true)).await;
    told.says(0, &["1 row written.", &format!("w2 has {key} after")]);
    assert!(fleet[0].leases() <= 2 && fleet[1].leases() >= 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_moved_is_refused() {
    let (world, [_w1, w2]) = World::with_fleet(2, ["w1", "w2"]).await;
    let key = key_of(&world, "w1").await;
    w2.kill().await;
    let told = world.kcl(&["move", &key, "w2", "--yes"]).await;
    told.says(1, &["w2 gave no sign of life while it was watched"]);
    let told = world.kcl(&["move", "shardId-000000000009", "w1", "--yes"]).await;
    told.says(1, &["the table has no lease shardId-000000000009"]);
    let told = world.kcl(&["--json", "move", &key, "w1", "--yes"]).await;
    told.says(0, &["w1 has shardId"]);
    assert_eq!(told.json()["changes"].as_array().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_found_to_be_made() {
    let (world, [_w1, _w2]) = World::with_fleet(4, ["w1", "w2"]).await;
    let key = key_of(&world, "w1").await;
    let lost = Fault::drop_answer(Loss::Hang);
    world
        .faults
        .add(Rule::on("UpdateItem").by("kcl").times(1).fault(lost));
    let told = world.kcl(&["move", &key, "w2", "--yes", "--no-wait"]).await;
    told.says(0, &["1 row written."]);
    // One that is never answered, however often it is sent, and one that never arrives.
    let key = key_of(&world, "w1").await;
    let lost = Fault::drop_answer(Loss::Hang);
    let rule = world.faults.add(Rule::on("UpdateItem").by("kcl").fault(lost));
    let told = world.kcl(&["pause", &key, "--yes"]).await;
    told.says(0, &["1 row written."]);
    world.faults.remove(rule);
    let lost = Fault::drop_request(Loss::Hang);
    world.faults.add(Rule::on("UpdateItem").by("kcl").fault(lost));
    let told = world.kcl(&["resume", &key, "--yes"]).await;
    told.says(1, &["it is not known whether it was written", "look again"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_drained_has_nothing_until_that_is_ended() {
    let (world, [w1, w2]) = World::with_fleet(4, ["w1", "w2"]).await;
    let told = world.kcl(&["--json", "drain", "w1", "--dry-run"]).await.json();
    let changes = told["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{told}");
    assert_eq!(
        (&changes[0]["worker"], &changes[0]["conditions"][0]),
        (&"w1".into(), &"the row exists".into())
    );
    let told = world.kcl(&["drain", "w1", "--yes"]).await;
    told.says(
        0,
        &[
            "The leader hands 2 shards over. w1 is given nothing until it is stopped",
            "1 row written.",
            "w2 has shardId-",
        ],
    );
    world
        .until("w2 has all", async || w2.leases() == 4 && w1.leases() == 0)
        .await;
    // It reports every 3 s, and the leader balances now and then.
    for _ in 0..40 {
        sleep(Duration::from_secs(3)).await;
        assert_eq!(w1.leases(), 0);
    }
    let list = world.kcl(&["list"]).await;
    list.says(
        3,
        &[
            "drained",
            "worker w1 was drained 2 min",
            "`kcl undrain w1` ends that",
        ],
    );
    world
        .kcl(&["drain", "w1", "--yes"])
        .await
        .says(0, &["Nothing is to be written."]);

    let told = world.kcl(&["undrain", "w1", "--yes"]).await;
    told.says(0, &["drainedSince removed", "1 row written."]);
    world
        .until("each has two", async || w1.leases() == 2 && w2.leases() == 2)
        .await;
    world
        .kcl(&["undrain", "w1", "--yes"])
        .await
        .says(0, &["Nothing is to be written."]);
    for command in ["drain", "undrain"] {
        let told = world.kcl(&[command, "w3", "--yes"]).await;
        told.says(1, &["there is no worker w3"]);
    }
    w1.stop().await;
    w2.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_takes_the_name_of_one_that_was_drained_is_not() {
    let (world, [w1, w2]) = World::with_fleet(2, ["w1", "w2"]).await;
    world
        .kcl(&["drain", "w1", "--yes"])
        .await
        .says(0, &["1 row written."]);
    w1.kill().await;
    let w1 = world.worker("w1");
    world
        .until("each has one", async || w1.leases() == 1 && w2.leases() == 1)
        .await;
    w1.stop().await;
    w2.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_drained_once_and_it_is_said_that_it_gets_shards_again() {
    let (world, [w1, w2]) = World::with_fleet(4, ["w1", "w2"]).await;
    let told = world.kcl(&["drain", "w1", "--yes", "--no-wait", "--once"]).await;
    told.says(
        0,
        &[
            "2 rows written.",
            "the leader will give it 2 shards again soon. Stop it as soon as it is empty.",
        ],
    );
    timeout(
        Duration::from_secs(20),
        world.until("w2 has all", async || w2.leases() == 4 || w1.leases() == 0),
    )
    .await
    .expect("handed over");
    w1.stop().await;
    w2.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_only_worker_cannot_be_drained() {
    let (world, [_w1]) = World::with_fleet(2, ["w1"]).await;
    let told = world.kcl(&["drain", "w1", "--yes"]).await;
    told.says(1, &["no other worker may be given shardId-000000000000"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_whoever_has_the_shard_and_ends_when_it_is_resumed() {
    let (world, [w1]) = World::with_fleet(1, ["w1"]).await;
    let key = "shardId-000000000000";
    world.put("before", "k").await;
    world
        .until("processed", async || world.processed() == ["before"])
        .await;
    let counter = world.lease(key).await.counter;
    let told = world.kcl(&["pause", key, key, "--yes"]).await;
    told.says(
        0,
        &[
            "1 row written.",
            "paused, at w1 and whoever has it next",
            "pausedSince = 18000",
        ],
    );
    assert!(world.lease(key).await.paused_since.is_some());
    // Its owner learns of it with its next renewal.
    world
        .until("it knows", async || {
            let status = w1.handle.status();
            status.leases_held == 1 && world.lease(key).await.counter > counter + 1
        })
        .await;
    world.put("meanwhile", "k").await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.processed(), ["before"], "nothing is delivered");
    world.kcl(&["list"]).await.says(0, &["owned, paused 1 min"]);
    world
        .kcl(&["explain", key])
        .await
        .says(3, &["`kcl resume shardId-000000000000` ends that"]);
    world
        .kcl(&["pause", key, "--yes"])
        .await
        .says(0, &["Nothing is to be written."]);
    let told = world.kcl(&["resume", "--all", "--yes"]).await;
    told.says(0, &["pausedSince removed", "1 row written."]);
    world
        .until("it goes on", async || world.processed().len() == 2)
        .await;
    assert_eq!(w1.handle.status().problems.len(), 0, "the lease was never lost");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_a_table_with_rows_that_are_not_understood() {
    let world = World::with_shards(1).await;
    world.store().prepare().await.expect("made");
    let lease = kcl_lease::Lease::new("shardId-000000000000", kcl_core::Checkpoint::TrimHorizon);
    world.store().create(&lease).await.expect("made");
    let version = kcl_lease::ClientVersion::new(kcl_lease::ClientVersion::CURRENT, "w", 1);
    world.store().agree_on_version(&version).await.expect("agreed");
    world
        .kcl(&["pause", "--all", "--dry-run"])
        .await
        .says(0, &["1 row would be written"]);
    let strange: [&[_]; 3] = [
        &[("leaseKey", text("broken")), ("checkpoint", number(7))],
        &[("leaseKey", text("new")), ("entityType", text("TENANT"))],
        &[("leaseKey", text("Leader")), ("entityType", text("LEADER"))],
    ];
    for item in strange {
        world.put_item("app", item).await;
        for command in [
            &["pause", "--all", "--yes"][..],
            &["reset", "--all", "--to", "beginning", "--yes"],
            &["move", "shardId-000000000000", "w", "--yes"],
            &["drain", "w", "--yes"],
        ] {
            let told = world.kcl(command).await;
            told.says(1, &["nothing is written to this table"]);
        }
        let key = item[0].1.clone();
        let delete = world
            .dynamodb
            .delete_item()
            .table_name("app")
            .key("leaseKey", key);
        delete.send().await.expect("deleted");
    }
    assert_eq!(world.lease("shardId-000000000000").await, lease);
}
