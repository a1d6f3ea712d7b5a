//! A snapshot holds everything before its offset, or its resume tokens say that it was not given.

use crate::event::{Draft, ItemKey, ItemStep, SessionRef, SessionStep};
use crate::interest::{Detail, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::session::SessionFacts;
use crate::subscription::frame::{Answer, ClosingReason, Frame, ResetReason, Sent, SnapshotEntry};
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, delta, item_draft, next, offsets, request, until_caught_up};
use crate::testing::{OPENED, draft, draft_of, interests, only, session, within};

pub(super) const fn name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Subscribed { .. } => "subscribed",
        Frame::SnapshotBegin { .. } => "begin",
        Frame::SnapshotPage(_) => "page",
        Frame::SnapshotEnd { .. } => "end",
        Frame::Updated { .. } => "updated",
        Frame::Events { .. } => "events",
        Frame::Deltas(_) => "deltas",
        Frame::ItemText(_) => "text",
        Frame::CaughtUp(_) => "caught up",
        Frame::FellBehind(_) => "fell behind",
        Frame::Gap { .. } => "gap",
        Frame::Heartbeat { .. } => "heartbeat",
        Frame::CredentialExpiring(_) => "expiring",
        Frame::Closing { .. } => "closing",
    }
}

pub(super) fn names(frames: &[Sent]) -> Vec<&'static str> {
    frames.iter().map(|sent| name(&sent.frame)).collect()
}

async fn snapshot(rig: &Rig, frame_bytes: usize) -> crate::subscription::Subscription {
    let mut asked = request(Start::Snapshot, &interests([(Selector::All, Detail::Live)]));
    asked.frame_bytes = frame_bytes;
    rig.subscribe(asked).await
}

