//! What is stored in which order, and what subscribers may see of it when.

use std::time::Duration;

use crate::event::{ItemKey, ItemStep};
use crate::interest::{Detail, Selector};
use crate::offset::Offset;
use crate::store::{Read, Store as _};
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, append, delta, item_draft, offsets, request, seq, until_caught_up};
use crate::testing::{draft, interests, session, within};

#[tokio::test]
async fn calls_that_wait_while_it_commits_are_stored_by_one_commit() {
    let rig = Rig::new().await;
    let mut pending = Vec::new();
    for nth in 0..50 {
        pending.push(rig.queue(None, vec![append(draft(&format!("s{nth}")))]).await);
    }
    for answer in pending {
        within(answer).await.unwrap().unwrap();
    }
    assert_eq!((rig.commits(), rig.row().await.tail), (1, Offset(100)));
}

#[tokio::test]
async fn whoever_was_answered_can_already_be_read() {
    let rig = Rig::new().await;
    for nth in 0..3 {
        rig.store([draft("a")]).await;
        let (tail, link) = rig.log.tail();
        assert_eq!(tail, Offset(nth + 2), "announced before it was answered");
        let row = rig.row().await;
        assert_eq!((row.tail, row.link), (tail, link), "durable before it was announced");
        assert_eq!(rig.log.window().end(), tail, "readable before it was announced");
    }
}

#[tokio::test]
async fn the_links_of_the_log_are_one_chain() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    rig.store([draft("a")]).await;
    let row = rig.row().await;
    let everything = interests([(Selector::All, Detail::Content)]);
    let read = Read {
        log: &row,
        interests: &everything,
        from: Offset(0),
        until: row.tail,
        events_max: 100,
        bytes_max: 1 << 20,
        scan_max: 100,
    };
    let from_store = rig.memory.read(read).await.unwrap().events;
    let mut link = row.link_key.genesis(row.epoch);
    for event in &from_store {
        let stored = &event.bytes[..event.bytes.len() - 8];
        link = row.link_key.next(link, &crate::link::Digest::of(stored));
        assert_eq!(event.link, link, "at {}", event.offset);
        assert_eq!(event.bytes[event.bytes.len() - 8..], link.0.to_be_bytes());
    }
    assert_eq!(row.link, link);
    let in_window = rig
        .log
        .window()
        .read(&everything, Offset(0), row.tail, 1 << 20)
        .unwrap()
        .events;
    let bytes = |events: &[crate::event::Event]| events.iter().map(|event| event.bytes.clone()).collect::<Vec<_>>();
    assert_eq!(
        bytes(&from_store),
        bytes(&in_window),
        "history and live are the same bytes"
    );
}

#[tokio::test]
async fn recorded_time_never_decreases_when_the_clock_jumps_back() {
    let rig = Rig::new().await;
    let mut before = rig.row().await.recorded;
    for jump in [0, -500_000, -9_000_000_000, 1, 20_000_000_000] {
        rig.clock.jump(jump);
        rig.store([draft("a")]).await;
        let row = rig.row().await;
        let session = rig.memory.session(row.key, &session("a")).await.unwrap().unwrap();
        assert!(row.recorded >= before, "{:?} after {before:?}", row.recorded);
        assert_eq!(session.updated, row.recorded);
        before = row.recorded;
    }
    rig.clock.advance(Duration::from_secs(60));
    rig.store([draft("a")]).await;
    assert!(rig.row().await.recorded > before, "and goes on when the clock does");
}

#[tokio::test]
async fn fragments_go_behind_the_events_that_were_queued_before_them() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let started = rig
        .queue(Some(&claim), vec![seq(1, item_draft("a", "m", ItemStep::Started))])
        .await;
    for (at, text) in [(0, "he"), (2, "llo")] {
        let call = rig
            .appender
            .deltas(rig.log.clone(), Some(claim.clone()), vec![delta("a", "m", at, text)]);
        within(call).await.unwrap();
    }
    within(started).await.unwrap().unwrap();
    rig.settle().await;
    let texts = rig.log.deltas().texts_of(&session("a"), ItemKey::of("m"));
    assert_eq!(texts[0].text.as_deref(), Some(&b"hello"[..]));
    assert_eq!(rig.row().await.tail, Offset(2), "a fragment is never stored");
}

#[tokio::test]
async fn fragments_after_the_end_of_their_item_or_under_an_old_fence_go_no_further() {
    let rig = Rig::new().await;
    let old = rig.open("w").await;
    let new = rig.open("w").await;
    rig.store([
        item_draft("a", "m", ItemStep::Started),
        item_draft("a", "n", ItemStep::Started),
    ])
    .await;
    rig.store([item_draft("a", "n", ItemStep::Completed)]).await;
    for (claim, item) in [(&old, "m"), (&new, "n"), (&new, "never-started")] {
        let call = rig
            .appender
            .deltas(rig.log.clone(), Some(claim.clone()), vec![delta("a", item, 0, "x")]);
        within(call).await.unwrap();
    }
    let unknown = rig
        .appender
        .deltas(rig.log.clone(), Some(new), vec![delta("unknown", "m", 0, "x")]);
    within(unknown).await.unwrap();
    rig.settle().await;
    assert_eq!(rig.log.deltas().end(), 0);
    assert!(
        rig.memory
            .session(rig.log.row().key, &session("unknown"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn p_14_what_was_appended_does_not_change_when_its_writer_goes_on() {
    let rig = Rig::new().await;
    let mut told = draft("a");
    told.body = "before".into();
    rig.store([told.clone()]).await;
    told.body = "after".into();
    rig.store([told]).await;
    let everything = interests([(Selector::All, Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &everything)).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(offsets(&frames), [0, 1, 2]);
    let first = rig
        .log
        .window()
        .read(&everything, Offset(1), Offset(2), 1 << 20)
        .unwrap();
    assert_eq!(&first.events[0].bytes[8..14], b"before");
}

#[tokio::test]
async fn every_call_is_answered_when_the_last_handle_goes() {
    let rig = Rig::new().await;
    let pending = rig.queue(None, vec![append(draft("a"))]).await;
    let Rig {
        appender,
        memory,
        log,
        committer: mut tasks,
        ..
    } = rig;
    drop(appender);
    within(pending).await.unwrap().unwrap();
    within(tasks.join_next()).await.unwrap().unwrap();
    assert_eq!(memory.open_log(&log.row().tenant).await.unwrap().tail, Offset(2));
}
