//! The interests of an open stream change between two frames: nothing is missed, nothing comes twice.

use crate::event::ItemStep;
use crate::interest::{Detail, Interests, Selector};
use crate::subscription::Subscription;
use crate::subscription::frame::{Answer, Frame, ResetReason, Sent, SnapshotReason, Then};
use crate::subscription::start::Start;
use crate::subscription::tests::snapshot::names;
use crate::subscription::updating::Update;
use crate::testing::rig::{Rig, assert_silent, item_draft, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, only, session};

fn content(ids: &[&str]) -> Interests {
    let each = ids
        .iter()
        .map(|id| crate::interest::Interest::new(only(id), Detail::Content));
    Interests::new(each.collect()).unwrap()
}

async fn level(rig: &Rig, wanted: &Interests) -> Subscription {
    let mut subscription = rig.subscribe(request(Start::Now, wanted)).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
    subscription
}

fn ask(subscription: &Subscription, revision: u64, wanted: &Interests) {
    let update = Update {
        revision,
        interests: wanted.clone(),
    };
    let mailbox = subscription.around.registered.mailbox();
    assert_eq!(mailbox.update(update), Ok(revision));
}

fn updated(sent: &Sent) -> (u64, Then) {
    let Frame::Updated { revision, then } = sent.frame else {
        panic!("the change was to come, not {sent:?}")
    };
    (revision, then)
}

#[tokio::test]
async fn what_is_added_comes_as_a_snapshot_and_then_event_by_event() {
    let rig = Rig::new().await;
    rig.store([draft("a"), item_draft("b", "m", ItemStep::Completed)]).await;
    let (old, new) = (content(&["a"]), content(&["a", "b"]));
    let mut stream = level(&rig, &old).await;
    ask(&stream, 1, &new);
    let frames = until_caught_up(&mut stream).await;
    assert_eq!(names(&frames), ["updated", "begin", "page", "end", "caught up"]);
    assert_eq!(updated(&frames[0]), (1, Then::Snapshot));
    let page = rig.page(&frames[2]);
    assert_eq!(
        (
            page.len(),
            page[0].snapshot.session.id.as_str(),
            page[0].snapshot.items.len()
        ),
        (1, "b", 1)
    );
    let of: Vec<_> = frames.iter().map(|sent| sent.place.interests).collect();
    let (old_hash, new_hash) = (old.hash(), new.hash());
    assert_eq!(of, [old_hash, old_hash, old_hash, new_hash, new_hash]);
    rig.store([draft("a"), draft("b")]).await;
    assert_eq!(offsets([&next(&mut stream).await]), [4, 5]);
}

#[tokio::test]
async fn m_18_who_went_through_twenty_sessions_gets_only_what_it_watches_now() {
    let rig = Rig::new().await;
    let name = |nth: u64| format!("s{nth}");
    for nth in 0..20 {
        rig.store([draft(&name(nth))]).await;
    }
    let mut stream = level(&rig, &content(&["s0"])).await;
    for nth in 1..20 {
        ask(&stream, nth, &content(&[&name(nth)]));
        let frames = until_caught_up(&mut stream).await;
        assert_eq!(rig.page(&frames[2])[0].snapshot.session.id.as_str(), name(nth));
    }
    let wakes = stream.wakes();
    for nth in 0..20 {
        rig.store([draft(&name(nth))]).await;
    }
    assert_eq!(offsets([&next(&mut stream).await]), [59]);
    assert_silent(&mut stream).await;
    assert_eq!(stream.wakes() - wakes, 1, "and what it left behind does not wake it");
}

#[tokio::test]
async fn narrowing_needs_no_snapshot() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    let (old, new) = (content(&["a", "b"]), content(&["b"]));
    let mut stream = level(&rig, &old).await;
    rig.store([draft("x")]).await;
    ask(&stream, 1, &new);
    let frames = [next(&mut stream).await];
    assert_eq!(updated(&frames[0]), (1, Then::Nothing));
    assert_eq!(frames[0].place.interests, new.hash());
    rig.store([draft("a"), draft("b")]).await;
    assert_eq!(offsets([&next(&mut stream).await]), [7]);
    assert_silent(&mut stream).await;
}

