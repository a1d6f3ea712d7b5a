//! Promises on what a store shows of itself to whoever checks it.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::chain::{Chain, bytes};
use super::wishes::MESSAGE;
use crate::event::Raw;
use crate::limits::VERIFY_PAGE_EVENTS_MAX;
use crate::offset::Offset;
use crate::verify::{KeptEvent, KeptSession, verify};

/// More events than a page has, and other tenants before and behind.
async fn chain(subject: &Subject) -> Chain {
    let raw = || Raw {
        media_type: "text/plain".into(),
        content: bytes("raw"),
    };
    let mut before = Chain::on(&subject.store, "before").await;
    before.event("a", MESSAGE).raw = Some(raw());
    before.commit().await;
    let mut chain = Chain::on(&subject.store, "t").await;
    for number in 0..VERIFY_PAGE_EVENTS_MAX + 10 {
        let event = chain.event(["a", "b", "c"][number % 3], MESSAGE);
        event.raw = (number % 5 == 0).then(raw);
    }
    chain.commit().await;
    let mut behind = Chain::on(&subject.store, "behind").await;
    behind.event("a", MESSAGE).raw = Some(raw());
    behind.commit().await;
    chain
}

pub async fn events_are_shown_as_they_lie(subject: Subject) {
    let chain = chain(&subject).await;
    let tail = chain.log.tail.0;
    for (from, most) in [(0, 1), (0, 7), (3, 100), (tail - 2, 5), (tail, 5), (tail + 5, 5)] {
        let shown = chain.store.kept_events(chain.log.key, Offset(from), most).await;
        let shown = shown.unwrap();
        let behind = chain.history.iter().filter(|row| row.offset.0 >= from);
        let rows: Vec<_> = behind.take(most).collect();
        let kept = rows.iter().map(|row| KeptEvent {
            offset: row.offset,
            spot: row.spot(),
            link: row.link,
            has_raw: row.raw.is_some(),
            stored: row.stored.clone(),
        });
        assert_eq!(shown.events, kept.collect::<Vec<_>>(), "from {from}, at most {most}");
        let raws = rows.iter().filter(|row| row.raw.is_some()).map(|row| row.offset);
        assert_eq!(shown.raws, raws.collect::<Vec<_>>(), "from {from}, at most {most}");
    }
}

pub async fn sessions_are_shown_in_pages(subject: Subject) {
    let chain = chain(&subject).await;
    let mut sessions: Vec<_> = chain.sessions.values().collect();
    sessions.sort_unstable_by_key(|session| session.number);
    let kept = sessions.iter().map(|session| KeptSession {
        number: session.number,
        id: session.id.clone(),
        next_index: session.next_index,
        last_offset: session.last_offset,
    });
    let kept: Vec<_> = kept.collect();
    let show = async |after, most| chain.store.kept_sessions(chain.log.key, after, most).await.unwrap();
    assert_eq!(show(None, 10).await, kept);
    assert_eq!(show(None, 2).await, kept[..2]);
    assert_eq!(show(Some(kept[1].number), 2).await, kept[2..]);
    assert_eq!(show(Some(kept[2].number), 2).await, []);
}

pub async fn what_was_committed_is_whole(subject: Subject) {
    let chain = chain(&subject).await;
    let report = verify(&*chain.store, chain.log.clone(), &mut |_| ()).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.events, report.sessions), (chain.log.tail.0, 3));
}
