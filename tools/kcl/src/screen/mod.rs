//! What a command writes, and whom it asks.

mod columns;
mod line;
mod times;

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

pub(crate) use self::columns::Columns;
pub(crate) use self::line::{Ink, Line, clean};
pub(crate) use self::times::{Moment, ago, at_millis, count, date, moment, span};
use crate::failure::Failure;

/// Asks a question; true if the answer is yes.
pub type Ask<'a> = Box<dyn FnMut(&str) -> io::Result<bool> + 'a>;

/// Where a command writes to.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether text is coloured.
    pub(crate) has_colours: bool,
    /// Whether somebody looks at a terminal.
    pub(crate) is_terminal: bool,
    /// Whether reports are written as JSON.
    pub(crate) json: bool,
    ask: Option<Ask<'a>>,
}

impl fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("has_colours", &self.has_colours)
            .field("is_terminal", &self.is_terminal)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

impl<'a> Screen<'a> {
    /// Writes text without colours, for nobody at a terminal, and asks nobody.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self {
            out,
            err,
            has_colours: false,
            is_terminal: false,
            json: false,
            ask: None,
        }
    }

    /// Somebody looks at a terminal.
    #[must_use]
    pub fn terminal(mut self, is_terminal: bool) -> Self {
        self.is_terminal = is_terminal;
        self
    }

    /// Text is coloured.
    #[must_use]
    pub fn colours(mut self, has_colours: bool) -> Self {
        self.has_colours = has_colours;
        self
    }

    /// Reports are written as JSON.
    #[must_use]
    pub fn json(mut self, json: bool) -> Self {
        self.json = json;
        self
    }

    /// Whom to ask before something is changed.
    #[must_use]
    pub fn asking(mut self, ask: Ask<'a>) -> Self {
        self.ask = Some(ask);
        self
    }

    /// Says why a command failed, beside the output.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn say(&mut self, failure: &Failure) -> Result<(), Failure> {
        self.complain(format!("kcl: {failure}"))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl Into<Line>) -> Result<(), Failure> {
        let text = line.into().rendered(self.has_colours);
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// Writes lines.
    pub(crate) fn lines(&mut self, lines: impl IntoIterator<Item = Line>) -> Result<(), Failure> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Writes a remark beside the output, unless that is for a program.
    pub(crate) fn remark(&mut self, line: impl Into<Line>) -> Result<(), Failure> {
        if !self.json {
            self.complain(line)?;
        }
        Ok(())
    }

    /// Writes a line beside the output.
    pub(crate) fn complain(&mut self, line: impl Into<Line>) -> Result<(), Failure> {
        let text = line.into().rendered(self.has_colours);
        // What was written before comes before.
        self.out.flush()?;
        writeln!(self.err, "{text}")?;
        Ok(())
    }

    /// Writes a report as JSON: indented, or on one line of a sequence.
    pub(crate) fn report(&mut self, report: &impl Serialize, is_one_of_many: bool) -> Result<(), Failure> {
        let text = if is_one_of_many {
            serde_json::to_string(report)
        } else {
            serde_json::to_string_pretty(report)
        };
        let text = text.map_err(io::Error::other)?;
        writeln!(self.out, "{}", line::escaped_json(&text))?;
        Ok(())
    }

    /// Brings what was written to whoever reads it.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()?;
        Ok(())
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Asks, after all that was written is shown; `None` if there is nobody to ask.
    pub(crate) fn ask(&mut self, question: &str) -> Result<Option<bool>, Failure> {
        self.out.flush()?;
        match &mut self.ask {
            Some(ask) => Ok(Some(ask(&clean(question))?)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufWriter;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What reached whoever looks.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_asked_about_is_shown_before_the_question() {
        let shown = Shown::default();
        let (mut out, mut err) = (BufWriter::new(shown.clone()), io::sink());
        let seen = shown.clone();
        let ask = move |question: &str| {
            let text = String::from_utf8(seen.0.lock().expect("unpoisoned").clone()).expect("text");
            Ok(text == "one row\n" && question == "Write it?")
        };
        let mut screen = Screen::new(&mut out, &mut err).asking(Box::new(ask));
        screen.line("one row").expect("written");
        assert_eq!(screen.ask("Write it?").expect("asked"), Some(true));
    }
}