#[tokio::test]
async fn it_holds_rows_items_and_the_texts_of_what_is_open_then_the_stream_goes_on() {
    let rig = Rig::new().await;
    rig.store([
        item_draft("a", "done", ItemStep::Completed),
        item_draft("a", "m", ItemStep::Started),
    ])
    .await;
    rig.store([draft("b")]).await;
    rig.delta("a", "m", 0, "half a sen").await;
    let mut subscription = snapshot(&rig, 1 << 20).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(names(&frames), ["subscribed", "begin", "page", "end", "caught up"]);
    let page = rig.page(&frames[2]);
    let rows: Vec<_> = page
        .iter()
        .map(|entry| {
            (
                entry.snapshot.session.id.as_str(),
                entry.snapshot.items.len(),
                entry.texts.len(),
            )
        })
        .collect();
    assert_eq!(rows, [("b", 0, 0), ("a", 2, 1)]);
    assert_eq!(page[1].texts[0].text.as_deref(), Some(&b"half a sen"[..]));
    rig.delta("a", "m", 10, "ten").await;
    let Frame::ItemText(text) = next(&mut subscription).await.frame else {
        panic!("the text so far")
    };
    assert_eq!(text.text.as_deref(), Some(&b"half a senten"[..]));
    rig.delta("a", "m", 13, "ce").await;
    assert_eq!(names(&[next(&mut subscription).await]), ["deltas"], "and from there on");
    rig.store([draft("a")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [5]);
}

#[tokio::test]
async fn until_its_end_its_tokens_are_pending_and_a_resume_starts_over() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b"), draft("c")]).await;
    let mut subscription = snapshot(&rig, 1).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(
        names(&frames),
        ["subscribed", "begin", "page", "page", "page", "end", "caught up"]
    );
    for sent in &frames {
        assert_eq!(sent.place.next, Offset(6));
        let token = Start::Resume(rig.token(sent));
        let again = request(token, &interests([(Selector::All, Detail::Live)]));
        let again = next(&mut rig.subscribe(again).await).await;
        let Frame::Subscribed { answer, .. } = again.frame else {
            panic!("subscribed")
        };
        let incomplete = Answer::Reset(ResetReason::SnapshotIncomplete);
        match name(&sent.frame) {
            "end" | "caught up" => assert_eq!((sent.place.kind, answer), (Kind::Complete, Answer::Resumed)),
            _ => assert_eq!((sent.place.kind, answer), (Kind::SnapshotPending, incomplete)),
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_is_cut_short_by_a_polite_end_stays_pending() {
    for taken in 0..=7 {
        let rig = Rig::new().await;
        rig.store([draft("a"), draft("b"), draft("c")]).await;
        let mut subscription = snapshot(&rig, 1).await;
        let mut frames = Vec::new();
        for _ in 0..taken {
            frames.push(next(&mut subscription).await);
        }
        rig.draining.send_replace(Some((ClosingReason::Draining, None)));
        let mut last = next(&mut subscription).await;
        if taken == 0 {
            assert_eq!(name(&last.frame), "subscribed", "always the first");
            last = next(&mut subscription).await;
        }
        assert_eq!(name(&last.frame), "closing");
        let whole = names(&frames).contains(&"end");
        let kind = if whole { Kind::Complete } else { Kind::SnapshotPending };
        assert_eq!(last.place.kind, kind, "after {:?}", names(&frames));
        assert!(subscription.next().await.is_none());
    }
}

#[tokio::test]
async fn at_summary_it_holds_rows_only_and_of_the_wanted_sessions_only() {
    let rig = Rig::new().await;
    rig.store([item_draft("a", "m", ItemStep::Started), draft("b")]).await;
    rig.delta("a", "m", 0, "text").await;
    let mut subscription = rig
        .subscribe(request(Start::Snapshot, &interests([(only("a"), Detail::Summary)])))
        .await;
    let frames = until_caught_up(&mut subscription).await;
    let page = rig.page(&frames[2]);
    assert_eq!(
        (page.len(), page[0].snapshot.items.len(), page[0].texts.len()),
        (1, 0, 0)
    );
}

/// A session that was opened with 50 KiB of facts.
async fn configured(rig: &Rig, id: &str) {
    let facts = SessionFacts {
        other: vec![("config".into(), "c".repeat(50 * 1024).into())],
        ..SessionFacts::default()
    };
    rig.store([Draft {
        session_step: SessionStep::Opened(Box::new(facts)),
        ..draft_of(SessionRef::Id(session(id)), OPENED)
    }])
    .await;
}

/// Starts an item with an event of so many bytes and gives it the longest text.
async fn large_item(rig: &Rig, id: &str, item: &str, bytes: usize) {
    let started = Draft {
        body: vec![b'b'; bytes].into(),
        ..item_draft(id, item, ItemStep::Started)
    };
    rig.store([started]).await;
    let mut text = delta(id, item, 0, "");
    text.text = vec![b't'; limits::ITEM_TEXT_BYTES_MAX].into();
    let call = rig.appender.deltas(rig.log.clone(), None, vec![text]);
    within(call).await.unwrap();
    rig.settle().await;
}

/// What a session weighs in a page: all of it that has a length of its own.
fn weight(entry: &SnapshotEntry) -> usize {
    let facts = &entry.snapshot.session.facts.other;
    let facts: usize = facts.iter().map(|(name, value)| name.len() + value.len()).sum();
    let items: usize = entry.snapshot.items.iter().map(|event| event.bytes.len()).sum();
    let texts = entry.texts.iter().filter_map(|text| text.text.as_ref());
    facts + items + texts.map(bytes::Bytes::len).sum::<usize>()
}

#[tokio::test]
async fn no_page_is_larger_than_a_frame_unless_it_is_one_session_and_that_fits_a_message() {
    let rig = Rig::new().await;
    for nth in 0..30 {
        configured(&rig, &format!("small{nth}")).await;
    }
    configured(&rig, "large").await;
    for nth in 0..20 {
        large_item(&rig, "large", &format!("i{nth}"), limits::EVENT_BYTES_MAX - 100).await;
    }
    configured(&rig, "wordy").await;
    for nth in 0..20 {
        large_item(&rig, "wordy", &format!("i{nth}"), 100).await;
    }
    for nth in 30..60 {
        configured(&rig, &format!("small{nth}")).await;
    }
    for frame_bytes in [limits::FRAME_BYTES_ASKED_MIN, 1 << 20, limits::FRAME_BYTES_ASKED_MAX] {
        let frames = until_caught_up(&mut snapshot(&rig, frame_bytes).await).await;
        let mut seen = Vec::new();
        let mut pages = 0;
        for sent in &frames {
            if !matches!(sent.frame, Frame::SnapshotPage(_)) {
                continue;
            }
            let page = rig.page(sent);
            let bytes: usize = page.iter().map(weight).sum();
            assert!(
                bytes <= frame_bytes || page.len() == 1,
                "{bytes} bytes in {frame_bytes}"
            );
            assert!(bytes <= limits::FRAME_BYTES_ASKED_MAX, "{bytes} bytes fit no message");
            seen.extend(page.iter().map(|entry| entry.snapshot.session.id.clone()));
            pages += 1;
            for entry in page
                .iter()
                .filter(|entry| entry.snapshot.session.id == session("large"))
            {
                let kept: Vec<_> = entry.snapshot.items.iter().filter_map(|event| event.item).collect();
                assert!((2..20).contains(&kept.len()), "some of them");
                assert_eq!(kept.last(), Some(&ItemKey::of("i19")), "the newest");
                assert_eq!(entry.snapshot.more_below, Some(entry.snapshot.items[0].offset));
                assert_eq!(
                    entry.texts.len(),
                    kept.len(),
                    "each with its text, or word that it is not here"
                );
                assert!(entry.texts.iter().any(|text| text.text.is_some()));
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 62, "none is left out");
        assert!(pages >= 60 * 50 * 1024 / frame_bytes.max(50 * 1024), "{pages} pages");
    }
}

#[tokio::test]
async fn a_text_of_an_item_that_the_store_knows_to_have_begun_again_is_not_in_it() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    rig.delta("a", "m", 0, "of its former life").await;
    other.store([item_draft("a", "m", ItemStep::Completed)]).await;
    other.store([item_draft("a", "m", ItemStep::Started)]).await;
    let mut subscription = snapshot(&rig, 1 << 20).await;
    let frames = until_caught_up(&mut subscription).await;
    let page = rig.page(&frames[2]);
    assert_eq!((page[0].snapshot.items.len(), page[0].texts.len()), (1, 0));
}

#[tokio::test]
async fn what_was_stored_and_is_not_announced_yet_is_in_it_and_comes_no_second_time() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    rig.delta("a", "m", 0, "text").await;
    other.store([item_draft("a", "m", ItemStep::Completed)]).await;
    let mut subscription = snapshot(&rig, 1 << 20).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(names(&frames), ["subscribed", "begin", "page", "end", "caught up"]);
    assert_eq!(frames[4].place.next, Offset(3));
    crate::testing::rig::assert_silent(&mut subscription).await;
    rig.store([draft("a")]).await;
    assert_eq!(
        offsets([&next(&mut subscription).await]),
        [3],
        "no text of an item that has ended"
    );
}
