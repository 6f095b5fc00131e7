//! What tests of the store's users need.

pub(crate) mod flaky;
