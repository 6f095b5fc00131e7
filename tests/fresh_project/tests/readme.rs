//! The README's first program builds without a warning with the dependencies that it names (or this package does not build),
//! processes a stream, and shows what the worker has to say.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_tests::process::{Process, Signal, sign_as};
use kcl_tests::{World, WorldOptions, eventually};

const README: &str = include_str!("../../../README.md");
const MANIFEST: &str = include_str!("../Cargo.toml");

/// On a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names in backticks of a text.
fn names(text: &str) -> BTreeSet<String> {
    let parts = text.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

#[test]
fn the_readme_names_what_its_first_program_depends_on() {
    let (_, behind) = README.split_once("Your `Cargo.toml` needs ").expect("it says so");
    let (needed, _) = behind.split_once(", which").expect("the last one is explained");
    let manifest: toml::Table = MANIFEST.parse().expect("TOML");
    let mut used = BTreeSet::new();
    for (name, dependency) in manifest["dependencies"].as_table().expect("a table") {
        used.insert(name.clone());
        // Without its default features, of which none is needed here, a lookup of credentials is not built.
        let is_reduced = dependency.get("default-features").is_some();
        let features = dependency.get("features").filter(|_| !is_reduced);
        let features = features.and_then(toml::Value::as_array).into_iter().flatten();
        used.extend(features.map(|feature| feature.as_str().expect("a name").to_owned()));
    }
    assert_eq!(names(needed), used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_program_of_the_readme_prints_records_and_what_the_worker_has_to_say() {
    let world = World::new(WorldOptions {
        application: "my-app",
        stream: "my-stream",
        machine_time: true,
        ..WorldOptions::default()
    })
    .await;
    let server = world
        .servers
        .backend
        .listen("127.0.0.1:0")
        .await
        .expect("a free port");
    let endpoint = format!("http://{}", server.local_addr());
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fresh-project.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl-fresh-project"));
    sign_as(&mut command, "reader")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped());
    let mut process = Process::start("the README's program", &mut command, &log);
    let output = process.take_stdout().expect("piped");
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = lines.clone();
    let listening = std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            heard.lock().unwrap().push(line.expect("text"));
        }
    });
    let has =
        |is_it: &dyn Fn(&str) -> bool| lines.lock().unwrap().iter().any(|line| is_it(line)).then_some(());
    let all = || {
        format!(
            "the program printed {:#?}, see {}",
            lines.lock().unwrap(),
            log.display()
        )
    };

    world.put(1, 1).await;
    eventually(PATIENCE, || has(&|line| line == "user-0 0"), all).await;
    let is_of_the_worker = |line: &str| line.contains("INFO") && line.contains("kcl_core");
    eventually(PATIENCE, || has(&is_of_the_worker), all).await;
    process.signal(Signal::TERM);
    let status = process.ended(PATIENCE).await;
    assert!(status.success(), "{status}: {}", all());
    listening.join().expect("it printed text");
    let leases = world.leases().await;
    assert!(leases.iter().all(|lease| lease.owner.is_none()), "{leases:#?}");
}
