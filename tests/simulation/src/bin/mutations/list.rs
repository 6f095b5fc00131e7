//! The list of deliberate mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use kcl_simulation::faults::{Rate, Wanted};
use serde::Deserialize;

use crate::histories::Histories;

/// The list's path in the workspace.
pub(crate) const FILE: &str = "tests/simulation/mutations.toml";

/// A script is played with so many seeds.
const OF_A_SCRIPT: u64 = 5;

/// All mutations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// The histories that a mutation is tried in unless it says otherwise.
    pub(crate) histories: Histories,
    /// The mutations, in the order in which they are tried.
    #[serde(rename = "mutation")]
    pub(crate) mutations: Vec<Mutation>,
}

/// One mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutation {
    /// What the code then wrongly does, as a sentence.
    pub(crate) name: String,
    /// Usually one; several where the library is protected twice.
    pub(crate) edits: Vec<Edit>,
    /// Why the simulator does not find it, as far as is known.
    pub(crate) blind_spot: Option<String>,
    /// What was wrong when the library really made this mistake, and the simulator found it.
    pub(crate) was_real: Option<String>,
    /// A seed that finds it. Tried before all others; the library as it is keeps every rule in its history.
    pub(crate) seed: Option<u64>,
    /// The script that finds it. It is tried in histories of this script and no others; the library as it is keeps every rule
    /// in them.
    pub(crate) script: Option<String>,
    /// Other histories than those of the list.
    #[serde(default)]
    pub(crate) histories: Wishes,
}

/// One change of the code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The file, relative to the workspace.
    pub(crate) file: String,
    /// Text that occurs exactly once in the file.
    find: String,
    /// What stands there instead.
    replace: String,
}

/// What a mutation needs to be found.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wishes {
    pub(crate) seeds: Option<u64>,
    seconds: Option<u64>,
    workers: Option<usize>,
    shards: Option<i32>,
    #[serde(default)]
    loads: bool,
    twice: Option<bool>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    rate: Vec<Rate>,
}

impl List {
    /// Reads the list.
    pub(crate) fn load(root: &Path) -> Result<Self, Box<dyn Error>> {
        let path = root.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(toml::from_str(&text)?)
    }

    /// The histories in which the library as it is must hold before anything can be said of its mutations.
    pub(crate) fn tried(&self) -> Vec<Histories> {
        let mut most: BTreeMap<Histories, u64> = BTreeMap::new();
        for mutation in &self.mutations {
            let histories = mutation.histories(&self.histories);
            let seeds = most.entry(histories.of(1, 0)).or_default();
            *seeds = histories.seeds.max(*seeds);
        }
        let singles = self.mutations.iter().filter_map(|mutation| {
            let histories = mutation.histories(&self.histories);
            let seed = mutation.seed?;
            let is_among = most.get(&histories.of(1, 0)).is_some_and(|most| seed <= *most);
            (!is_among).then(|| histories.of(seed, 1))
        });
        let singles: BTreeSet<_> = singles.collect();
        let many = most.iter().map(|(histories, seeds)| histories.of(1, *seeds));
        many.chain(singles).collect()
    }
}

impl Wishes {
    fn wanted(&self) -> Wanted {
        Wanted {
            loads: self.loads,
            without: self.without.clone(),
            only: self.only.clone(),
            rate: self.rate.clone(),
            script: None,
        }
    }
}

impl Mutation {
    /// The histories that it is tried in.
    pub(crate) fn histories(&self, usual: &Histories) -> Histories {
        if self.script.is_some() {
            return Histories {
                seeds: self.histories.seeds.unwrap_or(OF_A_SCRIPT),
                twice: false,
                wanted: Wanted {
                    script: self.script.clone(),
                    ..Wanted::default()
                },
                ..usual.of(1, 1)
            };
        }
        Histories {
            from: usual.from,
            seeds: self.histories.seeds.unwrap_or(usual.seeds),
            seconds: self.histories.seconds.unwrap_or(usual.seconds),
            workers: self.histories.workers.unwrap_or(usual.workers),
            shards: self.histories.shards.unwrap_or(usual.shards),
            twice: self.histories.twice.unwrap_or(usual.twice),
            wanted: self.histories.wanted(),
            except: Vec::new(),
        }
    }

    /// The files that it changes, each once.
    pub(crate) fn files(&self) -> BTreeSet<&str> {
        self.edits.iter().map(|edit| edit.file.as_str()).collect()
    }
}

impl Edit {
    /// The file's text with the change in it.
    ///
    /// # Errors
    /// The place is not there, or there are several, or nothing would change.
    pub(crate) fn applied_to(&self, text: &str) -> Result<String, String> {
        if self.find == self.replace {
            return Err(format!("nothing changes in {}:\n{}", self.file, self.find));
        }
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!(
                "the text to replace occurs {count} times in {}, not once:\n{}",
                self.file, self.find
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use kcl_simulation::scripts;

    use super::*;

    #[test]
    fn every_mutation_applies_to_the_library_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = List::load(&root).unwrap();
        for mutation in &list.mutations {
            assert!(!mutation.edits.is_empty(), "{:?} changes nothing", mutation.name);
            for edit in &mutation.edits {
                let text = std::fs::read_to_string(root.join(&edit.file)).unwrap();
                edit.applied_to(&text)
                    .unwrap_or_else(|problem| panic!("{:?}: {problem}", mutation.name));
            }
        }
    }

    #[test]
    fn what_has_a_seed_was_real_and_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = List::load(&root).unwrap();
        for mutation in list.mutations.iter().filter(|mutation| mutation.seed.is_some()) {
            assert!(mutation.was_real.is_some(), "{:?}", mutation.name);
            assert_eq!(mutation.blind_spot, None, "{:?}", mutation.name);
        }
    }

    #[test]
    fn every_script_shows_the_mutation_that_names_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = List::load(&root).unwrap();
        let scripted = |mutation: &Mutation| Some((mutation.script.clone()?, mutation.name.clone()));
        let named: BTreeSet<_> = list.mutations.iter().filter_map(scripted).collect();
        let shown = scripts::ALL.iter().flat_map(|script| {
            let mistakes = script.shows.iter();
            mistakes.map(|mistake| (script.name.to_owned(), (*mistake).to_owned()))
        });
        assert_eq!(named, shown.collect());
        for mutation in list.mutations.iter().filter(|mutation| mutation.script.is_some()) {
            assert_eq!(
                (mutation.seed, &mutation.blind_spot),
                (None, &None),
                "{:?}",
                mutation.name
            );
        }
    }

    #[test]
    fn every_mutation_is_listed_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let list = List::load(&root).unwrap();
        let names: BTreeSet<_> = list.mutations.iter().map(|mutation| &mutation.name).collect();
        assert_eq!(names.len(), list.mutations.len());
    }
}
