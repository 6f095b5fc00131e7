//! A click, and which row it belongs to.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_core::Record;
use serde_json::{Value, json};

/// What cannot be read is counted as views of this page, so that nothing disappears and nothing stands in the way.
const UNREADABLE: &str = "(unreadable)";
/// DynamoDB takes partition keys of 2,048 bytes.
const LONGEST_PAGE: usize = 1_024;

/// A minute, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(u64);

impl Minute {
    /// That of a time; the first one for times before 1970.
    pub fn of(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60)
    }
}

/// As `2027-01-15T08:00`.
impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = UNIX_EPOCH + Duration::from_secs(self.0 * 60);
        let text = humantime::format_rfc3339_seconds(start).to_string();
        f.write_str(text.get(..16).unwrap_or(&text))
    }
}

/// Somebody has looked at a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    /// The page.
    pub page: String,
    /// When.
    pub minute: Minute,
}

impl Click {
    /// What a producer writes.
    pub fn payload(user: u64, page: &str, at: SystemTime) -> Vec<u8> {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        json!({ "user": user, "page": page, "at": at })
            .to_string()
            .into_bytes()
    }

    /// The click of a record. It is the same one each time that the record comes.
    pub fn of(record: &Record) -> Self {
        Self::read(record.data()).unwrap_or_else(|| Self {
            page: UNREADABLE.to_owned(),
            minute: Minute::of(record.approximate_arrival().unwrap_or(UNIX_EPOCH)),
        })
    }

    fn read(data: &[u8]) -> Option<Self> {
        let click: Value = serde_json::from_slice(data).ok()?;
        let page = click.get("page")?.as_str()?;
        let at = Duration::from_millis(click.get("at")?.as_u64()?);
        // Times that no calendar has would be no key.
        let is_sound = !page.is_empty() && page.len() <= LONGEST_PAGE && at.as_secs() < 1 << 36;
        is_sound.then(|| Self {
            page: page.to_owned(),
            minute: Minute::of(UNIX_EPOCH + at),
        })
    }
}

#[cfg(test)]
mod tests {
    use kcl_core::testing;

    use super::*;

    fn time() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_059)
    }

    #[test]
    fn a_click_is_read_as_it_was_written() {
        let record = testing::record(Click::payload(7, "/basket", time())).build();
        let click = Click::of(&record);
        assert_eq!(click.page, "/basket");
        assert_eq!(click.minute.to_string(), "2027-01-15T08:00");
    }

    #[test]
    fn what_is_no_click_counts_in_the_minute_in_which_it_arrived() {
        let long = Click::payload(7, &"a".repeat(LONGEST_PAGE + 1), time());
        let none = Click::payload(7, "", time());
        let odd = br#"{"page":"/","at":-1}"#.to_vec();
        let far = format!(r#"{{"page":"/","at":{}}}"#, u64::MAX).into_bytes();
        for data in [long, none, odd, far, b"GET /".to_vec(), b"\xff".to_vec()] {
            let record = testing::record(data).approximate_arrival(time()).build();
            let click = Click::of(&record);
            assert_eq!(
                (click.page.as_str(), click.minute),
                (UNREADABLE, Minute::of(time()))
            );
        }
    }
}