#[tokio::test]
async fn what_was_passed_is_accounted_for_before_the_change() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    let old = content(&["a"]);
    let mut stream = level(&rig, &old).await;
    rig.store([draft("b"), draft("b")]).await;
    // It looks, passes over what is not its own, and says nothing yet.
    assert_silent(&mut stream).await;
    stream.seat.wake();
    assert_silent(&mut stream).await;
    ask(&stream, 1, &content(&["a", "b"]));
    let frames = until_caught_up(&mut stream).await;
    assert_eq!(
        names(&frames),
        ["events", "updated", "begin", "page", "end", "caught up"]
    );
    assert_eq!((offsets(&frames), frames[0].place.interests), (vec![], old.hash()));
    assert_eq!(rig.page(&frames[3])[0].snapshot.session.next_index.0, 3);
}

#[tokio::test]
async fn of_several_changes_only_the_newest_takes_effect() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b"), draft("c")]).await;
    let mut stream = level(&rig, &content(&["a"])).await;
    ask(&stream, 1, &content(&["b"]));
    ask(&stream, 7, &content(&["c"]));
    let frames = until_caught_up(&mut stream).await;
    assert_eq!(updated(&frames[0]), (7, Then::Snapshot));
    assert_eq!(names(&frames), ["updated", "begin", "page", "end", "caught up"]);
    assert_eq!(rig.page(&frames[2])[0].snapshot.session.id.as_str(), "c");
}

#[tokio::test]
async fn a_change_waits_for_the_end_of_the_snapshot_that_is_under_way() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b"), draft("c")]).await;
    let mut asked = request(Start::Snapshot, &content(&["a", "b"]));
    asked.frame_bytes = 1;
    let mut stream = rig.subscribe(asked).await;
    assert_eq!(names(&[next(&mut stream).await]), ["subscribed"]);
    ask(&stream, 1, &content(&["c"]));
    let frames = until_caught_up(&mut stream).await;
    let expected = [
        "begin",
        "page",
        "page",
        "end",
        "updated",
        "begin",
        "page",
        "end",
        "caught up",
    ];
    assert_eq!(names(&frames), expected);
}

#[tokio::test]
async fn a_higher_detail_is_an_addition_and_deltas_alone_are_texts() {
    let rig = Rig::new().await;
    rig.store([item_draft("s", "m", ItemStep::Started)]).await;
    rig.delta("s", "m", 0, "half").await;
    let board = |detail| interests([(Selector::All, Detail::Summary), (only("s"), detail)]);
    let mut stream = level(&rig, &interests([(Selector::All, Detail::Summary)])).await;
    ask(&stream, 1, &board(Detail::Content));
    let frames = until_caught_up(&mut stream).await;
    assert_eq!(updated(&frames[0]), (1, Then::Snapshot));
    assert_eq!(rig.page(&frames[2])[0].snapshot.items.len(), 1);
    ask(&stream, 2, &board(Detail::Live));
    let frames = [next(&mut stream).await, next(&mut stream).await];
    assert_eq!(
        (updated(&frames[0]), names(&frames)),
        ((2, Then::Nothing), vec!["updated", "text"])
    );
    rig.delta("s", "m", 4, "!").await;
    assert_eq!(names(&[next(&mut stream).await]), ["deltas"]);
    ask(&stream, 3, &board(Detail::Content));
    assert_eq!(updated(&next(&mut stream).await), (3, Then::Nothing));
    rig.delta("s", "m", 5, "!").await;
    assert_silent(&mut stream).await;
}

#[tokio::test]
async fn a_stream_that_is_far_behind_changes_where_it_is() {
    let rig = Rig::with_window(1).await;
    rig.store([draft("a"), draft("b"), draft("a"), draft("b")]).await;
    let mut asked = request(Start::Oldest, &content(&["a"]));
    asked.frame_bytes = 1;
    let mut stream = rig.subscribe(asked).await;
    let frames = [next(&mut stream).await, next(&mut stream).await];
    assert_eq!(offsets(&frames), [0]);
    ask(&stream, 1, &content(&["a", "b"]));
    let frames = until_caught_up(&mut stream).await;
    assert_eq!(updated(&frames[0]).1, Then::Snapshot);
    assert_eq!(rig.page(&frames[2])[0].snapshot.session.next_index.0, 3, "as of now");
    assert_eq!(
        offsets(&frames),
        [1, 4],
        "what the snapshot has does not come once more"
    );
}

