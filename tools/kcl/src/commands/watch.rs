//! `kcl watch`: workers, shards and hand-offs as they change.

mod draw;
mod events;
mod terminal;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_types::SdkConfig;
use kcl_core::Stream;
use kcl_lease::LeaseKey;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use self::events::{Event, events};
use self::terminal::{Input, Terminal};
use super::lag::{self, Lag};
use super::list::Listing;
use crate::arguments::WatchArguments;
use crate::failure::{Failure, Status};
use crate::screen::{Ink, Line, Screen, date};
use crate::table::{Look, Table};

/// How often Kinesis is asked how far shards are behind: two calls for each shard.
const LAG: Duration = Duration::from_secs(10);
/// Less is of no use, and costs.
const SOONEST: Duration = Duration::from_millis(200);
/// So many events are kept.
const EVENTS: usize = 200;

/// All that a view shows.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) listing: Listing,
    pub(crate) look: Look,
    /// The latest last.
    pub(crate) events: Vec<Event>,
    /// Why the last look failed, if it did.
    pub(crate) problem: Option<String>,
    /// Read units of all looks together.
    pub(crate) read_units: f64,
    pub(crate) looks: u64,
    pub(crate) every: Duration,
}

/// One look, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    at: String,
    #[serde(flatten)]
    listing: &'a Listing,
    events: &'a [Event],
}

pub(super) async fn run(
    table: &Table,
    sdk: &SdkConfig,
    arguments: &WatchArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let lag_of = match arguments.lag || arguments.stream.is_some() {
        true => Some(table.stream(arguments.stream.as_ref()).await?),
        false => None,
    };
    let mut watch = Watch {
        table,
        sdk,
        lag_of,
        lags: BTreeMap::new(),
        lag_due: Instant::now(),
        every: arguments.every.max(SOONEST),
        snapshot: None,
    };
    watch.look().await?;
    let mut terminal = match screen.is_terminal && !screen.json {
        true => Some(Terminal::open()?),
        false => None,
    };
    loop {
        let Some(snapshot) = &watch.snapshot else {
            return Ok(Status::Fine);
        };
        match &mut terminal {
            Some(terminal) => terminal.draw(snapshot)?,
            None => tell(snapshot, screen)?,
        }
        if arguments.looks.is_some_and(|looks| snapshot.looks >= looks) {
            return Ok(Status::attention_if(!snapshot.listing.findings.is_empty()));
        }
        let next = Instant::now() + watch.every;
        if let Some(terminal) = &mut terminal {
            loop {
                let input = tokio::select! {
                    () = sleep_until(next) => break,
                    input = terminal.input() => input,
                };
                match input {
                    Input::Quit => return Ok(Status::Fine),
                    Input::Redraw => terminal.draw(snapshot)?,
                }
            }
        } else {
            sleep_until(next).await;
        }
        watch.look_again().await;
    }
}

/// What was seen until now.
struct Watch<'a> {
    table: &'a Table,
    sdk: &'a SdkConfig,
    lag_of: Option<Stream>,
    lags: BTreeMap<LeaseKey, Lag>,
    lag_due: Instant,
    every: Duration,
    snapshot: Option<Snapshot>,
}

impl Watch<'_> {
    async fn look(&mut self) -> Result<(), Failure> {
        let look = self.table.look().await?;
        if let Some(stream) = self.lag_of.clone().filter(|_| Instant::now() >= self.lag_due) {
            self.lags = lag::measure(self.sdk, stream, &look).await?;
            self.lag_due = Instant::now() + LAG;
        }
        let before = self.snapshot.take();
        let (mut all, looks, units) = match before {
            None => (Vec::new(), 0, 0.0),
            Some(before) => {
                let mut all = before.events;
                all.extend(events(&before.look, &look));
                (all, before.looks, before.read_units)
            }
        };
        all.drain(..all.len().saturating_sub(EVENTS));
        self.snapshot = Some(Snapshot {
            listing: Listing::of(self.table.options.name(), &look, &self.lags),
            // The lock is read consistently.
            read_units: units + look.snapshot.read_units + 1.0,
            look,
            events: all,
            problem: None,
            looks: looks + 1,
            every: self.every,
        });
        Ok(())
    }

    /// As [`look`](Self::look); a failure is shown, with what was seen before.
    async fn look_again(&mut self) {
        let before = self.snapshot.clone();
        if let Err(failure) = self.look().await {
            self.snapshot = before.map(|mut before| {
                before.problem = Some(failure.to_string());
                before.looks += 1;
                before
            });
        }
    }
}

/// What is written where nobody looks at a terminal: the list at first, then what happens.
fn tell(snapshot: &Snapshot, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let at = date(snapshot.look.at);
    let new = snapshot
        .events
        .iter()
        .filter(|event| event.at == at)
        .cloned()
        .collect::<Vec<_>>();
    if screen.json {
        if snapshot.problem.is_none() {
            let report = Report {
                at,
                listing: &snapshot.listing,
                events: &new,
            };
            screen.report(&report, true)?;
        }
    } else if snapshot.looks == 1 {
        screen.line(snapshot.listing.head())?;
        screen.line("")?;
        screen.lines(snapshot.listing.worker_lines(&snapshot.look))?;
        screen.line("")?;
        screen.lines(snapshot.listing.shard_lines(&snapshot.look))?;
        screen.line("")?;
    } else {
        screen.lines(new.iter().map(Event::line))?;
    }
    if let Some(problem) = &snapshot.problem {
        screen.complain(Line::of(Ink::Bad, problem.as_str()))?;
    }
    screen.flush()
}
