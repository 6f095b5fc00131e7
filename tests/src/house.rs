//! Which crates of the workspace may use which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    /// Registries that it may be published to; none, if the list is empty.
    publish: Option<Vec<String>>,
    description: Option<String>,
    readme: Option<String>,
    license: Option<String>,
    /// Where it comes from; none for those of the workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`; none for what the crate itself uses.
    kind: Option<String>,
}

impl Package {
    fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// What it uses of the workspace, in production or in tests only.
    fn uses<'a>(&'a self, kind: Option<&str>, ours: &BTreeSet<&str>) -> BTreeSet<&'a str> {
        let dependencies = self.dependencies.iter();
        let wanted = dependencies.filter(|it| it.kind.as_deref() == kind && ours.contains(it.name.as_str()));
        wanted.map(|it| it.name.as_str()).collect()
    }
}

/// The crates of the workspace.
fn packages() -> Vec<Package> {
    metadata(&["--no-deps"])
}

fn metadata(arguments: &[&str]) -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata.packages
}

#[test]
fn what_is_published_uses_what_lies_below_it_and_no_test_backend() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let published: BTreeMap<&str, BTreeSet<&str>> = packages
        .iter()
        .filter(|package| package.is_published())
        .map(|package| (package.name.as_str(), package.uses(None, &ours)))
        .collect();
    let expected = BTreeMap::from([
        ("kcl-aggregation", BTreeSet::new()),
        (
            "kcl-cli",
            BTreeSet::from(["kcl-core", "kcl-dead-letters", "kcl-lease"]),
        ),
        ("kcl-core", BTreeSet::from(["kcl-aggregation", "kcl-lease"])),
        ("kcl-dead-letters", BTreeSet::from(["kcl-core"])),
        ("kcl-ec2", BTreeSet::new()),
        ("kcl-health", BTreeSet::from(["kcl-core"])),
        ("kcl-lease", BTreeSet::new()),
        ("kcl-local", BTreeSet::new()),
        ("kcl-metrics", BTreeSet::from(["kcl-lease"])),
    ]);
    assert_eq!(published, expected);
    for package in packages.iter().filter(|package| package.is_published()) {
        let in_tests = package.uses(Some("dev"), &ours);
        // Itself and what it uses, with the features that its tests use.
        let mut allowed = package.uses(None, &ours);
        allowed.extend(["kcl-local", package.name.as_str()]);
        assert!(
            in_tests.is_subset(&allowed),
            "tests of {} use {in_tests:?}",
            package.name
        );
    }
}

#[test]
fn what_is_published_says_what_it_is() {
    for package in packages().iter().filter(|package| package.is_published()) {
        let name = &package.name;
        assert!(
            package.description.is_some() && package.readme.is_some(),
            "{name}"
        );
    }
}

/// What of `deny.toml` is checked without a tool that would have to be built first.
#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[test]
fn what_is_built_comes_from_the_registry_under_licences_that_are_allowed() {
    let text = include_str!("../../deny.toml");
    let deny: Deny = toml::from_str(text).expect("valid");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = metadata(&["--all-features", "--filter-platform", &target]);
    assert!(built.len() > 100, "dependencies are there");
    for package in &built {
        let (name, license) = (&package.name, package.license.as_deref().unwrap_or("none"));
        let expression = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX);
        let expression = expression.unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_allowed = expression.evaluate(|needed| deny.licenses.allow.contains(&needed.to_string()));
        assert!(is_allowed, "{name}: {license} is not in deny.toml");
        let source = package.source.as_deref();
        let is_of_registry =
            |source: &str| source.starts_with("registry+") && source.contains("crates.io-index");
        assert!(source.is_none_or(is_of_registry), "{name} comes from {source:?}");
    }
}
