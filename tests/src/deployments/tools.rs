//! What the tools for these formats say.

use std::io::ErrorKind;
use std::process::Command;

use super::folder;

/// What a tool says of files; none if there is no such tool, which is said.
fn said(tool: &str, arguments: &[&str], files: &[&str]) -> Option<(bool, String)> {
    let output = Command::new(tool)
        .args(arguments)
        .args(files.iter().map(|file| folder().join(file)))
        .output();
    match output {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Some((
                output.status.success(),
                String::from_utf8_lossy(&said).into_owned(),
            ))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED: {files:?} are not checked, as there is no {tool} on this machine");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[test]
fn cfn_lint_finds_nothing_in_the_templates() {
    let templates = ["ec2/template.yml", "ecs/template.yml"];
    if let Some((is_sound, said)) = said("cfn-lint", &["--include-checks", "W", "--"], &templates) {
        assert!(is_sound && said.trim().is_empty(), "{said}");
    }
}

#[test]
fn kubernetes_knows_all_fields() {
    // A ScaledObject is of KEDA, and no part of Kubernetes.
    let files = ["kubernetes/pageviews.yml", "kubernetes/hpa.yml"];
    if let Some((is_sound, said)) = said("kubernetes-validate", &["--strict"], &files) {
        assert!(is_sound, "{said}");
    }
}

#[test]
fn systemd_understands_the_units() {
    let units = ["ec2/pageviews.service", "ec2/kcl-ec2-watch.service"];
    if let Some((_, said)) = said("systemd-analyze", &["verify"], &units) {
        // The programs are on the instances, and not here.
        let wrong: Vec<_> = said
            .lines()
            .filter(|line| !line.contains("is not executable: No such file") && !line.trim().is_empty())
            .collect();
        assert_eq!(wrong, [""; 0]);
    }
}
