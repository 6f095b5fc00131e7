//! Any bytes as the payload of an event, in CBOR or, if they begin with a brace, in JSON: no panic, and nothing out of proportion.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let is_cbor = payload.first() != Some(&b'{');
    kcl_core::fuzzing::event(&Bytes::copy_from_slice(payload), is_cbor);
});
