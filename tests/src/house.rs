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

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
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
        ("kcl-core", BTreeSet::from(["kcl-lease"])),
        ("kcl-lease", BTreeSet::new()),
        ("kcl-local", BTreeSet::new()),
    ]);
    assert_eq!(published, expected);
    for package in packages.iter().filter(|package| package.is_published()) {
        let in_tests = package.uses(Some("dev"), &ours);
        // Itself, with the features that its tests use.
        let allowed = BTreeSet::from(["kcl-local", package.name.as_str()]);
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
