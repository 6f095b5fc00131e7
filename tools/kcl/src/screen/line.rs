//! Lines of text whose parts are escaped, so that a name in a table cannot move a cursor, and coloured.

use std::fmt::Write as _;

/// How a part of a line is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ink {
    #[default]
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warning,
}

impl Ink {
    /// The terminal's code for it.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warning => "33",
        }
    }
}

/// A line of parts, each with its ink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    parts: Vec<(Ink, String)>,
}

impl Line {
    /// With another part.
    pub(crate) fn and(mut self, ink: Ink, text: impl Into<String>) -> Self {
        self.parts.push((ink, text.into()));
        self
    }

    /// Of one part.
    pub(crate) fn of(ink: Ink, text: impl Into<String>) -> Self {
        Self::default().and(ink, text)
    }

    /// The text with everything escaped that is no text, in colours if that is wanted.
    pub(crate) fn rendered(&self, has_colours: bool) -> String {
        let mut all = String::new();
        for (ink, text) in &self.parts {
            let text = clean(text);
            if has_colours && *ink != Ink::Plain {
                // Writing to a string cannot fail.
                let _ = write!(all, "\u{1b}[{}m{text}\u{1b}[0m", ink.code());
            } else {
                all.push_str(&text);
            }
        }
        all.truncate(all.trim_end_matches(' ').len());
        all
    }

    /// The parts, escaped.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Ink, String)> {
        self.parts.iter().map(|(ink, text)| (*ink, clean(text)))
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::of(Ink::Plain, text)
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::of(Ink::Plain, text)
    }
}

/// The longest part of a line that is shown; a row may hold names of 400 KB.
const LONGEST: usize = 2_000;

/// The text with control characters, and those that turn the direction of writing, as escapes; cut where it is endless.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for (number, character) in text.chars().enumerate() {
        if number >= LONGEST {
            let _ = write!(shown, "... ({} bytes)", text.len());
            break;
        }
        if is_harmful(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// JSON with those characters as escapes that JSON itself does not escape. They occur in strings only.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_harmful(character) {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_move_the_cursor_or_turn_the_line_around() {
        let line = Line::of(Ink::Bad, "w\u{1b}[2J\n\r\u{9b}1m\u{202e}x");
        let plain = line.rendered(false);
        assert_eq!(plain, r"w\u{1b}[2J\u{a}\u{d}\u{9b}1m\u{202e}x");
        let coloured = line.rendered(true);
        assert_eq!(coloured.matches('\u{1b}').count(), 2, "only our own");
    }

    #[test]
    fn what_is_endless_is_cut() {
        let text = clean(&"x".repeat(300_000));
        assert!(
            text.len() < 2_100 && text.ends_with("... (300000 bytes)"),
            "{text}"
        );
    }

    #[test]
    fn json_stays_json_and_holds_no_harm() {
        let name = "w\u{9b}1m\u{202e}\u{7f}é\n";
        let text = escaped_json(&serde_json::to_string(name).unwrap());
        assert!(!text.chars().any(is_harmful), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
