//! What happens to mixed fleets.

mod chaos;
mod crashes;
mod fan_out;
mod joins;
mod loads;
mod older;
mod pending;
mod reshards;
mod several_streams;
mod tool;
mod transitions;

use kcl_tests::runner::Scenario;

use self::older::{SECOND, THREE_TABLES};
use crate::fleet::CURRENT;
use crate::java;

/// Builds the worker with each of these versions of the KCL.
fn prepare(versions: &[&str]) -> Result<(), String> {
    versions
        .iter()
        .try_for_each(|version| java::classpath(version).map(drop))
}

macro_rules! scenario {
    ($part:ident :: $name:ident, $length:ident, $versions:expr) => {
        Scenario {
            name: stringify!($name),
            is_short: scenario!(@ $length),
            prepare: || prepare($versions),
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
    scenario!(fan_out::java_subscribes_in_its_default_mode, short, &[CURRENT]),
    scenario!(reshards::splits_and_merges_in_a_mixed_fleet, short, &[CURRENT]),
    scenario!(
        several_streams::several_streams_are_read_together,
        short,
        &[CURRENT]
    ),
    scenario!(tool::kcl_sees_and_steers_java_workers_that_run, short, &[CURRENT]),
    scenario!(
        older::workers_of_2x_are_not_joined_but_can_be_followed,
        short,
        &[SECOND]
    ),
    scenario!(
        older::three_tables_are_shared_with_java_3_1,
        long,
        &[THREE_TABLES]
    ),
    scenario!(
        older::java_3_1_is_replaced_by_3_5_beside_rust,
        long,
        &[THREE_TABLES, CURRENT]
    ),
    scenario!(chaos::whatever_happens_nothing_is_lost, long, &[CURRENT]),
    scenario!(joins::java_takes_leases_without_asking, long, &[CURRENT]),
    scenario!(pending::prepared_checkpoints_cross_over, long, &[CURRENT]),
    scenario!(
        older::the_move_to_the_single_table_is_followed,
        long,
        &[THREE_TABLES, CURRENT]
    ),
    scenario!(joins::java_with_its_own_timers_is_given_time, long, &[CURRENT]),
    scenario!(loads::a_rust_leader_goes_by_the_load_of_java, long, &[CURRENT]),
    scenario!(loads::a_java_leader_goes_by_the_load_of_rust, long, &[CURRENT]),
    scenario!(
        transitions::no_slower_than_java_alone_under_a_java_leader,
        long,
        &[CURRENT]
    ),
    scenario!(
        transitions::no_slower_than_java_alone_when_leaders_die,
        long,
        &[CURRENT]
    ),
    scenario!(joins::hand_overs_from_java_are_called_off, long, &[CURRENT]),
    scenario!(
        joins::java_stops_while_leases_are_on_their_way_to_it,
        long,
        &[CURRENT]
    ),
];