/// What a resume with these interests is answered, and the reasons of the snapshots that come.
async fn resumed(rig: &Rig, sent: &Sent, wanted: &Interests, unsynced: &[&str]) -> (Answer, Vec<SnapshotReason>) {
    let mut asked = request(Start::Resume(rig.token(sent)), wanted);
    asked.unsynced = unsynced.iter().map(|id| session(id)).collect();
    let frames = until_caught_up(&mut rig.subscribe(asked).await).await;
    let Frame::Subscribed { answer, .. } = frames[0].frame else {
        panic!("the first frame is always subscribed")
    };
    let reason = |sent: &Sent| {
        if let Frame::SnapshotBegin { reason, .. } = sent.frame {
            return Some(reason);
        }
        None
    };
    (answer, frames.iter().filter_map(reason).collect())
}

#[tokio::test]
async fn a_redial_in_mid_addition_goes_on_with_either_interests() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b"), draft("c")]).await;
    let (old, new) = (content(&["a"]), content(&["a", "b", "c"]));
    let mut stream = level(&rig, &old).await;
    ask(&stream, 1, &new);
    let added = (Answer::Resumed, vec![SnapshotReason::Added]);
    let plain = (Answer::Resumed, vec![]);
    let reset = Answer::Reset(ResetReason::InterestsChanged);
    let changed = (reset, vec![SnapshotReason::Reset(ResetReason::InterestsChanged)]);
    for sent in until_caught_up(&mut stream).await {
        let is_given = matches!(sent.frame, Frame::SnapshotEnd { .. } | Frame::CaughtUp(_));
        let name = names(std::slice::from_ref(&sent));
        let with_old = resumed(&rig, &sent, &old, &[]).await;
        let explained = resumed(&rig, &sent, &new, &["b", "c", "nobody"]).await;
        let unexplained = resumed(&rig, &sent, &new, &["b"]).await;
        if is_given {
            assert_eq!(
                (with_old, explained, unexplained),
                (changed.clone(), plain.clone(), plain.clone()),
                "{name:?}"
            );
        } else {
            assert_eq!(
                (with_old, explained, unexplained),
                (plain.clone(), added.clone(), changed.clone()),
                "{name:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_redial_that_is_cut_in_its_addition_is_answered_the_same_again() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    let (old, new) = (content(&["a"]), content(&["a", "b"]));
    let mut stream = level(&rig, &old).await;
    ask(&stream, 1, &new);
    let mut sent = next(&mut stream).await;
    for _ in 0..3 {
        rig.store([draft("b"), draft("a")]).await;
        let mut asked = request(Start::Resume(rig.token(&sent)), &new);
        asked.unsynced = vec![session("b")];
        stream = rig.subscribe(asked).await;
        let frames = [
            next(&mut stream).await,
            next(&mut stream).await,
            next(&mut stream).await,
        ];
        assert_eq!(names(&frames), ["subscribed", "begin", "page"]);
        sent = frames[2].clone();
    }
    let frames = until_caught_up(&mut stream).await;
    // The first redial's snapshot, as of 6, is shared by the others.
    assert_eq!(
        offsets(&frames),
        [5, 6, 7, 8, 9],
        "all of what was held, and nothing twice"
    );
}

#[tokio::test]
async fn only_what_was_added_as_a_session_is_explained() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    let old = interests([(Selector::All, Detail::Summary), (only("a"), Detail::Content)]);
    let sent = next(&mut rig.subscribe(request(Start::Now, &old)).await).await;
    let all = (Selector::All, Detail::Summary);
    let a = (only("a"), Detail::Content);
    let resets = [
        (interests([all.clone(), (only("a"), Detail::Live)]), vec!["a"]),
        (interests([all.clone(), (only("b"), Detail::Live)]), vec!["b"]),
        (interests([(only("b"), Detail::Live)]), vec!["b"]),
        (
            interests([
                all.clone(),
                a.clone(),
                (Selector::Project("/p".into()), Detail::Content),
            ]),
            vec!["a"],
        ),
    ];
    for (wanted, unsynced) in resets {
        let (answer, _) = resumed(&rig, &sent, &wanted, &unsynced).await;
        assert_eq!(answer, Answer::Reset(ResetReason::InterestsChanged), "{wanted:?}");
    }
    let below_b = (Selector::Subtree(session("b")), Detail::Live);
    let (answer, reasons) = resumed(&rig, &sent, &interests([all, a, below_b]), &["b"]).await;
    assert_eq!((answer, reasons), (Answer::Resumed, vec![SnapshotReason::Added]));
}
