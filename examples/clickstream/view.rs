//! What is seen while it runs: a line per worker that changes in place, or, without a terminal, a line now and then.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the lines of a terminal change.
const LIVE: Duration = Duration::from_millis(250);
/// How often a line is written where lines stay.
const PLAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) enum View {
    Quiet,
    Plain,
    Live(Box<Screen>),
}

#[derive(Debug)]
pub(crate) struct Screen {
    lines: MultiProgress,
    head: ProgressBar,
    workers: Mutex<BTreeMap<String, ProgressBar>>,
}

/// A moment of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scene {
    pub(crate) at: Duration,
    /// The share of the source that was read.
    pub(crate) progress: Option<f64>,
    pub(crate) put: u64,
    pub(crate) processed: u64,
    pub(crate) behind: u64,
    pub(crate) rows: Vec<Row>,
}

/// A worker at that moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) worker: String,
    pub(crate) state: &'static str,
    pub(crate) shards: Vec<String>,
    /// Records per second.
    pub(crate) rate: f64,
    pub(crate) millis_behind: Option<u64>,
    /// Records of its shards that were put and not processed.
    pub(crate) behind: u64,
    pub(crate) problem: Option<String>,
}

impl View {
    pub(crate) fn new(is_quiet: bool) -> Self {
        match (is_quiet, io::stdout().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, false) => Self::Plain,
            (false, true) => {
                let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(8));
                let head = lines.add(line());
                Self::Live(Box::new(Screen {
                    lines,
                    head,
                    workers: Mutex::default(),
                }))
            }
        }
    }

    /// How often to show a scene.
    pub(crate) fn period(&self) -> Duration {
        match self {
            Self::Live(_) => LIVE,
            Self::Plain | Self::Quiet => PLAIN,
        }
    }

    pub(crate) fn event(&self, at: Duration, text: &str) {
        let line = format!("{:6.1} s  {text}", at.as_secs_f64());
        match self {
            Self::Quiet => {}
            Self::Plain => say(&line),
            // A terminal that went away takes the line with it.
            Self::Live(screen) => drop(screen.lines.println(line)),
        }
    }

    pub(crate) fn show(&self, scene: &Scene) {
        match self {
            Self::Quiet => {}
            Self::Plain => say(&format!("{:6.1} s  {}", scene.at.as_secs_f64(), summary(scene))),
            Self::Live(screen) => {
                screen.head.set_message(head(scene));
                let mut workers = screen.workers.lock().unwrap_or_else(PoisonError::into_inner);
                for row in &scene.rows {
                    let bar = workers
                        .entry(row.worker.clone())
                        .or_insert_with(|| screen.lines.add(line()));
                    bar.set_message(worker_line(row));
                }
            }
        }
    }

    /// Leaves the last scene on the screen.
    pub(crate) fn close(&self) {
        if let Self::Live(screen) = self {
            screen.head.abandon();
            for bar in screen
                .workers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .values()
            {
                bar.abandon();
            }
            say("");
        }
    }
}

/// Writes a line, and does not mind if nobody reads it any more.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

fn line() -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

fn head(scene: &Scene) -> String {
    let progress = scene.progress.map_or(String::new(), |share| {
        format!(" ({:.0} %)", share.min(1.0) * 100.0)
    });
    format!(
        "{:6.1} s  {} put{progress}, {} processed, {} behind",
        scene.at.as_secs_f64(),
        grouped(scene.put),
        grouped(scene.processed),
        grouped(scene.behind)
    )
}

fn worker_line(row: &Row) -> String {
    let shards: Vec<_> = row.shards.iter().map(|shard| short(shard)).collect();
    let lag = row.millis_behind.map_or("-".to_owned(), grouped);
    let problem = row
        .problem
        .as_ref()
        .map_or(String::new(), |problem| format!("  {problem}"));
    format!(
        "  {:<4} {:<9} {:<18} {:>8}/s {lag:>8} ms {:>8} behind{problem}",
        row.worker,
        row.state,
        shards.join(" "),
        grouped(row.rate as u64),
        grouped(row.behind)
    )
}

/// Everything in one line.
fn summary(scene: &Scene) -> String {
    let worker = |row: &Row| {
        let shards: Vec<_> = row.shards.iter().map(|shard| short(shard)).collect();
        let rate = grouped(row.rate as u64);
        let problem = row
            .problem
            .as_ref()
            .map_or(String::new(), |problem| format!(" ({problem})"));
        format!(
            "{} {} [{}] {rate}/s{problem}",
            row.worker,
            row.state,
            shards.join(" ")
        )
    };
    let rows: Vec<_> = scene.rows.iter().map(worker).collect();
    let (put, processed, behind) = (
        grouped(scene.put),
        grouped(scene.processed),
        grouped(scene.behind),
    );
    format!(
        "put {put}, processed {processed}, behind {behind} | {}",
        rows.join(" | ")
    )
}

/// `7` for `shardId-000000000007`.
pub(crate) fn short(shard: &str) -> &str {
    let number = shard.rsplit('-').next().unwrap_or(shard).trim_start_matches('0');
    if number.is_empty() { "0" } else { number }
}

/// `12,345` for 12345.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shards_are_short() {
        let numbers = [0, 999, 1_000, 60_000, 1_234_567];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "60,000", "1,234,567"]);
        assert_eq!(
            [
                short("shardId-000000000000"),
                short("shardId-000000000120"),
                short("x")
            ],
            ["0", "120", "x"]
        );
    }

    #[test]
    fn a_scene_says_who_does_what() {
        let row = Row {
            worker: "w1".into(),
            state: "leads",
            shards: vec!["shardId-000000000000".into(), "shardId-000000000007".into()],
            rate: 1_234.5,
            millis_behind: Some(80),
            behind: 12,
            problem: None,
        };
        assert_eq!(
            worker_line(&row),
            "  w1   leads     0 7                   1,234/s       80 ms       12 behind"
        );
        let scene = Scene {
            put: 1_000,
            processed: 988,
            behind: 12,
            progress: Some(0.5),
            rows: vec![row],
            ..Scene::default()
        };
        assert_eq!(
            head(&scene),
            "   0.0 s  1,000 put (50 %), 988 processed, 12 behind"
        );
        assert_eq!(
            summary(&scene),
            "put 1,000, processed 988, behind 12 | w1 leads [0 7] 1,234/s"
        );
    }
}
