use super::*;
use crate::subscription::interest::{self, Detailed as _};

fn board(session_ids: &[&str]) -> Vec<Interest> {
    let screen = session_ids.iter().map(|session_id| interest::tree(*session_id).live());
    std::iter::once(interest::all().summary()).chain(screen).collect()
}

fn change(number: u64, interests: &[Interest]) -> Revision {
    Revision {
        number,
        interests: interests.to_vec(),
    }
}

fn asked(interests: Vec<Interest>, unsynced_session_ids: &[&str]) -> Asked {
    Asked {
        interests,
        unsynced_session_ids: unsynced_session_ids.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// In force, with a snapshot of what was added to come.
fn in_force(revision: u64) -> SubscriptionUpdated {
    SubscriptionUpdated {
        revision,
        snapshot_follows: true,
    }
}

fn told(updated: Option<SubscriptionUpdated>) -> Option<u64> {
    updated.map(|updated| updated.revision)
}

/// A stream that began with these interests.
fn open(interests: Vec<Interest>) -> Revisions {
    let mut revisions = Revisions::new(interests.clone());
    assert_eq!(revisions.dial_anew(), asked(interests, &[]));
    assert_eq!(revisions.subscribed(Answer::Started), None);
    revisions
}

/// Asks for a change and calls for it.
fn call(revisions: &mut Revisions, revision: &Revision) {
    revisions.want(revision);
    let called = revisions.to_call().expect("it is to be called for");
    assert_eq!(&called, revision);
    revisions.called(called);
}

#[test]
fn a_change_is_called_for_once_and_in_force_when_the_stream_says_so() {
    let mut revisions = open(board(&["a"]));
    call(&mut revisions, &change(1, &board(&["b"])));
    assert_eq!(revisions.to_call(), None);
    assert_eq!(revisions.in_force(), board(&["a"]));
    revisions.updated(&in_force(1));
    assert_eq!(revisions.in_force(), board(&["b"]));
    revisions.snapshot_begins(SnapshotReason::InterestAdded);
    revisions.snapshot_ends(SnapshotReason::InterestAdded);
    assert_eq!(revisions.dial(), asked(board(&["b"]), &[]));
    assert_eq!(revisions.subscribed(Answer::Resumed), None, "it was told already");
}

#[test]
fn of_changes_that_wait_the_newest_wins() {
    let mut revisions = open(board(&[]));
    call(&mut revisions, &change(1, &board(&["a"])));
    revisions.want(&change(2, &board(&["b"])));
    revisions.want(&change(3, &board(&["c"])));
    assert_eq!(revisions.to_call(), None, "one at a time");
    revisions.updated(&in_force(1));
    assert_eq!(revisions.to_call(), None, "its snapshot is still to come");
    revisions.snapshot_ends(SnapshotReason::InterestAdded);
    assert_eq!(revisions.to_call(), Some(change(3, &board(&["c"]))));
}

#[test]
fn a_cut_before_a_change_is_in_force_asks_for_the_sessions_that_it_adds() {
    let mut revisions = open(board(&["a"]));
    call(&mut revisions, &change(1, &board(&["a", "c", "b"])));
    for _ in 0..2 {
        assert_eq!(revisions.dial(), asked(board(&["a", "c", "b"]), &["b", "c"]));
    }
    assert_eq!(
        told(revisions.subscribed(Answer::Resumed)),
        Some(1),
        "by the dial it is in force"
    );
    assert_eq!(revisions.to_call(), None);
    // Cut once more, in its snapshot: the resume token is still of the old ones.
    revisions.snapshot_begins(SnapshotReason::InterestAdded);
    assert_eq!(revisions.dial(), asked(board(&["a", "c", "b"]), &["b", "c"]));
    assert_eq!(revisions.subscribed(Answer::Resumed), None);
    revisions.snapshot_ends(SnapshotReason::InterestAdded);
    assert_eq!(revisions.dial(), asked(board(&["a", "c", "b"]), &[]));
}

#[test]
fn another_change_that_is_cut_goes_back_to_what_the_resume_token_is_of_and_is_called_for_again() {
    let mut revisions = open(board(&["a"]));
    let swap = change(1, &board(&["b"]));
    call(&mut revisions, &swap);
    revisions.updated(&in_force(1));
    assert_eq!(revisions.dial(), asked(board(&["a"]), &[]));
    assert_eq!(
        told(revisions.subscribed(Answer::Resumed)),
        Some(0),
        "what was told is undone"
    );
    assert_eq!(revisions.in_force(), board(&["a"]));
    assert_eq!(revisions.to_call(), Some(swap));
}

#[test]
fn what_calls_cannot_reach_a_dial_asks_for() {
    let mut revisions = open(board(&["a"]));
    call(&mut revisions, &change(1, &board(&["b"])));
    assert!(revisions.refused(Refusal::OutOfReach));
    assert_eq!(revisions.dial(), asked(board(&["b"]), &[]), "a reset, not a circle");
    assert_eq!(told(revisions.subscribed(Answer::Reset)), Some(1));
    revisions.snapshot_begins(SnapshotReason::Reset);
    assert_eq!(revisions.dial(), asked(board(&["b"]), &[]));
}

#[test]
fn interests_that_are_refused_leave_those_that_were_there() {
    let mut revisions = open(board(&["a"]));
    call(&mut revisions, &change(1, &board(&["b"])));
    revisions.updated(&in_force(1));
    revisions.want(&change(2, &[]));
    // Refused by a dial, while the first change's snapshot was under way.
    revisions.dial_anew();
    assert!(revisions.refused(Refusal::Wrong));
    assert_eq!(revisions.dial_anew(), asked(board(&["b"]), &[]));
    revisions.want(&change(2, &[]));
    assert_eq!(revisions.subscribed(Answer::Started), None);
    assert_eq!(revisions.to_call(), None);
    // What the stream has already is not a change, and its refusal is the stream's.
    revisions.dial();
    assert!(!revisions.refused(Refusal::Wrong));
}

#[test]
fn a_change_before_the_first_dial_is_what_the_dial_asks_for() {
    let mut revisions = Revisions::new(board(&[]));
    revisions.want(&change(1, &board(&["a"])));
    assert_eq!(revisions.dial_anew().interests, board(&["a"]));
    assert_eq!(told(revisions.subscribed(Answer::Started)), Some(1));
    // And with a place that was stored, which is of the interests that the stream was opened with.
    let mut revisions = Revisions::new(board(&[]));
    revisions.want(&change(1, &board(&["a"])));
    assert_eq!(revisions.dial(), asked(board(&["a"]), &["a"]));
}

#[test]
fn a_reset_in_mid_stream_has_what_was_being_added() {
    let mut revisions = open(board(&[]));
    call(&mut revisions, &change(1, &board(&["a"])));
    revisions.updated(&in_force(1));
    revisions.snapshot_begins(SnapshotReason::Reset);
    revisions.snapshot_ends(SnapshotReason::Reset);
    assert_eq!(revisions.dial(), asked(board(&["a"]), &[]));
}

#[test]
fn only_sessions_that_were_added_are_explained() {
    let (all, a) = (interest::all().summary(), interest::session("a"));
    let unspecified = Interest { detail: 0, ..a.clone() };
    let many: Vec<_> = (0..64).map(|number| interest::session(number.to_string())).collect();
    let with = |first: &[Interest]| [first, &many].concat();
    for (old, new, added) in [
        (vec![all.clone()], vec![a.clone(), all.clone()], Some(1)),
        (vec![all.clone(), a.clone()], vec![a.clone(), all.clone()], Some(0)),
        // Unspecified is CONTENT.
        (vec![a.clone()], vec![unspecified], Some(0)),
        (vec![all.clone(), a.clone()], vec![all.clone()], None),
        (vec![all.clone()], vec![all.clone(), interest::project("/p")], None),
        (vec![all.clone(), a.clone()], vec![all.clone(), a.clone().live()], None),
        (vec![a.clone()], vec![interest::session("b")], None),
        (vec![all.clone()], with(std::slice::from_ref(&all)), Some(64)),
        // A redial cannot name so many.
        (vec![all.clone()], with(&[all.clone(), a]), None),
    ] {
        let found = sessions_added(&old, &new).map(|session_ids| session_ids.len());
        assert_eq!(found, added, "{old:?} {new:?}");
    }
    assert_eq!(sessions_added(&board(&[]), &board(&["a"])), Some(vec!["a".to_owned()]));
}

#[test]
fn sessions_that_a_dial_named_needlessly_do_not_hold_up_what_comes() {
    let mut revisions = Revisions::new(board(&[]));
    revisions.want(&change(1, &board(&["a"])));
    revisions.dial();
    let updated = revisions.subscribed(Answer::Resumed);
    assert_eq!(updated, Some(in_force(1)));
    revisions.want(&change(2, &board(&["b"])));
    assert_eq!(revisions.to_call(), None);
    // The stored place was of the new interests already: no snapshot comes.
    revisions.caught_up();
    assert_eq!(revisions.to_call(), Some(change(2, &board(&["b"]))));
}
