//! Walks every path through a world that asks what to do next.
//!
//! Believe this: a run begins from scratch and obeys the choices of the path so far; behind its end it takes the first choice and
//! adds it. The next run takes the last choice that has another one. A state that was met before is left: everything behind it was
//! walked, or is being walked, from where it was met first.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// An odometer of choices.
#[derive(Debug, Default)]
pub(crate) struct Explorer {
    /// What was chosen, of how many.
    path: Vec<(usize, usize)>,
    at: usize,
    met: HashSet<u64>,
    /// Whether this run is in a state that was met before.
    left: bool,
    runs: u64,
}

impl Explorer {
    /// One of `count` ways on from a state; none when nothing new lies behind it. `state` tells all that decides what comes.
    pub(crate) fn choose(&mut self, count: usize, state: impl FnOnce() -> String) -> Option<usize> {
        if self.left {
            return None;
        }
        if let Some((choice, of)) = self.path.get(self.at) {
            assert_eq!(*of, count, "a run is repeated exactly");
            self.at += 1;
            return Some(*choice);
        }
        let mut hasher = DefaultHasher::new();
        state().hash(&mut hasher);
        if !self.met.insert(hasher.finish()) {
            self.left = true;
            return None;
        }
        self.path.push((0, count));
        self.at += 1;
        Some(0)
    }

    /// Whether this run goes on into something new: only then its end means anything.
    pub(crate) const fn is_new(&self) -> bool {
        !self.left
    }

    /// Goes on to the next path; false when there is none.
    pub(crate) fn next(&mut self) -> bool {
        self.runs += 1;
        self.at = 0;
        self.left = false;
        while let Some((choice, of)) = self.path.pop() {
            if choice + 1 < of {
                self.path.push((choice + 1, of));
                return true;
            }
        }
        false
    }

    /// How many runs there were.
    pub(crate) const fn runs(&self) -> u64 {
        self.runs
    }

    /// In how many different states somebody chose.
    pub(crate) fn states(&self) -> usize {
        self.met.len()
    }

    /// The choices of this run, to be told when it fails.
    pub(crate) fn path(&self) -> Vec<usize> {
        self.path.iter().map(|(choice, _)| *choice).collect()
    }
}

#[test]
fn every_path_is_walked_once() {
    let mut explorer = Explorer::default();
    let mut words = HashSet::new();
    loop {
        let mut word = String::new();
        while word.len() < 4 {
            let count = if word.ends_with('a') { 1 } else { 3 };
            let Some(choice) = explorer.choose(count, || word.clone()) else {
                break;
            };
            word.push(['a', 'b', 'c'][choice]);
        }
        assert!(words.insert(word));
        if !explorer.next() {
            break;
        }
    }
    let allowed = |word: &&String| !word.contains("ab") && !word.contains("ac");
    assert_eq!(words.len(), words.iter().filter(allowed).count());
    assert_eq!((words.len() as u64, words.len()), (explorer.runs(), 31));
}

#[test]
fn what_lies_behind_a_state_is_walked_once_however_many_ways_lead_there() {
    let mut explorer = Explorer::default();
    let mut ends = HashSet::new();
    loop {
        let mut sum = 0;
        for step in 0..10 {
            let Some(choice) = explorer.choose(2, || format!("{step} {sum}")) else {
                break;
            };
            sum += choice;
        }
        if explorer.is_new() {
            ends.insert(sum);
        }
        if !explorer.next() {
            break;
        }
    }
    assert_eq!(ends.len(), 11, "every sum of ten zeros and ones");
    assert_eq!(explorer.states(), 55);
}
