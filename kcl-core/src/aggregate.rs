//! Records in which a producer (the Kinesis Producer Library) put many user records: how many. Pure.
//!
//! They are not taken apart yet. But a checkpoint names a user record by its index inside the aggregate, and only with
//! the last index is all of the aggregate done.

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// An MD5 digest stands behind the message.
const DIGEST: usize = 16;
/// The field of the message whose repetitions are the user records.
const RECORDS: u64 = 3;

/// The index of the last user record of an aggregate; `None` if the data is none.
///
/// The digest is not verified: it would cost more than all else that is done with a record. Data that looks like an
/// aggregate down to its last field without being one gets an index that nobody minds.
pub(crate) fn last_index(data: &[u8]) -> Option<u64> {
    let message = data.strip_prefix(&MAGIC)?;
    let mut rest = message.get(..message.len().checked_sub(DIGEST)?)?;
    let mut records = 0_u64;
    while !rest.is_empty() {
        let (tag, behind) = varint(rest)?;
        rest = match tag & 7 {
            0 => varint(behind)?.1,
            1 => behind.get(8..)?,
            2 => {
                let (length, behind) = varint(behind)?;
                records += u64::from(tag >> 3 == RECORDS);
                behind.get(usize::try_from(length).ok()?..)?
            }
            5 => behind.get(4..)?,
            _ => return None,
        };
    }
    records.checked_sub(1)
}

/// A number in the encoding of Protocol Buffers, and what stands behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the producer library made of `{"msg":"line0"}` to `line2` with three keys.
    pub(crate) const THREE_LINES: &[u8] = b"\xf3\x89\x9a\xc2\
        \n\x04\x70\x2b\x6c\x30\n\x04\x70\x2b\x6c\x31\n\x04\x70\x2b\x6c\x32\
        \x1a\x13\x08\x00\x1a\x0f{\"msg\":\"line0\"}\
        \x1a\x13\x08\x01\x1a\x0f{\"msg\":\"line1\"}\
        \x1a\x13\x08\x02\x1a\x0f{\"msg\":\"line2\"}\
        \x9f\x21\xc9\xa7\x48\xfa\xfd\x8a\x64\xf6\x6b\x50\x68\xa6\xe9\xc4";

    fn aggregate(message: &[u8]) -> Vec<u8> {
        [&MAGIC, message, &[0; DIGEST]].concat()
    }

    #[test]
    fn user_records_are_counted() {
        assert_eq!(last_index(THREE_LINES), Some(2));
        let one = aggregate(b"\n\x01k\x1a\x05\x08\x00\x1a\x01x");
        assert_eq!(last_index(&one), Some(0));
    }

    #[test]
    fn unknown_fields_are_stepped_over() {
        let message =
            b"\x1a\x01x\x50\x96\x01\x59\x01\x02\x03\x04\x05\x06\x07\x08\x65\x01\x02\x03\x04\x1a\x01x";
        assert_eq!(last_index(&aggregate(message)), Some(1));
    }

    #[test]
    fn anything_else_is_no_aggregate() {
        let endless = [b"\x1a".as_slice(), &[0xff; 12]].concat();
        for data in [
            b"plain".to_vec(),
            vec![],
            MAGIC.to_vec(),
            aggregate(b""),
            THREE_LINES[..THREE_LINES.len() - 17].to_vec(),
            aggregate(b"\x1a\xff\xff\xff\xff\x0fx"),
            aggregate(&endless),
            aggregate(b"\x1b"),
        ] {
            assert_eq!(last_index(&data), None, "{data:?}");
        }
    }
}
