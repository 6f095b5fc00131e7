//! Any bytes as an event stream, in pieces of any size: no panic, no end that does not come, and nothing out of proportion.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let pieces = bytes.chunks(usize::from(size) + 1).map(Bytes::copy_from_slice);
    RUNTIME.with(|runtime| runtime.block_on(kcl_core::fuzzing::events(pieces.collect())));
});
