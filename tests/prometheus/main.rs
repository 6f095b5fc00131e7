//! The dashboard and the alerts in a real Prometheus, which reads the numbers of real workers. Without a Prometheus the test says that it
//! is skipped.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test with programs in real time"
)]

mod http;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const DASHBOARD: &str = include_str!("../../docs/dashboards/grafana.json");
const CONSOLE: &str = include_str!("../../docs/dashboards/consoles/kcl.html");
/// For so long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What did not happen is not there: nothing fails in this fleet, no lease moves on, and checkpoints are renewals.
const MAY_BE_NOTHING: [&str; 11] = [
    "kcl_renewals",
    "kcl_renewal_time",
    "kcl_renewal_delay",
    "kcl_leases_lost",
    "kcl_step_failures",
    "kcl_read_failures",
    "kcl_records_skipped",
    "kcl_records_dead_lettered",
    "kcl_user_records_left_out",
    "kcl_hand_off_time",
    "kcl_problems",
];

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// The example with two workers, which is built with the tests.
fn workers(port: u16) -> Running {
    let test = std::env::current_exe().expect("it runs");
    let built = test.parent().and_then(Path::parent).expect("a target folder");
    let example = built.join("examples").join("prometheus");
    let started = Command::new(&example)
        .arg(port.to_string())
        .stdout(Stdio::null())
        .spawn();
    Running(started.unwrap_or_else(|error| panic!("{}: {error}", example.display())))
}

/// A Prometheus that reads them once a second; none if there is none.
fn prometheus(port: u16, workers: u16) -> std::io::Result<Running> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    let dashboards = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboards");
    let alerts = dashboards.join("prometheus-alerts.yml");
    let config = format!(
        "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files:\n  - {}\nscrape_configs:\n  - job_name: kcl\n    \
         static_configs:\n      - targets: ['127.0.0.1:{workers}']\n",
        alerts.display()
    );
    let file = home.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!(
            "--web.console.templates={}",
            dashboards.join("consoles").display()
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.map(Running)
}

/// What Prometheus answers to a query.
fn ask(port: u16, query: &str) -> Result<Vec<Value>, String> {
    let answer = http::get(port, &format!("/api/v1/query?query={}", http::encoded(query)))?;
    let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
        _ => Err(format!("{query}: {answer}")),
    }
}

/// Tries until it succeeds.
fn until<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn every_panel_of_the_dashboard_shows_something_and_every_alert_can_be_judged() {
    let (port, numbers) = (free_port(), free_port());
    let _prometheus = match prometheus(port, numbers) {
        Ok(running) => running,
        Err(error) => {
            eprintln!("SKIPPED: there is no Prometheus that can be started: {error}");
            return;
        }
    };
    let _workers = workers(numbers);
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    for target in panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
    {
        let query = target["expr"].as_str().expect("a query");
        let query = query
            .replace("$application", ".*")
            .replace("$__rate_interval", "15s");
        let may_be_nothing = MAY_BE_NOTHING.iter().any(|name| query.contains(name));
        until(|| match ask(port, &query)? {
            results if results.is_empty() && !may_be_nothing => Err(format!("{query} shows nothing")),
            _ => Ok(()),
        });
    }
    until(|| {
        let rules = http::get(port, "/api/v1/rules")?;
        let rules: Value = serde_json::from_str(&rules).map_err(|error| error.to_string())?;
        let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<_> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().into_iter().flatten())
            .collect();
        let is_judged = |rule: &&Value| rule["health"] == "ok";
        match rules.iter().find(|rule| !is_judged(rule)) {
            Some(rule) => Err(rule.to_string()),
            None if rules.is_empty() => Err("no rules".to_owned()),
            None => Ok(()),
        }
    });
    let console = until(|| http::get(port, "/consoles/kcl.html"));
    assert!(console.contains("kcl_millis_behind_latest"), "{console}");
    let firing = ask(port, "ALERTS{alertstate=\"firing\"}").expect("answered");
    assert!(firing.is_empty(), "nothing is wrong with this fleet: {firing:?}");
}

#[test]
fn the_console_asks_for_what_the_dashboard_asks_for() {
    let panels = CONSOLE.split_once("const PANELS = ").expect("panels").1;
    let panels = panels.split_once(";\n").expect("an end").0;
    let panels: Vec<[String; 3]> = serde_json::from_str(panels).expect("titles, units and queries");
    assert!(panels.len() > 5);
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let all = dashboard["panels"].as_array().expect("a list");
    let targets = all
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<_> = targets.filter_map(|target| target["expr"].as_str()).collect();
    for [title, _, query] in &panels {
        assert!(queries.contains(&query.as_str()), "{title}: {query}");
    }
}
