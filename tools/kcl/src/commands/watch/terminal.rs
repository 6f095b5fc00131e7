//! The terminal that a view is drawn on: left as it was found, whatever happens.

use std::fmt;
use std::io;
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::Snapshot;
use super::draw::draw;

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    Quit,
    Redraw,
}

/// A terminal in full-screen mode, until it is dropped.
pub(super) struct Terminal {
    inner: DefaultTerminal,
    keys: mpsc::Receiver<Event>,
    scrolled: u16,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

impl Terminal {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        let inner = ratatui::try_init()?;
        let (sender, keys) = mpsc::channel(16);
        // Keys are waited for by a thread, which ends with the program.
        thread::spawn(move || {
            while let Ok(event) = event::read() {
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            inner,
            keys,
            scrolled: 0,
        })
    }

    /// Shows it.
    pub(super) fn draw(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let most = u16::try_from(snapshot.listing.shards.len()).unwrap_or(u16::MAX);
        self.scrolled = self.scrolled.min(most);
        let scrolled = self.scrolled;
        self.inner.draw(|frame| draw(frame, snapshot, scrolled))?;
        Ok(())
    }

    /// Waits until somebody does something.
    pub(super) async fn input(&mut self) -> Input {
        loop {
            match self.keys.recv().await {
                // Nobody can press a key any more.
                None => return Input::Quit,
                Some(event) => {
                    if let Some(input) = self.take(&event) {
                        return input;
                    }
                }
            }
        }
    }

    fn take(&mut self, event: &Event) -> Option<Input> {
        let Event::Key(key) = event else {
            return matches!(event, Event::Resize(..)).then_some(Input::Redraw);
        };
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Input::Quit),
            KeyCode::Char('c') if is_control => return Some(Input::Quit),
            KeyCode::Up | KeyCode::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_add(10),
            KeyCode::Home => self.scrolled = 0,
            _ => return None,
        }
        Some(Input::Redraw)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
