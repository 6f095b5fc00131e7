//! Who is to be ready to lead when the leader falls silent.

use std::collections::BTreeSet;

use super::view::FleetView;
use crate::ids::WorkerId;
use crate::store::TableSnapshot;
use crate::trouble::Condition;

/// So many are named: they are unlikely to die together with the leader. Each reads the whole table again and again while
/// it is ready, and a thousand workers that did would take the table's capacity from those who renew.
pub(crate) const HEIRS: usize = 3;

/// The first three workers of our kind that live, besides the leader; those that are in trouble only if there are not enough
/// others. (The leader of a Java fleet names nobody: there every
/// worker of ours gets ready.)
pub(crate) fn name_heirs(snapshot: &TableSnapshot, view: &FleetView, me: &WorkerId) -> Vec<WorkerId> {
    let ours: BTreeSet<_> = snapshot
        .workers
        .iter()
        .filter(|row| row.report_period.is_some())
        .map(|row| &row.id)
        .collect();
    let alive = view
        .workers
        .iter()
        .filter(|worker| worker.eligible && !worker.overdue);
    let mut alive: Vec<_> = alive
        .filter(|worker| worker.id != *me && ours.contains(&worker.id))
        .collect();
    alive.sort_by_key(|worker| worker.trouble.condition != Condition::Well);
    alive.truncate(HEIRS);
    alive.into_iter().map(|worker| worker.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::plan::WorkerView;
    use crate::store::WorkerRow;
    use crate::trouble::Trouble;

    /// Workers by their names: in brackets dead ones, in square brackets silent ones; those of Java begin with `j`, sick
    /// ones with `s`.
    fn heirs(workers: &str) -> String {
        let name = |word: &str| word.trim_matches(['(', ')', '[', ']']).to_owned();
        let row = |word: &str| WorkerRow {
            report_period: (!word.starts_with('j')).then_some(Duration::from_secs(3)),
            ..WorkerRow::new(name(word), 0)
        };
        let view = |word: &str| WorkerView {
            id: name(word).as_str().into(),
            eligible: !word.starts_with('('),
            overdue: word.starts_with('['),
            is_unheard: false,
            metrics: BTreeMap::new(),
            is_unmeasured: false,
            trouble: Trouble {
                condition: if word.starts_with('s') {
                    Condition::Unfit
                } else {
                    Condition::Well
                },
                ..Trouble::default()
            },
        };
        let snapshot = TableSnapshot {
            workers: workers.split(' ').map(row).collect(),
            ..TableSnapshot::default()
        };
        let view = FleetView {
            workers: workers.split(' ').map(view).collect(),
            ..FleetView::default()
        };
        let heirs = name_heirs(&snapshot, &view, &"me".into());
        let names: Vec<_> = heirs.iter().map(WorkerId::as_str).collect();
        names.join(" ")
    }

    #[test]
    fn the_first_three_that_live_and_are_of_our_kind_besides_the_leader() {
        assert_eq!(heirs("me"), "");
        assert_eq!(heirs("a me"), "a");
        assert_eq!(heirs("a b c d me"), "a b c");
        assert_eq!(heirs("(a) [b] c d java me n o"), "c d n");
        assert_eq!(heirs("a me s1 s2 t u"), "a t u");
        assert_eq!(heirs("me s1 t"), "t s1");
    }
}
