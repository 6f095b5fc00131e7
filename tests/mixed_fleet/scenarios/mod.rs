//! What happens to mixed fleets.

mod crashes;
mod joins;
mod reshards;

use crate::fleet::CURRENT;
use crate::runner::Scenario;

macro_rules! scenario {
    ($part:ident :: $name:ident, $length:ident, $versions:expr) => {
        Scenario {
            name: stringify!($name),
            is_short: scenario!(@ $length),
            versions: $versions,
            run: || Box::pin($part::$name(stringify!($name))),
        }
    };
    (@ short) => { true };
    (@ long) => { false };
}

/// All scenarios; the short ones run in the ordinary test command.
pub(crate) const ALL: &[Scenario] = &[
    scenario!(joins::from_java_to_rust_and_back, short, &[CURRENT]),
    scenario!(crashes::java_joins_rust_and_is_killed, short, &[CURRENT]),
    scenario!(
        crashes::java_survives_the_crash_of_a_rust_leader,
        long,
        &[CURRENT]
    ),
    scenario!(
        crashes::rust_survives_the_crash_of_a_java_leader,
        long,
        &[CURRENT]
    ),
    scenario!(
        crashes::a_java_worker_that_was_frozen_comes_back,
        long,
        &[CURRENT]
    ),
    scenario!(reshards::splits_and_merges_in_a_mixed_fleet, long, &[CURRENT]),
];
