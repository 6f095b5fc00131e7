//! Times as humans write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_rfc3339_seconds, parse_duration, parse_rfc3339_weak};

/// A moment that somebody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(SystemTime),
    /// So long ago.
    Ago(Duration),
}

impl Moment {
    /// The time, if it is `now`.
    pub(crate) fn time(self, now: SystemTime) -> SystemTime {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(UNIX_EPOCH),
        }
    }
}

/// Reads `2026-11-28T20:00:00Z`, `2026-11-28 20:00:00`, `90min` or `2h 30min` (ago), or whole seconds since the Unix epoch.
pub(crate) fn moment(text: &str) -> Option<Moment> {
    if let Ok(time) = parse_rfc3339_weak(text) {
        return Some(Moment::At(time));
    }
    if let Some(seconds) = text.strip_prefix('@').and_then(|digits| digits.parse().ok()) {
        return UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .map(Moment::At);
    }
    let ago = text.strip_suffix(" ago").unwrap_or(text);
    parse_duration(ago).ok().map(Moment::Ago)
}

/// A time, to the second, in UTC. Beyond the year 9999 there is no date.
pub(crate) fn date(at: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) if since <= LAST => format_rfc3339_seconds(at).to_string(),
        _ => "a time that has no date".to_owned(),
    }
}

/// So many milliseconds after 1970, or the last moment of the year 9999 for what a hostile row says.
pub(crate) fn at_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis.min(253_402_300_799_999))
}

/// A duration in its two largest units: `3 d 4 h`, `12 min`, `2.4 s`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {smaller}"),
    };
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A number of things: `1 shard`, `4 shards`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// How long ago something was; clocks differ, so it may be a moment ahead.
pub(crate) fn ago(at: SystemTime, now: SystemTime) -> String {
    match now.duration_since(at) {
        Ok(time) => format!("{} ago", span(time)),
        Err(ahead) => format!("{} ahead of this clock", span(ahead.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_or_times_ago() {
        let at = |seconds| Some(Moment::At(UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(moment("2027-01-15T08:00:00Z"), at(1_800_000_000));
        assert_eq!(moment("2027-01-15 08:00:00"), at(1_800_000_000));
        assert_eq!(moment("@1800000000"), at(1_800_000_000));
        assert_eq!(
            moment("2h 30min ago"),
            Some(Moment::Ago(Duration::from_secs(9_000)))
        );
        assert_eq!(moment("90min"), Some(Moment::Ago(Duration::from_secs(5_400))));
        for text in [
            "",
            "yesterday",
            "@",
            "49590338271490256608559692538361571095921575989136588898",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn spans_have_two_units_and_strange_dates_no_panic() {
        let told = |millis| span(Duration::from_millis(millis));
        assert_eq!(told(2_440), "2.4 s");
        assert_eq!(told(61_000), "1 min 1 s");
        assert_eq!(told(7_200_000), "2 h");
        assert_eq!(told(273_600_000), "3 d 4 h");
        assert_eq!(date(UNIX_EPOCH), "1970-01-01T00:00:00Z");
        let far = UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        assert_eq!(date(far), "a time that has no date");
    }
}
