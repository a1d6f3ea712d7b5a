//! A session that enters an interest late comes with a snapshot of it, live and in a replay alike.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use crate::event::{Families, Family, ItemStep};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::subscription::Subscription;
use crate::subscription::frame::{Frame, ResetReason, Sent, SnapshotReason};
use crate::subscription::start::Start;
use crate::subscription::tests::snapshot::names;
use crate::testing::rig::{Rig, append, assert_silent, item_draft, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, moves, only, session, within};

fn below_root(detail: Detail) -> Interests {
    interests([(Selector::Subtree(session("root")), detail)])
}

fn project(name: &str) -> Selector {
    Selector::Project(name.into())
}

/// A stream of `wanted` that is level with the log.
async fn level(rig: &Rig, wanted: &Interests) -> Subscription {
    let mut subscription = rig.subscribe(request(Start::Now, wanted)).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
    subscription
}

/// The sessions of all pages: id, events in its row, items.
fn sessions(rig: &Rig, frames: &[Sent]) -> Vec<(String, u64, usize)> {
    let pages = frames
        .iter()
        .filter(|sent| matches!(sent.frame, Frame::SnapshotPage(_)));
    let entries = pages.flat_map(|sent| rig.page(sent));
    let told = entries.map(|entry| {
        let session = &entry.snapshot.session;
        (session.id.to_string(), session.next_index.0, entry.snapshot.items.len())
    });
    told.collect()
}

fn begins(frames: &[Sent]) -> Vec<(SnapshotReason, u64, Vec<&str>)> {
    let mut begins = Vec::new();
    for sent in frames {
        if let Frame::SnapshotBegin {
            reason,
            offset,
            sessions,
        } = &sent.frame
        {
            let named = sessions.iter().map(crate::id::SessionId::as_str).collect();
            begins.push((*reason, offset.0, named));
        }
    }
    begins
}

#[tokio::test]
async fn a_session_that_is_linked_after_it_spoke_comes_whole_and_goes_on_behind_its_snapshot() {
    let rig = Rig::new().await;
    rig.store([draft("root"), item_draft("child", "m", ItemStep::Completed)])
        .await;
    let mut live = level(&rig, &below_root(Detail::Content)).await;
    let [linked] = rig.store([moves("child", None, Some("root"))]).await;
    let frames = until_caught_up(&mut live).await;
    assert_eq!(names(&frames), ["events", "begin", "page", "end", "caught up"]);
    assert_eq!(offsets(&frames), [linked.offset.0], "earlier events of it are not sent");
    let place = linked.offset.next();
    assert_eq!(begins(&frames), [(SnapshotReason::Entered, place.0, vec!["child"])]);
    assert_eq!(sessions(&rig, &frames), [("child".to_owned(), 3, 1)]);
    for sent in &frames {
        assert_eq!(sent.place.next, place, "the place stays");
        let given = matches!(sent.frame, Frame::SnapshotEnd { .. } | Frame::CaughtUp(_));
        assert_eq!(sent.place.kind == Kind::Complete, given, "{:?}", sent.frame);
    }
    let [next_one] = rig.store([draft("child")]).await;
    assert_eq!(offsets([&next(&mut live).await]), [next_one.offset.0]);
    assert_silent(&mut live).await;
}

