//! The small worlds that are walked, and how large they are.
//!
//! Believe this: a number of runs stands at each world, so that none can shrink unseen.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::handoff::tests::model::{Allowed, Begin, run};
use crate::handoff::tests::world::Truth;
use crate::interest::{Detail, Interests, Selector};
use crate::log::Log;
use crate::offset::Offset;
use crate::retention::Retention;
use crate::store::memory::Memory;
use crate::store::suite::PlainEncode;
use crate::store::{LogRow, Store as _};
use crate::testing::explorer::Explorer;
use crate::testing::{interests, link_before, only, tenant};
use crate::window::Budget;

/// Walks a world whole. Fails when there was less to walk than `runs_min`.
fn walk(truth: Truth, begins: &[Begin], allowed: Allowed, runs_min: u64) {
    let memory = Memory::new(Arc::new(PlainEncode));
    let row = memory.open_log(&tenant("t")).now_or_never().unwrap().unwrap();
    let row = LogRow {
        link: link_before(Offset::ZERO),
        base: link_before(Offset::ZERO),
        ..row
    };
    let truth = Rc::new(truth);
    let mut runs = 0;
    for begin in begins {
        let explorer = Rc::new(RefCell::new(Explorer::default()));
        loop {
            let (encode, keep_all) = (Arc::new(PlainEncode), Retention::default());
            let log = Log::new(row.clone(), memory.clone(), encode, Budget::new(1 << 30), keep_all);
            let one = || run(&truth, &explorer, log, *begin, allowed);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(one)) {
                println!("{begin:?}, by the choices {:?}", explorer.borrow().path());
                resume_unwind(panic);
            }
            if !explorer.borrow_mut().next() {
                break;
            }
        }
        let explorer = explorer.borrow();
        println!("{begin:?}: {} runs, {} states", explorer.runs(), explorer.states());
        runs += explorer.runs();
    }
    assert!(runs >= runs_min, "only {runs} runs");
}

const ANY: [Begin; 3] = [Begin::Oldest, Begin::Now, Begin::Snapshot];

fn allowed(trims: u32, cuts: u32, heartbeats: u32) -> Allowed {
    Allowed {
        trims,
        cuts,
        heartbeats,
    }
}

fn one_session() -> Interests {
    interests([(only("a"), Detail::Live)])
}

fn one_project() -> Interests {
    interests([(Selector::Project("/p".into()), Detail::Live)])
}

#[test]
fn events_of_two_sessions_and_a_client_that_comes_back() {
    let truth = Truth::new(interests([(only("a"), Detail::Content)]))
        .batch(["a", "b"])
        .batch(["b"])
        .batch(["a", "a"]);
    walk(truth, &ANY, allowed(1, 1, 1), 45_000);
}

#[test]
fn events_of_a_project_among_others() {
    let truth = Truth::new(interests([(Selector::Project("/p".into()), Detail::Content)]))
        .batch(["a", "b"])
        .batch(["b", "a"]);
    walk(truth, &ANY, allowed(2, 1, 1), 22_000);
}

#[test]
fn a_session_that_enters_late_and_a_client_that_comes_back() {
    let truth = Truth::new(interests([(Selector::Project("/p".into()), Detail::Content)]))
        .batch(["a", "c"])
        .batch(["c>", "c"])
        .batch(["c"]);
    walk(truth, &ANY, allowed(1, 1, 0), 5_000);
}

#[test]
fn a_session_that_enters_and_leaves_and_enters_again() {
    let truth = Truth::new(interests([(Selector::Project("/p".into()), Detail::Content)]))
        .batch(["c", "c>"])
        .batch(["c", "c<", "c"])
        .unseen(["c>", "a", "c"]);
    walk(truth, &[Begin::Oldest, Begin::Now], allowed(1, 1, 0), 5_000);
}

#[test]
fn a_client_that_comes_back_twice() {
    let truth = Truth::new(interests([(only("a"), Detail::Content)]))
        .batch(["a"])
        .batch(["b", "a"]);
    walk(truth, &[Begin::Oldest], allowed(1, 2, 0), 5_500);
}

#[test]
fn events_that_another_process_stored() {
    let truth = Truth::new(interests([(only("a"), Detail::Content)]))
        .unseen(["b", "a"])
        .batch(["a"])
        .unseen(["b"]);
    walk(truth, &ANY, allowed(1, 1, 0), 35_000);
}

#[test]
fn a_message_in_fragments_and_a_client_that_comes_back() {
    let truth = Truth::new(one_session())
        .batch(["a", "a+0"])
        .delta(0, "he")
        .batch(["b"])
        .delta(0, "llo")
        .batch(["a-0"])
        .delta(0, " late");
    walk(truth, &[Begin::Oldest, Begin::Snapshot], allowed(0, 1, 0), 120_000);
}

#[test]
fn a_message_in_fragments_and_a_window_that_moves_on() {
    let truth = Truth::new(one_project())
        .batch(["a+0"])
        .delta(0, "he")
        .batch(["b", "a"])
        .delta(0, "llo");
    walk(truth, &[Begin::Now], allowed(2, 0, 1), 28_000);
}

#[test]
fn fragments_that_go_by_before_they_are_read() {
    let truth = Truth::new(one_session())
        .batch(["a+0"])
        .big_delta(0, "he")
        .big_delta(0, "ll")
        .batch(["a-0"]);
    walk(truth, &[Begin::Oldest, Begin::Snapshot], allowed(1, 1, 0), 53_000);
}

#[test]
fn several_items_at_once_of_which_one_is_not_wanted() {
    let truth = Truth::new(one_session())
        .batch(["b+0", "a+1"])
        .delta(0, "x")
        .delta(1, "he")
        .batch(["a+2"])
        .delta(2, "llo");
    walk(truth, &[Begin::Now, Begin::Snapshot], allowed(0, 1, 0), 25_500);
}

#[test]
fn a_message_in_fragments_that_another_process_ends() {
    let truth = Truth::new(one_session())
        .batch(["a+0"])
        .delta(0, "he")
        .unseen(["b", "a-0"])
        .delta(0, "llo");
    walk(truth, &[Begin::Oldest, Begin::Snapshot], allowed(0, 1, 1), 54_000);
}
