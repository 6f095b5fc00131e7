//! Looking at a fleet that runs, and at what is missing.

use std::time::Duration;

use kcl_lease::{LeaseChange, LeaseStore as _};
use kcl_local::faults::{Fault, Loss, Rule};
use tokio::time::{Instant, sleep};

use super::world::World;

#[tokio::test(start_paused = true)]
async fn a_fleet_is_listed_with_its_leader_and_one_scan_pays_for_it() {
    let (world, fleet) = World::with_fleet(4, ["w1", "w2"]).await;
    let scans = world.faults.add(Rule::on("Scan").by("kcl"));
    let told = world.kcl(&["list"]).await;
    told.says(
        0,
        &[
            "app: 2 workers, 4 shards, 0 ended; leader: w",
            "leads",
            "Rust  2",
            "shardId-000000000003  owned",
        ],
    );
    assert_eq!(world.faults.hits(scans), 1);
    let json = world.kcl(&["--json", "list"]).await.json();
    assert_eq!(json["workers"].as_array().unwrap().len(), 2);
    assert_eq!(json["workers"][0]["kind"], "rust");
    assert_eq!(json["shards"][0]["state"], "owned");
    assert_eq!(json["findings"].as_array().unwrap().len(), 0);
    for worker in fleet {
        worker.stop().await;
    }
    world
        .kcl(&["list"])
        .await
        .says(3, &["4 shards without owner", "leader: none"]);
}

