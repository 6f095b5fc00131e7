//! The view, as a function of what is shown.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span, Text as Lines};
use ratatui::widgets::{Block, Borders, Paragraph};

use super::Snapshot;
use super::events::Event;
use crate::commands::list::finding_lines;
use crate::screen::{Ink, Line, span};

/// Draws what is shown, with the shards scrolled by so many lines.
pub(super) fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, scrolled: u16) {
    let look = &snapshot.look;
    let workers = snapshot.listing.worker_lines(look);
    let shards = snapshot.listing.shard_lines(look);
    let mut warnings = finding_lines(&snapshot.listing.findings);
    if let Some(problem) = &snapshot.problem {
        let text = format!("what is shown is old: {problem}");
        warnings.insert(0, Line::of(Ink::Bad, "! ").and(Ink::Plain, text));
    }
    let height = frame.area().height;
    let rows = |lines: usize, most: u16| u16::try_from(lines).unwrap_or(u16::MAX).min(most);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows(workers.len() + 2, height / 3)),
        Constraint::Min(3),
        Constraint::Length(rows(warnings.len(), height / 6)),
        Constraint::Length(rows(snapshot.events.len() + 2, height / 4)),
        Constraint::Length(1),
    ]);
    let [head, of_workers, of_shards, of_warnings, of_events, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(text(&snapshot.listing.head())), head);
    boxed(frame, of_workers, " workers ", workers, 0);
    boxed(frame, of_shards, " shards ", shards, scrolled);
    frame.render_widget(Paragraph::new(lines(warnings)), of_warnings);
    let visible = usize::from(of_events.height.saturating_sub(2));
    let latest = snapshot.events.iter().rev().take(visible).map(Event::line);
    boxed(
        frame,
        of_events,
        " events, the latest first ",
        latest.collect(),
        0,
    );
    let costs = format!(
        "each {}: {:.1} read units; {:.0} in {} looks.  q quit, up and down scroll",
        span(snapshot.every),
        look.snapshot.read_units + 1.0,
        snapshot.read_units,
        snapshot.looks
    );
    frame.render_widget(Paragraph::new(text(&Line::of(Ink::Faint, costs))), foot);
}

fn boxed(frame: &mut Frame<'_>, area: Rect, title: &'static str, shown: Vec<Line>, scrolled: u16) {
    let block = Block::new().borders(Borders::ALL).title(title);
    let most = u16::try_from(shown.len())
        .unwrap_or(u16::MAX)
        .saturating_sub(area.height.saturating_sub(2));
    let paragraph = Paragraph::new(lines(shown))
        .block(block)
        .scroll((scrolled.min(most), 0));
    frame.render_widget(paragraph, area);
}

fn lines(all: Vec<Line>) -> Lines<'static> {
    all.iter().map(text).collect::<Vec<_>>().into()
}

fn text(line: &Line) -> Text<'static> {
    let spans = line.parts().map(|(ink, text)| Span::styled(text, style(ink)));
    spans.collect::<Vec<_>>().into()
}

fn style(ink: Ink) -> Style {
    match ink {
        Ink::Plain => Style::new(),
        Ink::Strong => Style::new().add_modifier(Modifier::BOLD),
        Ink::Faint => Style::new().add_modifier(Modifier::DIM),
        Ink::Good => Style::new().fg(Color::Green),
        Ink::Bad => Style::new().fg(Color::Red),
        Ink::Warning => Style::new().fg(Color::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, UNIX_EPOCH};

    use kcl_lease::{Checkpoint, LeaderLock, Lease, TableSnapshot, WorkerRow};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::events::Happening;
    use super::*;
    use crate::commands::list::Listing;
    use crate::table::Look;

    fn snapshot() -> Snapshot {
        let mut held = Lease::new("shardId-000000000000", Checkpoint::TrimHorizon);
        held.owner = Some("b\u{1b}]0;x\u{7}".into());
        held.checkpoint_owner = Some("a".into());
        let child = Lease::new("shardId-000000000001", Checkpoint::TrimHorizon)
            .with_parents(["shardId-000000000000"]);
        let workers = vec![WorkerRow::new("a", 998), WorkerRow::new("b\u{1b}]0;x\u{7}", 999)];
        let look = Look {
            snapshot: TableSnapshot::new(vec![held, child], workers),
            lock: Ok(Some(LeaderLock::new("a".into(), Duration::from_secs(5), "v"))),
            at: UNIX_EPOCH + Duration::from_secs(1_000),
        };
        let event = Event {
            at: "1970-01-01T00:16:39Z".to_owned(),
            kind: Happening::HandOffBegun,
            text: "a hands shardId-000000000000 over to b".to_owned(),
        };
        Snapshot {
            listing: Listing::of("orders", &look, &BTreeMap::new()),
            look,
            events: vec![event],
            problem: None,
            read_units: 12.0,
            looks: 8,
            every: Duration::from_secs(2),
        }
    }

    fn drawn(snapshot: &Snapshot, width: u16, height: u16, scrolled: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal
            .draw(|frame| draw(frame, snapshot, scrolled))
            .expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let row = |y| {
            let cells = (0..width).filter_map(|x| buffer.cell((x, y)));
            let text: String = cells.map(|cell| cell.symbol().to_owned()).collect();
            text.trim_end().to_owned()
        };
        (0..height).map(row).collect()
    }

    #[test]
    fn the_view_shows_workers_shards_as_a_tree_warnings_and_events() {
        let rows = drawn(&snapshot(), 90, 24, 0);
        let all = rows.join("\n");
        assert_eq!(rows[0], "orders: 2 workers, 2 shards, 0 ended; leader: a");
        for part in [
            "│WORKER",
            "│a                 Java  1       2.0 s ago  -    leads",
            r"a -> b\u{1b}]0;x\u{7}",
            "│└ shardId-000000000001  no owner",
            "! 1 shard without owner: shardId-000000000001",
            "│1970-01-01T00:16:39Z  a hands shardId-000000000000 over to b",
            "each 2.0 s: 1.0 read units; 12 in 8 looks.",
        ] {
            assert!(all.contains(part), "{part} in:\n{all}");
        }
        assert!(!all.contains(['\u{1b}', '\u{7}']));
    }

    #[test]
    fn a_small_window_and_an_old_look_are_drawn_too() {
        let mut old = snapshot();
        old.problem = Some("no way to DynamoDB".to_owned());
        for (width, height) in [(1, 1), (10, 4), (40, 12), (300, 80)] {
            drawn(&old, width, height, u16::MAX);
        }
        let all = drawn(&old, 100, 30, 0).join("\n");
        assert!(all.contains("what is shown is old: no way to DynamoDB"), "{all}");
    }
}
