//! Finds the partition key in a line.

use serde_json::Value;

use crate::args::Format;

/// Fields that say whose click it is, the most telling first.
const KEY_FIELDS: [&str; 16] = [
    "user",
    "user_id",
    "userId",
    "userid",
    "uid",
    "visitor",
    "visitor_id",
    "session",
    "session_id",
    "sessionId",
    "client",
    "client_id",
    "client_ip",
    "remote_addr",
    "ip",
    "id",
];

/// Kinesis allows partition keys of up to 256 characters.
const MAX_KEY: usize = 256;

/// Knows what the lines of a file are, once it has seen the first.
#[derive(Debug)]
pub(super) struct Recogniser {
    format: Format,
    key_field: Option<String>,
}

impl Recogniser {
    pub(super) fn new(format: Format, key_field: Option<String>) -> Self {
        let format = if key_field.is_some() { Format::Json } else { format };
        Self { format, key_field }
    }

    /// The key of a line; `None` if it is not like the others, and in files of any lines for none.
    pub(super) fn key(&mut self, line: &str) -> Option<String> {
        if self.format == Format::Auto {
            self.format = recognise(line);
        }
        match self.format {
            Format::Json => self.json_key(line),
            Format::Access => access_key(line).map(str::to_owned),
            Format::Auto | Format::Lines => None,
        }
        .filter(|key| !key.is_empty())
        .map(|key| key.chars().take(MAX_KEY).collect())
    }

    pub(super) fn name(&self) -> &'static str {
        match self.format {
            Format::Auto => "nothing",
            Format::Json => "JSON lines",
            Format::Access => "an access log",
            Format::Lines => "lines of text",
        }
    }

    pub(super) fn expects_keys(&self) -> bool {
        !matches!(self.format, Format::Auto | Format::Lines)
    }

    fn json_key(&self, line: &str) -> Option<String> {
        let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
            return None;
        };
        let text = |field: &str| match fields.get(field)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match &self.key_field {
            Some(field) => text(field),
            None => KEY_FIELDS.iter().find_map(|field| text(field)),
        }
    }
}

/// A key for a line that has none: lines go around 256 keys, so that order stays decidable and shards stay even.
pub(super) fn lane(line: u64) -> String {
    format!("lane-{:03}", line % 256)
}

fn recognise(line: &str) -> Format {
    if matches!(serde_json::from_str(line), Ok(Value::Object(_))) {
        Format::Json
    } else if access_key(line).is_some() {
        Format::Access
    } else {
        Format::Lines
    }
}

/// The client of a line like `203.0.113.9 - ann [10/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1" 200 2326 ...`.
fn access_key(line: &str) -> Option<&str> {
    let (client, rest) = line.split_once(' ')?;
    let (before, rest) = rest.split_once(" [")?;
    let (time, rest) = rest.split_once("] \"")?;
    let (_request, rest) = rest.split_once("\" ")?;
    let status = rest.split(' ').next()?;
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = time.matches(':').count() >= 3 && time.contains('/');
    (is_status && is_time && !before.contains('"')).then_some(client)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(format: Format, line: &str) -> Option<String> {
        Recogniser::new(format, None).key(line)
    }

    #[test]
    fn json_is_keyed_by_user_before_session_before_address() {
        let line = r#"{"ip":"::1","session":"s-1","user":"ann","page":"/"}"#;
        assert_eq!(key(Format::Auto, line).as_deref(), Some("ann"));
        assert_eq!(
            key(Format::Auto, r#"{"ip":"::1","session":12}"#).as_deref(),
            Some("12")
        );
        assert_eq!(key(Format::Auto, r#"{"user":null}"#), None);
        assert_eq!(key(Format::Auto, r#"{"user":""}"#), None);
        let mut by_page = Recogniser::new(Format::Auto, Some("page".into()));
        assert_eq!(by_page.key(line).as_deref(), Some("/"));
    }

    #[test]
    fn the_first_line_decides() {
        let mut recogniser = Recogniser::new(Format::Auto, None);
        assert_eq!(recogniser.key("2026-01-01 10:00:00 status installed libc6"), None);
        assert_eq!(recogniser.key(r#"{"user":"ann"}"#), None);
        assert_eq!(recogniser.name(), "lines of text");
        assert!(!recogniser.expects_keys());
    }

    #[test]
    fn an_access_log_may_have_quotes_brackets_and_users_anywhere() {
        let line =
            r#"::1 - - [10/Oct/2025:13:55:36 -0700] "GET /?q=[x] HTTP/1.1" 404 0 "http://a/" "b \"c\"""#;
        assert_eq!(access_key(line), Some("::1"));
        assert_eq!(access_key("no log line"), None);
        assert_eq!(access_key(r#"a - - [x] "GET /" 200 1"#), None);
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        let line = format!(r#"{{"user":"{}"}}"#, "ü".repeat(300));
        assert_eq!(key(Format::Json, &line).map(|key| key.chars().count()), Some(256));
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in "\\PC*") {
            for format in [Format::Auto, Format::Json, Format::Access, Format::Lines] {
                let key = key(format, &line);
                prop_assert!(key.is_none_or(|key| !key.is_empty() && key.chars().count() <= MAX_KEY));
            }
        }
    }
}
