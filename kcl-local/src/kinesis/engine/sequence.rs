//! Sequence numbers in the layout of the real service.

use std::fmt;
use std::str::FromStr;

use super::shard_id::ShardId;

/// The position of a record in its shard, unique in its stream.
///
/// The number has 186 bits and so always 56 decimal digits. From the top: the digit 2 (bit 184), the second in
/// which the shard was opened (36 bits), the lowest four bits of the shard's number, a counter (64 bits), eight
/// zero bits, the second in which the record was written (36 bits), the shard's number (32 bits) and the layout's
/// version, 2 (four bits). Within a shard the counter decides, so numbers grow even while time stands still. A
/// shard opens at least a second after its parents did, so its numbers are greater than all of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SequenceNumber {
    /// Bits 128 and up, of which 58 are in use.
    high: u64,
    /// Bits 0 to 127.
    low: u128,
}

const VERSION: u128 = 2;
const TOP_DIGIT: u64 = 2;
const SECONDS_MASK: u64 = (1 << 36) - 1;
/// The counter of a closed shard's ending number, greater than any record's.
const LAST_COUNTER: u64 = i64::MAX as u64;
/// The service counts shards with 31 bits.
const LAST_SHARD: u32 = i32::MAX as u32;
const CHUNK_DIGITS: usize = 19;
/// The largest power of ten in 64 bits.
const CHUNK: u128 = 10_u128.pow(19);

/// The constant part of a shard's sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SequenceOrigin {
    /// The second since the epoch in which the shard opened.
    pub(crate) opened_second: u64,
    /// The shard.
    pub(crate) shard: ShardId,
}

impl SequenceOrigin {
    /// The number of the `counter`th record of the shard, counting from one, written in `written_second`.
    pub(crate) fn number(self, counter: u64, written_second: u64) -> SequenceNumber {
        let shard = self.shard.number();
        let opened = self.opened_second & SECONDS_MASK;
        let written = u128::from(written_second & SECONDS_MASK);
        // The shift drops the counter's top 16 bits, which go to the high part.
        let low = VERSION | u128::from(shard) << 4 | written << 36 | u128::from(counter) << 80;
        let high = counter >> 48 | u64::from(shard & 0xf) << 16 | opened << 20 | TOP_DIGIT << 56;
        SequenceNumber { high, low }
    }

    /// The shard's starting number, less than that of its first record.
    pub(crate) fn starting(self) -> SequenceNumber {
        self.number(0, self.opened_second)
    }

    /// The ending number of the shard if it closed in `closed_second`, greater than that of its last record.
    pub(crate) fn ending(self, closed_second: u64) -> SequenceNumber {
        self.number(LAST_COUNTER, closed_second)
    }
}

impl SequenceNumber {
    /// Which shard issued the number.
    pub(crate) fn origin(self) -> SequenceOrigin {
        let shard = ShardId::new((self.low >> 4) as u32);
        SequenceOrigin {
            opened_second: self.high >> 20 & SECONDS_MASK,
            shard,
        }
    }

    /// How many records the shard had when it issued the number, the number's own included.
    pub(crate) fn counter(self) -> u64 {
        let low = (self.low >> 80) as u64;
        (self.high & 0xffff) << 48 | low
    }

    fn from_parts(high: u64, low: u128) -> Option<Self> {
        let number = Self { high, low };
        let origin = number.origin();
        let nibble = u64::from(origin.shard.number() & 0xf);
        let well_formed = high >> 56 == TOP_DIGIT
            && high >> 16 & 0xf == nibble
            && low & 0xf == VERSION
            && low >> 72 & 0xff == 0
            && origin.shard.number() <= LAST_SHARD
            && number.counter() <= LAST_COUNTER;
        well_formed.then_some(number)
    }

    /// The decimal digits, without an allocation.
    pub(crate) fn digits(self) -> Digits {
        // Two divisions by a large power of ten leave three chunks that fit machine words.
        let top = u128::from(self.high) << 64 | self.low >> 64;
        let rest = (top % CHUNK) << 64 | self.low & u128::from(u64::MAX);
        let quotient = ((top / CHUNK) << 64) | (rest / CHUNK);
        let mut digits = Digits([b'0'; 56]);
        digits.write(37, rest % CHUNK);
        digits.write(18, quotient % CHUNK);
        digits.write(0, quotient / CHUNK);
        digits
    }
}

/// A sequence number in decimal.
pub(crate) struct Digits([u8; 56]);

