//! Takes the first program of the README.

use std::path::Path;
use std::{env, fs};

const README: &str = "../../README.md";

fn main() {
    println!("cargo::rerun-if-changed={README}");
    let readme = fs::read_to_string(README).expect("it is there");
    let (_, behind) = readme.split_once("```rust").expect("it has a program");
    let (program, _) = behind.split_once("\n```").expect("which ends");
    // What the block says of itself ends with its first line.
    let (_, program) = program.split_once('\n').expect("which has lines");
    let folder = env::var_os("OUT_DIR").expect("set by Cargo");
    fs::write(Path::new(&folder).join("program.rs"), program).expect("written");
}