#[tokio::test(start_paused = true)]
async fn lag_is_what_is_not_checkpointed_yet() {
    let (world, [w1]) = World::with_fleet(1, ["w1"]).await;
    world.put("first", "k").await;
    world
        .until("processed", async || world.processed().len() == 1)
        .await;
    world
        .until("nothing is left", async || {
            let json = world.kcl(&["--json", "list", "--lag"]).await.json();
            json["shards"][0]["lag"] == "none"
        })
        .await;
    w1.handle.pause();
    world.put("second", "k").await;
    sleep(Duration::from_secs(90)).await;
    world.put("third", "k").await;
    let told = world.kcl(&["list", "--lag"]).await;
    told.says(0, &["BEHIND", "1 min 30 s"]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_a_dead_worker_is_explained_and_planned_for() {
    let (world, [w1, w2]) = World::with_fleet(2, ["w1", "w2"]).await;
    let of_w1 = || async {
        let table = world.table().await;
        let lease = table.leases.into_iter().find(|it| it.owner == Some("w1".into()));
        lease.map(|lease| lease.key.to_string())
    };
    let key = of_w1().await.expect("it has one");
    let told = world.kcl(&["explain", &key]).await;
    told.says(
        0,
        &[
            "w1, a Rust worker",
            "since      about 2027-01-15T08:0",
            "the leader leaves it where it is",
        ],
    );
    let told = world.kcl(&["plan"]).await;
    told.says(0, &["A leader would change nothing."]);
    let told = world.kcl(&["--json", "plan", "--without", "w1"]).await;
    let json = told.json();
    assert_eq!(json["moves"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(
        (&json["moves"][0]["to"], &json["moves"][0]["how"]),
        (&"w2".into(), &"assign".into())
    );
    world
        .kcl(&["plan", "--without", "w3"])
        .await
        .says(1, &["there is no worker w3"]);
    // Both die: nobody is left to take anything.
    w1.kill().await;
    w2.kill().await;
    let told = world.kcl(&["explain", &key]).await;
    told.says(
        3,
        &[
            "its owner has written nothing for",
            "as good as nobody's",
            "no worker may be given it",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_happens_and_ends_after_so_many_looks() {
    let (world, [w1, w2]) = World::with_fleet(2, ["w1", "w2"]).await;
    let watch = world.kcl(&["watch", "--every", "1s", "--looks", "20"]);
    let happens = async {
        sleep(Duration::from_secs(3)).await;
        w1.stop().await;
    };
    let (told, ()) = tokio::join!(watch, happens);
    told.says(0, &["app: 2 workers, 2 shards", "w1 left", "from w1 to w2"]);
    let lines = world.kcl(&["--json", "watch", "--looks", "2"]).await.out;
    let looks: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines"))
        .collect();
    assert_eq!(looks.len(), 2);
    assert_eq!(looks[1]["workers"][0]["worker"], "w2");
    w2.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_through_a_look_that_fails() {
    let (world, [_w1]) = World::with_fleet(1, ["w1"]).await;
    let fault = Fault::respond(400, "AccessDeniedException");
    world
        .faults
        .add(Rule::on("Scan").by("kcl").skip(1).times(1).fault(fault));
    let told = world.kcl(&["watch", "--looks", "3"]).await;
    told.says(0, &["AccessDeniedException"]);
}

#[tokio::test(start_paused = true)]
async fn the_cost_is_what_was_counted() {
    let (world, _fleet) = World::with_fleet(4, ["w1", "w2"]).await;
    let json = world.kcl(&["--json", "cost"]).await.json();
    let counted = json["seen"]["lease_writes"].as_f64().unwrap();
    // Four leases, each renewed each third of ten seconds.
    assert!((1.0..1.5).contains(&counted), "{json}");
    assert_eq!(json["seen"]["rust_workers"], 2);
    let dollars = |of: &serde_json::Value| of["on_demand_dollars_per_month"].as_f64().unwrap();
    assert!(dollars(&json["now"]) > dollars(&json["others"][2]), "{json}");
    world
        .kcl(&["cost", "--watch-for", "1s"])
        .await
        .says(0, &["(now)", "Paid on demand.", "30 s"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_denied_or_out_of_reach_is_told_with_what_to_do() {
    let world = World::with_shards(1).await;
    let told = world.kcl(&["list"]).await;
    told.says(
        1,
        &["scanning on lease table app", "check the name given with --table"],
    );
    world.store().prepare().await.expect("made");
    world
        .kcl(&["list"])
        .await
        .says(0, &["The table has no leases and no workers"]);
    world.kcl(&["plan"]).await.says(0, &["would change nothing"]);
    world
        .kcl(&["explain", "shardId-000000000000"])
        .await
        .says(1, &["the table has no lease shardId-000000000000"]);
    world
        .kcl(&["list", "--lag"])
        .await
        .says(2, &["name one with --stream"]);
    let denied = Fault::respond(400, "AccessDeniedException");
    let rule = world.faults.add(Rule::on("Scan").by("kcl").fault(denied));
    world.kcl(&["list"]).await.says(
        1,
        &["AccessDeniedException", "allow DescribeTable, Scan and GetItem"],
    );
    world.faults.remove(rule);
    let rule = world
        .faults
        .add(Rule::any().by("kcl").fault(Fault::drop_request(Loss::Hang)));
    let start = Instant::now();
    world
        .kcl(&["list"])
        .await
        .says(1, &["check --endpoint-url and --region"]);
    assert!(start.elapsed() < Duration::from_secs(31), "{:?}", start.elapsed());
    world.faults.remove(rule);
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_that_is_under_way_is_shown() {
    let world = World::with_shards(1).await;
    let store = world.store();
    store.prepare().await.expect("made");
    let mut lease = kcl_lease::Lease::new("shardId-000000000000", kcl_core::Checkpoint::TrimHorizon);
    lease.owner = Some("a".into());
    store.create(&lease).await.expect("made");
    let change = LeaseChange::BeginHandOff { to: "b".into() };
    store.write(&lease, &change).await.expect("written");
    world.kcl(&["list"]).await.says(0, &["hand-off", "a -> b"]);
    let told = world.kcl(&["explain", "shardId-000000000000"]).await;
    told.says(3, &["a is asked to finish and to give it to b"]);
    world
        .kcl(&["explain", "0000"])
        .await
        .says(1, &["did you mean shardId-000000000000?"]);
}
