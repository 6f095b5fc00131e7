//! The page for the person at night knows every code that a status can show.

use std::fs;
use std::path::Path;

/// The codes of activities in the sources below a folder, tests left out.
fn codes(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            codes(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            let text = fs::read_to_string(&path).expect("readable");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let after = code.split("code: \"").skip(1);
            found.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
}

/// The page on migrating names the scenarios that prove what it says.
#[test]
fn what_is_said_to_be_tested_with_java_is_a_scenario() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../docs/migrating-from-java.md")).expect("readable");
    let tested = page
        .split("\n## ")
        .find(|section| section.starts_with("What of this is tested"));
    let rows = tested
        .expect("a section")
        .lines()
        .filter(|line| line.starts_with("| "));
    let named: Vec<_> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 8, "{named:?}");
    let scenarios = fs::read_to_string(root.join("mixed_fleet/scenarios/mod.rs")).expect("readable");
    let (_, scenarios) = scenarios.split_once("pub(crate) const ALL").expect("a list");
    let is_missing = |name: &&&str| {
        !scenarios.contains(&format!("::{name},")) && !scenarios.contains(&format!("{name}::"))
    };
    assert_eq!(named.iter().filter(is_missing).collect::<Vec<_>>(), [&""; 0]);
}

#[test]
fn every_code_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let mut found = Vec::new();
    for library in ["kcl-lease/src", "kcl-core/src"] {
        codes(&root.join(library), &mut found);
    }
    assert!(found.len() > 10, "{found:?}");
    let page = fs::read_to_string(root.join("docs/what-happens-when.md")).expect("readable");
    let is_missing = |code: &&String| !page.contains(&format!("`{code}`"));
    let missing: Vec<_> = found.iter().filter(is_missing).collect();
    assert!(
        missing.is_empty(),
        "add a row to docs/what-happens-when.md for {missing:?}"
    );
}
