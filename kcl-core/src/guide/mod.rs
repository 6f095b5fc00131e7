//! Guides: how to do something, from the first program to a lease store of your own.
//!
//! | guide | for |
//! |---|---|
//! | [`getting_started`] | the first worker, and a second one |
//! | [`processing`] | processors, batches and checkpoints |
//! | [`exactly_once`] | effects in a database that happen exactly once |
//! | [`failure`] | what happens when a processor fails, and what can be chosen |
//! | [`fan_out`] | reading by enhanced fan-out instead of polling |
//! | [`several_streams`] | one fleet for several streams |
//! | [`deploying`] | starting, stopping and replacing workers |
//! | [`testing`] | tests without an account |
//! | [`operating`] | what to watch, and what to set |
//! | [`lease_store`] | keeping the leases elsewhere than in DynamoDB |
//! | [`dead_letters`] | keeping records that cannot be processed, and putting them back |

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("processing.md")]
pub mod processing {}

#[doc = include_str!("exactly_once.md")]
pub mod exactly_once {}

#[doc = include_str!("failure.md")]
pub mod failure {}

#[doc = include_str!("fan_out.md")]
pub mod fan_out {}

#[doc = include_str!("several_streams.md")]
pub mod several_streams {}

#[doc = include_str!("deploying.md")]
pub mod deploying {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("lease_store.md")]
pub mod lease_store {}

#[doc = include_str!("dead_letters.md")]
pub mod dead_letters {}
