//! Programs that use the Java libraries (`java/`), fetched and built by Maven once.

use std::path::{Path, PathBuf};
use std::process::Command;

use kcl_tests::fetch;

use crate::{SOURCE, out};

/// Where everything goes that is made for Java.
pub(crate) fn home() -> PathBuf {
    out("java")
}

/// Fetches the KPL and the KCL, and builds what uses them here.
pub(crate) fn prepare() -> Result<(), String> {
    fetch::require(&[("java", "-version"), ("javac", "-version"), ("mvn", "--version")])?;
    let sources = ["pom.xml", "Kpl.java", "Apart.java"].map(|file| Path::new(SOURCE).join("java").join(file));
    let made_of = sources
        .each_ref()
        .map(|file| std::fs::read_to_string(file).expect("the sources are here"));
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-Dstyle.color=never", "-f"])
        .arg(&sources[0])
        .arg(format!("-Dout={}", home().display()))
        .args(["compiler:compile", "dependency:copy-dependencies"]);
    fetch::fill(&home(), &made_of.concat(), &mut maven).map_err(|said| {
        assert!(!said.contains("COMPILATION ERROR"), "{said}");
        let first = said.lines().find(|line| line.contains("ERROR"));
        format!("Maven could not fetch the KPL: {}", first.unwrap_or_default())
    })
}

/// A Java program of this suite. What the libraries have to say goes into a log.
pub(crate) fn program(class: &str) -> Command {
    let home = home();
    let mut java = Command::new("java");
    java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"])
        .arg(format!(
            "-Dorg.slf4j.simpleLogger.logFile={}",
            home.join(format!("{class}.log")).display()
        ))
        .args(["-cp", &format!("{0}/classes:{0}/lib/*", home.display()), class]);
    java
}
