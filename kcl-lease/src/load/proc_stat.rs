//! The CPU of a Linux machine, from `/proc/stat`.

/// Ticks since boot that count: those of the Java KCL. Waiting for disks counts as busy there; interrupts and time stolen by the
/// hypervisor do not count at all. All workers of a fleet must reckon alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticks {
    /// user, nice, system, idle, iowait and what follows, as read.
    columns: Vec<u64>,
}

impl Ticks {
    /// Reads the first line of `/proc/stat`, the sum of all processors.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let line = text.lines().next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let columns: Option<Vec<u64>> = (words.next() == Some("cpu"))
            .then(|| words.map(|word| word.parse().ok()).collect())
            .flatten();
        match columns {
            Some(columns) if columns.len() >= 5 => Ok(Self { columns }),
            _ => Err(format!(
                "the first line of /proc/stat is {line:?}, not cpu and at least five counters"
            )),
        }
    }

    fn idle(&self) -> u64 {
        self.columns[3]
    }

    fn iowait(&self) -> u64 {
        self.columns[4]
    }

    fn total(&self) -> u64 {
        self.columns[..5].iter().sum()
    }

    /// Percent of the time since `before` in which the machine was busy. 0 if nothing changed, and if iowait went back (the
    /// kernel's documentation says that it may) so far that the machine seems to have been idle for longer than time has
    /// passed.
    pub(super) fn busy_since(&self, before: &Self) -> Result<f64, String> {
        if self == before {
            return Ok(0.0);
        }
        let idle = self.idle().abs_diff(before.idle());
        let total = self.total().abs_diff(before.total());
        if idle > total && self.iowait() < before.iowait() {
            return Ok(0.0);
        }
        if total == 0 || idle > total {
            return Err(format!(
                "/proc/stat counts {idle} idle ticks of {total} since the last look"
            ));
        }
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        let busy = (total - idle) as f64 / total as f64 * 100.0;
        Ok(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(before: &str, now: &str) -> Result<f64, String> {
        Ticks::parse(now)?.busy_since(&Ticks::parse(before)?)
    }

    #[test]
    fn the_busy_share_is_all_but_idle_with_iowait_busy_and_interrupts_left_out() {
        let before = "cpu  1000 100 500 8000 400 7 8 9 0 0\ncpu0 1 2 3 4 5";
        for (now, expected) in [
            ("cpu  1020 110 520 8050 400 7 8 9 0 0", 50.0),
            ("cpu  1000 100 500 8075 425 7 8 9 0 0", 25.0),
            ("cpu  1000 100 500 8100 400 7 8 9 0 0", 0.0),
            ("cpu  1100 100 500 8000 400 7 8 9 0 0", 100.0),
            ("cpu  1025 100 500 8075 400 907 908 909 0 0", 25.0),
        ] {
            assert_eq!(busy(before, now), Ok(expected), "{now}");
        }
    }

    #[test]
    fn an_unchanged_line_is_an_idle_machine() {
        let line = "cpu 1 2 3 4 5 6 7";
        assert_eq!(busy(line, line), Ok(0.0));
    }

    #[test]
    fn iowait_that_goes_back_on_an_idle_machine_is_no_load() {
        assert_eq!(busy("cpu 10 0 10 100 50", "cpu 10 0 10 120 40"), Ok(0.0));
        assert_eq!(
            busy("cpu 10 0 10 100 50", "cpu 40 0 10 110 45"),
            Ok(500.0 / 7.0),
            "a busy machine stays busy: 25 of 35 ticks"
        );
    }

    #[test]
    fn counters_that_make_no_sense_are_no_measurement() {
        assert!(busy("cpu 10 0 10 100 50", "cpu 5 0 10 110 50").is_err());
        assert!(
            busy("cpu 10 0 10 100 50 1", "cpu 10 0 10 100 50 2").is_err(),
            "only interrupts were counted"
        );
    }

    #[test]
    fn another_text_is_refused_with_what_was_read() {
        for text in [
            "",
            "cpu 1 2 3 4",
            "cpu0 1 2 3 4 5",
            "cpu a b c d e",
            "cpu -1 2 3 4 5",
        ] {
            let problem = Ticks::parse(text).unwrap_err();
            assert!(problem.contains(&format!("{text:?}")), "{problem}");
        }
        assert!(Ticks::parse("cpu 1 2 3 4 5").is_ok());
    }
}
