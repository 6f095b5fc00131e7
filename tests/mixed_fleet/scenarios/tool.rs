//! The command `kcl` on the table of Java workers that run.

use clap::Parser as _;
use kcl_cli::{Arguments, Screen, run};
use kcl_core::Environment;
use kcl_lease::Lease;
use serde_json::Value;

use crate::fleet::{MixedFleet, PATIENCE};

/// How a command ended, and what it wrote.
struct Told {
    code: u8,
    text: String,
}

impl Told {
    #[track_caller]
    fn says(&self, code: u8, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}", self.text);
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is not in:\n{}", self.text);
        }
        self
    }
}

async fn kcl(fleet: &MixedFleet, arguments: &[&str]) -> Told {
    let all = ["kcl", "--application", "app"];
    let arguments = Arguments::try_parse_from(all.iter().chain(arguments)).expect("valid arguments");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut screen = Screen::new(&mut out, &mut err).json(arguments.is_json());
    let result = run(arguments, &fleet.aws("kcl"), &Environment::system(), &mut screen).await;
    let code = match result {
        Ok(status) => status.code(),
        Err(failure) => {
            screen.say(&failure).expect("written");
            failure.code()
        }
    };
    drop(screen);
    let text = [out, err].concat();
    Told {
        code,
        text: String::from_utf8(text).expect("text"),
    }
}

/// One that a worker has.
async fn lease_of(fleet: &MixedFleet, worker: &str) -> Lease {
    let leases = fleet.open_leases().await;
    let its = leases
        .into_iter()
        .find(|lease| lease.owner == Some(worker.into()));
    its.unwrap_or_else(|| panic!("{worker} has none"))
}

/// It is seen who lives and leads, what the leader would do, what all costs, and how far migrations are. A shard is handed over as Java
/// workers do it. What they would not heed is refused.
pub(crate) async fn kcl_sees_and_steers_java_workers_that_run(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let first = fleet.java("java1");
    fleet.until_run_by(&["java1"]).await;
    let second = fleet.java("java2");
    fleet.until_shared(&[("java1", 2), ("java2", 2)]).await;
    fleet.until_run_by(&["java1", "java2"]).await;
    fleet.until_led_by("java1").await;

    let list = kcl(&fleet, &["--json", "list"]).await;
    let list: Value = serde_json::from_str(&list.says(0, &[]).text).expect("JSON");
    for worker in list["workers"].as_array().expect("workers") {
        let leads = worker["worker"] == "java1";
        assert_eq!(
            (&worker["kind"], &worker["leases"]),
            (&"java".into(), &2.into()),
            "{worker}"
        );
        assert_eq!(worker["is_leader"], leads, "{worker}");
    }
    let failover = ["--failover-time", "5s"];
    let shard = lease_of(&fleet, "java1").await.key.to_string();
    kcl(&fleet, &[&["explain", &shard][..], &failover].concat())
        .await
        .says(
            0,
            &[
                "java1, a Java worker, which leads the fleet",
                "the leader leaves it where it is",
            ],
        );
    kcl(&fleet, &[&["plan"][..], &failover].concat())
        .await
        .says(0, &["change"]);
    kcl(&fleet, &[&["plan", "--without", "java1"][..], &failover].concat())
        .await
        .says(0, &["would make 2 changes", "to java2"]);
    kcl(&fleet, &["cost", "--watch-for", "6s"])
        .await
        .says(0, &["0 Rust and 2 Java workers"]);
    kcl(&fleet, &["migrate"])
        .await
        .says(0, &["CLIENT_VERSION_3X", "workers of this library  may join"]);
    kcl(&fleet, &["watch", "--looks", "2", "--every", "1s"])
        .await
        .says(0, &["java2"]);
    kcl(&fleet, &["tail", "clicks", "--from", "beginning", "--limit", "3"])
        .await
        .says(0, &["partition_key"]);

    let reset = ["reset", "--all", "--to", "beginning", "--yes"];
    kcl(&fleet, &[&reset[..], &failover].concat()).await.says(
        1,
        &["nothing is reset while workers run that do not heed it: java1"],
    );
    kcl(&fleet, &["pause", &shard, "--yes"])
        .await
        .says(1, &["workers in Java do not heed pauses"]);

    let moved = lease_of(&fleet, "java1").await.key.to_string();
    let told = kcl(
        &fleet,
        &[&["move", &moved, "java2", "--yes"][..], &failover].concat(),
    )
    .await;
    told.says(
        0,
        &[
            "java1 is asked to finish and to hand it over to java2",
            "java2 has",
        ],
    );
    fleet
        .until(PATIENCE, "java1 was asked in good order", async || {
            let asked = fleet.world.ledger.called("shutdown_requested");
            asked.contains(&("java1".to_owned(), moved.clone())).then_some(())
        })
        .await;

    fleet.settle(producer).await;
    fleet.world.assert_exactly_once();
    second.stop().await;
    first.stop().await;
}