#[tokio::test]
async fn in_a_replay_the_snapshot_is_as_of_now_and_what_it_has_is_not_sent_once_more() {
    for window in [1 << 30, 1] {
        let rig = Rig::with_window(window).await;
        rig.store([draft("root"), draft("child")]).await;
        let [linked] = rig.store([moves("child", None, Some("root"))]).await;
        let [_, root, _] = rig.store([draft("child"), draft("root"), draft("child")]).await;
        let mut replay = rig
            .subscribe(request(Start::Oldest, &below_root(Detail::Content)))
            .await;
        let frames = until_caught_up(&mut replay).await;
        let expected = [0, 1, linked.offset.0, root.offset.0];
        assert_eq!(offsets(&frames), expected, "window of {window}");
        let (tail, _) = rig.log.tail();
        assert_eq!(begins(&frames), [(SnapshotReason::Entered, tail.0, vec!["child"])]);
        assert_eq!(sessions(&rig, &frames), [("child".to_owned(), 5, 0)]);
        assert!(replay.held.is_empty(), "a parked stream is small");
        let [after] = rig.store([draft("child")]).await;
        let mut sent = next(&mut replay).await;
        if let Frame::FellBehind(_) = sent.frame {
            sent = next(&mut replay).await;
        }
        assert_eq!(offsets([&sent]), [after.offset.0]);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_before_the_end_is_given_everything_anew() {
    let rig = Rig::new().await;
    rig.store([draft("root"), draft("child")]).await;
    let wanted = below_root(Detail::Content);
    let mut live = level(&rig, &wanted).await;
    rig.store([moves("child", None, Some("root"))]).await;
    for sent in until_caught_up(&mut live).await {
        let mut later = rig.subscribe(request(Start::Resume(rig.token(&sent)), &wanted)).await;
        let frames = until_caught_up(&mut later).await;
        let reset = SnapshotReason::Reset(ResetReason::SnapshotIncomplete);
        let expected = match sent.place.kind {
            Kind::Complete => vec![],
            Kind::SnapshotPending => vec![reset],
        };
        let reasons: Vec<_> = begins(&frames).into_iter().map(|(reason, ..)| reason).collect();
        assert_eq!(reasons, expected, "behind {:?}", sent.frame);
    }
}

#[tokio::test]
async fn a_whole_subtree_enters_at_once() {
    let rig = Rig::new().await;
    let children = 1_000;
    let link = |nth: usize| append(moves(&format!("c{nth:04}"), None, Some("mid")));
    rig.append(None, (0..children).map(link).collect()).await.unwrap();
    let mut live = level(&rig, &below_root(Detail::Summary)).await;
    rig.store([draft("mid"), draft("root")]).await;
    until_silent(&mut live).await;
    let [linked] = rig.store([moves("mid", None, Some("root"))]).await;
    let frames = until_caught_up(&mut live).await;
    assert_eq!(offsets(&frames), [linked.offset.0]);
    let [(reason, _, named)] = &begins(&frames)[..] else {
        panic!("one snapshot of them all")
    };
    assert_eq!(
        (*reason, named[0], named.len()),
        (SnapshotReason::Entered, "mid", 1_000)
    );
    let told = sessions(&rig, &frames);
    assert_eq!((told.len(), told[0].0.as_str()), (children + 1, "mid"));
    assert!(told.iter().all(|(_, _, items)| *items == 0), "at SUMMARY rows only");
    assert_eq!(rig.watch.snapshots.load(Ordering::Relaxed), 1);
}

/// Takes what there is.
async fn until_silent(subscription: &mut Subscription) {
    next(subscription).await;
    assert_silent(subscription).await;
}

#[tokio::test]
async fn equal_streams_share_the_snapshot_and_others_pay_nothing() {
    let rig = Rig::new().await;
    rig.store([draft("root"), draft("child"), draft("other")]).await;
    let wanted = below_root(Detail::Content);
    let mut streams = join_all((0..50).map(|_| level(&rig, &wanted))).await;
    let mut all = level(&rig, &interests([(Selector::All, Detail::Content)])).await;
    let mut other = level(&rig, &interests([(only("other"), Detail::Live)])).await;
    let reads = rig.memory.reads();
    rig.store([moves("child", None, Some("root"))]).await;
    for stream in &mut streams {
        assert_eq!(until_caught_up(stream).await.len(), 5);
    }
    assert_eq!(
        names(&[next(&mut all).await]),
        ["events"],
        "who had it is told of the event alone"
    );
    assert_silent(&mut all).await;
    assert_silent(&mut other).await;
    assert_eq!(
        (rig.watch.snapshots.load(Ordering::Relaxed), rig.memory.reads() - reads),
        (1, 0)
    );
    assert_eq!(other.wakes(), 0);
}

#[tokio::test]
async fn a_session_moves_in_and_out_and_in_again() {
    let rig = Rig::new().await;
    let wanted = interests([(project("/p"), Detail::Content)]);
    rig.store([draft("s")]).await;
    let mut live = level(&rig, &wanted).await;
    rig.store([moves("s", Some("/p"), None)]).await;
    assert_eq!(
        sessions(&rig, &until_caught_up(&mut live).await),
        [("s".to_owned(), 3, 0)]
    );
    let [inside, left, _] = rig.store([draft("s"), moves("s", Some("/q"), None), draft("s")]).await;
    let sent = next(&mut live).await;
    assert_eq!(
        offsets([&sent]),
        [inside.offset.0, left.offset.0],
        "nothing behind the leaving"
    );
    rig.store([draft("s")]).await;
    assert_silent(&mut live).await;
    rig.store([moves("s", Some("/p"), None)]).await;
    assert_eq!(
        sessions(&rig, &until_caught_up(&mut live).await),
        [("s".to_owned(), 8, 0)]
    );
    // A replay sees it enter, and has from then on what it came to be.
    // Not one that others were given a moment ago.
    rig.clock.advance(limits::SNAPSHOT_SHARED_FOR);
    let mut replay = rig.subscribe(request(Start::Oldest, &wanted)).await;
    let frames = until_caught_up(&mut replay).await;
    assert_eq!(begins(&frames).len(), 1, "the second entry is in the snapshot");
    assert_eq!(sessions(&rig, &frames), [("s".to_owned(), 8, 0)]);
    // One that has left again when it is read is not in it: its events come until the one by which it left.
    rig.store([draft("s"), moves("s", Some("/q"), None), draft("s")]).await;
    // Not one that others were given a moment ago.
    rig.clock.advance(limits::SNAPSHOT_SHARED_FOR);
    let mut replay = rig.subscribe(request(Start::Oldest, &wanted)).await;
    let frames = until_caught_up(&mut replay).await;
    assert!(sessions(&rig, &frames).is_empty());
    assert_eq!(begins(&frames).len(), 2);
    assert_eq!(offsets(&frames), [2, 3, 4, 7, 8, 9]);
}

#[tokio::test]
async fn entering_at_a_higher_detail_counts_and_at_the_same_does_not() {
    let rig = Rig::new().await;
    rig.store([item_draft("s", "m", ItemStep::Completed)]).await;
    let all = |detail, other| interests([(Selector::All, detail), (project("/p"), other)]);
    let mut higher = level(&rig, &all(Detail::Summary, Detail::Content)).await;
    let mut same = level(&rig, &all(Detail::Content, Detail::Summary)).await;
    let tools = Interest {
        families: Families::NONE.with(Family::Tool),
        ..Interest::new(project("/p"), Detail::Content)
    };
    let tools = Interests::new(vec![Interest::new(Selector::All, Detail::Summary), tools]).unwrap();
    let mut filtered = level(&rig, &tools).await;
    rig.store([moves("s", Some("/p"), None)]).await;
    assert_eq!(
        sessions(&rig, &until_caught_up(&mut higher).await),
        [("s".to_owned(), 3, 1)]
    );
    assert_eq!(names(&[next(&mut same).await]), ["events"]);
    assert_silent(&mut same).await;
    let frames = until_caught_up(&mut filtered).await;
    assert_eq!(
        sessions(&rig, &frames),
        [("s".to_owned(), 3, 0)],
        "of the families that are wanted"
    );
    // Back again: it is wanted less, and nothing is to be told but the event.
    rig.store([moves("s", Some("/q"), None)]).await;
    for stream in [&mut higher, &mut same, &mut filtered] {
        assert_eq!(names(&[next(stream).await]), ["events"]);
        assert_silent(stream).await;
    }
}

#[tokio::test]
async fn what_lies_below_enters_though_its_parent_was_wanted_already() {
    let rig = Rig::new().await;
    rig.store([moves("child", None, Some("mid")), draft("child"), draft("root")])
        .await;
    let wanted = interests([
        (only("mid"), Detail::Content),
        (Selector::Subtree(session("root")), Detail::Content),
    ]);
    let mut live = level(&rig, &wanted).await;
    rig.store([moves("mid", None, Some("root"))]).await;
    let frames = until_caught_up(&mut live).await;
    let told: Vec<_> = sessions(&rig, &frames).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(told, ["child"], "and the parent not once more");
}

#[tokio::test]
async fn its_open_items_come_as_texts_behind_the_snapshot_and_grow_from_there() {
    let rig = Rig::new().await;
    rig.store([draft("root"), item_draft("child", "m", ItemStep::Started)])
        .await;
    rig.delta("child", "m", 0, "half a sen").await;
    let mut live = level(&rig, &below_root(Detail::Live)).await;
    rig.store([moves("child", None, Some("root"))]).await;
    let mut frames = until_caught_up(&mut live).await;
    frames.push(next(&mut live).await);
    assert_eq!(names(&frames), ["events", "begin", "page", "end", "caught up", "text"]);
    let Frame::ItemText(text) = &frames[5].frame else {
        panic!("the text so far")
    };
    assert_eq!(text.text.as_deref(), Some(&b"half a sen"[..]));
    rig.delta("child", "m", 10, "tence").await;
    assert_eq!(names(&[next(&mut live).await]), ["deltas"]);
    rig.store([item_draft("child", "m", ItemStep::Completed)]).await;
    assert_eq!(names(&[next(&mut live).await]), ["events"]);
    assert_silent(&mut live).await;
}

#[tokio::test]
async fn where_only_deltas_are_gained_the_texts_come_and_no_snapshot() {
    let rig = Rig::new().await;
    rig.store([item_draft("s", "m", ItemStep::Started)]).await;
    rig.delta("s", "m", 0, "half").await;
    let wanted = interests([(Selector::All, Detail::Content), (project("/p"), Detail::Live)]);
    let mut live = level(&rig, &wanted).await;
    rig.store([moves("s", Some("/p"), None)]).await;
    let frames = [next(&mut live).await, next(&mut live).await];
    assert_eq!(names(&frames), ["events", "text"]);
    assert_eq!(frames[0].place.kind, Kind::Complete);
    rig.delta("s", "m", 4, "!").await;
    assert_eq!(names(&[next(&mut live).await]), ["deltas"]);
}

#[tokio::test]
async fn no_text_of_an_item_comes_that_the_snapshot_knows_to_have_ended() {
    // Another process stores the end, and this one has not heard of it when the snapshot is read.
    let rig = Rig::new().await;
    rig.store([draft("root"), item_draft("child", "m", ItemStep::Started)])
        .await;
    rig.delta("child", "m", 0, "half").await;
    let mut live = level(&rig, &below_root(Detail::Live)).await;
    rig.store([moves("child", None, Some("root"))]).await;
    let there = Rig::beside(&rig).await;
    there.store([item_draft("child", "m", ItemStep::Completed)]).await;
    let frames = until_caught_up(&mut live).await;
    let (tail, _) = rig.log.tail();
    assert_eq!(begins(&frames)[0].1, tail.0 + 1, "it is ahead of what is announced");
    assert_silent(&mut live).await;
    let row = rig.row().await;
    rig.log.catch_up(row.tail, row.link);
    let frames = until_caught_up(&mut live).await;
    assert_eq!(names(&frames), ["fell behind", "events", "caught up"]);
    assert_eq!(offsets(&frames), [] as [u64; 0], "the end is in the snapshot");
    assert_silent(&mut live).await;
}

#[tokio::test]
async fn pages_that_are_taken_back_begin_again_and_the_place_stays() {
    let mut rig = Rig::new().await;
    rig.bound_snapshots(1);
    rig.store([draft("root"), moves("child", None, Some("mid"))]).await;
    let mut asked = request(Start::Now, &below_root(Detail::Content));
    asked.frame_bytes = 1;
    let mut stalled = rig.subscribe(asked).await;
    until_caught_up(&mut stalled).await;
    let [linked] = rig.store([moves("mid", None, Some("root"))]).await;
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(next(&mut stalled).await);
    }
    assert_eq!(names(&frames), ["events", "begin", "page"]);
    let everything = request(Start::Snapshot, &interests([(Selector::All, Detail::Content)]));
    until_caught_up(&mut within(rig.subscribe(everything)).await).await;
    rig.store([draft("child")]).await;
    let rest = until_caught_up(&mut stalled).await;
    assert_eq!(names(&rest), ["begin", "page", "page", "end", "events", "caught up"]);
    assert_eq!(begins(&rest)[0].0, SnapshotReason::Entered);
    assert_eq!(rest[0].place.next, linked.offset.next());
    assert_eq!(offsets(&rest), [] as [u64; 0], "the newer snapshot has it");
    assert_eq!(rest[5].place.next, Offset(linked.offset.0 + 2));
}