impl Digits {
    /// Writes `chunk` so that it ends before the next chunk's first digit.
    fn write(&mut self, start: usize, chunk: u128) {
        let length = if start == 0 {
            CHUNK_DIGITS - 1
        } else {
            CHUNK_DIGITS
        };
        let mut chunk = chunk as u64;
        for digit in self.0[start..start + length].iter_mut().rev() {
            let value = (chunk % 10) as u8;
            *digit = b'0' + value;
            chunk /= 10;
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.digits().as_str())
    }
}

/// The text is not a sequence number that this backend could have issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number")]
pub(crate) struct NotASequenceNumber;

impl FromStr for SequenceNumber {
    type Err = NotASequenceNumber;

    fn from_str(text: &str) -> Result<Self, NotASequenceNumber> {
        if text.len() != 56 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotASequenceNumber);
        }
        let chunk =
            |range: std::ops::Range<usize>| text[range].parse::<u128>().map_err(|_| NotASequenceNumber);
        let (first, second, third) = (chunk(0..18)?, chunk(18..37)?, chunk(37..56)?);
        // Less than ten to the thirty-seventh, so the sum stays below 2^124.
        let upper = first * CHUNK + second;
        let low_product = (upper & u128::from(u64::MAX)) * CHUNK + third;
        let high_product = (upper >> 64) * CHUNK + (low_product >> 64);
        let high = u64::try_from(high_product >> 64).map_err(|_| NotASequenceNumber)?;
        let low = high_product << 64 | low_product & u128::from(u64::MAX);
        Self::from_parts(high, low).ok_or(NotASequenceNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(opened_second: u64, shard: u32) -> SequenceOrigin {
        SequenceOrigin {
            opened_second,
            shard: ShardId::new(shard),
        }
    }

    #[test]
    fn a_number_has_the_layout_of_the_real_service() {
        // Hexadecimal digits, top first: 2, opened, shard nibble, counter, zero, written, shard, version.
        let number = origin(0x0_6543_2100, 0x1c).number(0x0000_0000_0000_00ab, 0x0_6543_21ff);
        let text = format!("{:015x}{:032x}", number.high, number.low);
        assert_eq!(text, "2065432100c00000000000000ab000654321ff0000001c2");
    }

    #[test]
    fn a_number_of_the_real_service_is_read_and_written_unchanged() {
        // From AWS Lambda's documentation: a record of shardId-000000000006 that arrived on 17 December 2018.
        let text = "49590338271490256608559692538361571095921575989136588898";
        let number: SequenceNumber = text.parse().unwrap();
        let opened_on_21_november_2018 = 1_542_776_258;
        assert_eq!(number.origin(), origin(opened_on_21_november_2018, 6));
        assert_eq!(number.to_string(), text);
    }

    #[test]
    fn other_texts_are_refused() {
        let good = origin(1, 1).number(1, 1).to_string();
        let digits = good.len();
        let bad = [
            String::new(),
            "0".to_owned(),
            "1".repeat(digits),
            "9".repeat(digits),
            "9".repeat(200),
            format!("+{}", &good[1..]),
            format!("{good}0"),
            "SHARD_END".to_owned(),
            "é".repeat(digits / 2),
        ];
        for text in bad {
            assert_eq!(text.parse::<SequenceNumber>(), Err(NotASequenceNumber), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_survives_its_decimal_form(
            opened in 0..=SECONDS_MASK, shard in 0..=LAST_SHARD, counter in 0..=LAST_COUNTER, written in 0..=SECONDS_MASK
        ) {
            let number = origin(opened, shard).number(counter, written);
            let text = number.to_string();
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(text.parse(), Ok(number));
            prop_assert_eq!(number.origin(), origin(opened, shard));
            prop_assert_eq!(number.counter(), counter);
        }

        #[test]
        fn numbers_grow_with_the_counter_and_stay_within_the_shards_range(
            opened in 1_u64..1 << 35, shard: u32, counter in 1..LAST_COUNTER, written in 1_u64..1 << 35
        ) {
            let origin = origin(opened, shard);
            let number = origin.number(counter, written);
            prop_assert!(origin.starting() < number);
            prop_assert!(number < origin.ending(opened));
            prop_assert!(number < origin.number(counter + 1, written));
            prop_assert!(number.to_string() < origin.number(counter + 1, written).to_string());
        }

        #[test]
        fn no_text_of_digits_panics(text in "[0-9]{50,60}") {
            let _ = text.parse::<SequenceNumber>();
        }
    }
}
