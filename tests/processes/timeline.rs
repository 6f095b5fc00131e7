//! What happened when, as the run goes on.

use std::sync::OnceLock;

use tokio::time::Instant;

/// Prints a line with the seconds since the first one.
pub(crate) fn note(line: &str) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    let seconds = now.duration_since(*BEGAN.get_or_init(|| now)).as_secs_f64();
    println!("{seconds:6.1} s  {line}");
}
