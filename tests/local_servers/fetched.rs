//! The servers' programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use kcl_tests::fetch;

const KINESIS: &str = "kinesis-local@0.6.2";
const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/local_servers/pom.xml");

/// Where everything goes that this suite makes.
pub(crate) fn out() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("local-servers")
}

/// Fetches kinesis-local; its folder, or why there is none.
pub(crate) fn kinesis_local() -> Result<PathBuf, String> {
    fetch::require(&[("node", "--version"), ("npm", "--version")])?;
    let home = out().join("kinesis-local");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&home)
        .arg(KINESIS);
    fetch::fill(&home, KINESIS, &mut npm).map_err(|said| first_error("npm", KINESIS, &said))?;
    Ok(home.join("node_modules/kinesis-local"))
}

/// Fetches DynamoDB Local; the folder with its libraries, or why there is none.
pub(crate) fn dynamodb_local() -> Result<PathBuf, String> {
    fetch::require(&[("java", "-version"), ("mvn", "--version")])?;
    let home = out().join("dynamodb-local");
    let pom = std::fs::read_to_string(POM).expect("the source is here");
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-f", POM])
        .arg(format!("-Dout={}", home.display()))
        .arg("dependency:copy-dependencies");
    fetch::fill(&home, &pom, &mut maven).map_err(|said| first_error("Maven", "DynamoDB Local", &said))?;
    Ok(home.join("lib"))
}

fn first_error(tool: &str, what: &str, said: &str) -> String {
    let error = said
        .lines()
        .find(|line| line.to_lowercase().contains("error"))
        .unwrap_or_default();
    format!("{tool} could not fetch {what}: {error}")
}
