//! Any bytes as an answer to `GetRecords` in CBOR, in one piece and in many: no panic, and nothing out of proportion.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, body) = input;
    kcl_core::fuzzing::answer(&Bytes::copy_from_slice(body), usize::from(size) + 1);
});
