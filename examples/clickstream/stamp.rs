//! The mark that makes a record countable: the run that wrote it, and its number among the records of its key.

/// Written in front of every payload as `run:counter`, then a tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Tells the records of this run from those that the stream held before.
    pub(crate) run: u64,
    pub(crate) counter: u64,
}

impl Stamp {
    pub(crate) fn seal(self, payload: &[u8]) -> Vec<u8> {
        let mut data = format!("{:016x}:{}\t", self.run, self.counter).into_bytes();
        data.extend_from_slice(payload);
        data
    }

    /// The stamp of a record, if it has one.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        // 16 digits, a colon, at most 20 digits.
        let end = data.iter().take(38).position(|byte| *byte == b'\t')?;
        let (run, counter) = std::str::from_utf8(&data[..end]).ok()?.split_once(':')?;
        Some(Self {
            run: u64::from_str_radix(run, 16).ok()?,
            counter: counter.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_and_leaves_the_payload_alone() {
        for counter in [0, 7, u64::MAX] {
            let stamp = Stamp {
                run: u64::MAX,
                counter,
            };
            let data = stamp.seal(b"a\tb");
            assert_eq!(Stamp::of(&data), Some(stamp));
            assert!(data.ends_with(b"\ta\tb"));
        }
    }

    #[test]
    fn other_records_have_none() {
        for data in [
            &b""[..],
            b"{\"user\":1}",
            b"a\tb",
            b"xyz:1\tb",
            b"1:-1\tb",
            b"1:1",
            b"\xff:1\t",
        ] {
            assert_eq!(Stamp::of(data), None);
        }
    }
}
