//! Promises on reading events, forwards and backwards.
//!
//! Believe this: every page is checked against all that was written, by `check`; the promises below only choose what to ask.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::chain::{Chain, session_id};
use super::wishes::{MESSAGE, all_kinds_of_interests, content, family_tree};
use crate::event::Event;
use crate::interest::{Interests, Selector};
use crate::offset::Offset;
use crate::store::{Page, Read};

/// From which end a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    Back,
}

const BOTH: [Way; 2] = [Way::Forward, Way::Back];

/// All of the log, without a limit that could matter here.
pub(super) fn everything<'a>(chain: &'a Chain, interests: &'a Interests) -> Read<'a> {
    Read {
        log: &chain.log,
        interests,
        from: Offset::ZERO,
        until: chain.log.tail,
        events_max: 100_000,
        bytes_max: 1 << 30,
        scan_max: 100_000,
    }
}

/// Reads all of the log both ways and checks it.
pub(super) async fn check_all(chain: &Chain, interests: &Interests, what: &str) {
    for way in BOTH {
        let page = check(chain, everything(chain, interests), way, what).await;
        let end = if way == Way::Forward {
            chain.log.tail
        } else {
            Offset::ZERO
        };
        assert_eq!(page.until, end, "{what} {way:?} reads to the end");
    }
}

/// Reads once and checks all that a page promises.
pub(super) async fn check(chain: &Chain, read: Read<'_>, way: Way, what: &str) -> Page {
    let Read {
        interests,
        from,
        until,
        events_max,
        bytes_max,
        scan_max,
        ..
    } = read;
    let what = format!(
        "{way:?} {from}..{until} of {what}, at most {events_max} events, {bytes_max} bytes, {scan_max} looked at"
    );
    let page = match way {
        Way::Forward => chain.store.read(read.clone()).await.unwrap(),
        Way::Back => chain.store.read_back(read.clone()).await.unwrap(),
    };
    let seen = page.until;
    assert!((from..=until).contains(&seen), "{what} looked until {seen}");
    let mut rows = match way {
        Way::Forward => chain.wanted(interests, from, seen),
        Way::Back => chain.wanted(interests, seen, until),
    };
    if way == Way::Back {
        rows.reverse();
    }
    chain.assert_events(&page.events, &rows, &what);
    assert_eq!(page.link, chain.link_before(seen), "link of {what}");

    let bytes: usize = page.events.iter().map(|event| event.bytes.len()).sum();
    assert!(page.events.len() <= events_max, "{what}: {} events", page.events.len());
    assert!(bytes <= bytes_max || page.events.len() == 1, "{what}: {bytes} bytes");
    let looked = match way {
        Way::Forward => from.distance(seen),
        Way::Back => seen.distance(until),
    };
    let far = from.distance(until).min(scan_max as u64);
    if let Some(edge) = full(chain, &read, way, &page, far) {
        assert_eq!(seen, edge, "{what} was full");
    } else if interests.single_sessions().is_none() {
        assert_eq!(looked, far, "{what} looked at {looked}");
    } else {
        // By session it may look further, since it skips all the others.
        assert!(
            looked >= far || edge_of(way, page.events.last()) == Some(seen),
            "{what} looked at {looked}"
        );
    }
    page
}

/// Where a page ends if nothing goes in behind this event.
fn edge_of(way: Way, last: Option<&Event>) -> Option<Offset> {
    last.map(|last| match way {
        Way::Forward => last.offset.next(),
        Way::Back => last.offset,
    })
}

/// Where the page must end, if its events fill it: there are as many as may be, or the next one within `far` is too large.
fn full(chain: &Chain, read: &Read<'_>, way: Way, page: &Page, far: u64) -> Option<Offset> {
    let edge = edge_of(way, page.events.last())?;
    if page.events.len() == read.events_max {
        return Some(edge);
    }
    let (from, until) = match way {
        Way::Forward => (edge, Offset(read.from.0 + far)),
        Way::Back => (Offset(read.until.0 - far), edge),
    };
    let left = chain.wanted(read.interests, from, until);
    let next = match way {
        Way::Forward => left.first(),
        Way::Back => left.last(),
    };
    let bytes: usize = page.events.iter().map(|event| event.bytes.len()).sum();
    // The link behind the stored bytes is eight more.
    next.filter(|row| bytes + row.stored.len() + 8 > read.bytes_max)
        .map(|_| edge)
}

pub async fn every_interest_gets_what_it_wants_and_nothing_else(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        check_all(&chain, &interests, &what).await;
    }
}

pub async fn a_read_keeps_to_its_range(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        for from in (0..=chain.log.tail.0).step_by(7) {
            for until in (from..=chain.log.tail.0).step_by(5) {
                for way in BOTH {
                    let read = Read {
                        from: Offset(from),
                        until: Offset(until),
                        ..everything(&chain, &interests)
                    };
                    check(&chain, read, way, &what).await;
                }
            }
        }
    }
}

pub async fn a_read_stops_after_so_many_events(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        let wanted = chain.wanted(&interests, Offset::ZERO, chain.log.tail).len();
        for events_max in [1, 2, 3, 8] {
            for way in BOTH {
                let read = Read {
                    events_max,
                    ..everything(&chain, &interests)
                };
                let page = check(&chain, read, way, &what).await;
                assert_eq!(page.events.len(), wanted.min(events_max), "{what}");
            }
        }
    }
}

pub async fn a_read_stops_after_so_many_bytes(subject: Subject) {
    let mut chain = family_tree(&subject.store).await;
    for length in [1_000, 50, 3_000, 0, 1_000] {
        chain.event_of("mid", MESSAGE, &vec![b'x'; length]);
        chain.event("alone", MESSAGE);
    }
    chain.commit().await;
    for (what, interests) in all_kinds_of_interests() {
        let wanted = chain.wanted(&interests, Offset::ZERO, chain.log.tail).len();
        for bytes_max in [1, 100, 500, 1_050, 5_000] {
            for way in BOTH {
                let read = Read {
                    bytes_max,
                    ..everything(&chain, &interests)
                };
                let page = check(&chain, read, way, &what).await;
                assert!(!page.events.is_empty() || wanted == 0, "{what} got none of its events");
            }
        }
    }
}

pub async fn a_read_looks_at_so_many_events_only(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        for scan_max in [1, 2, 10] {
            for way in BOTH {
                let read = Read {
                    from: Offset(5),
                    scan_max,
                    ..everything(&chain, &interests)
                };
                check(&chain, read, way, &what).await;
            }
        }
    }
}

pub async fn pages_follow_each_other_without_loss_or_repetition(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        for (events_max, bytes_max, scan_max) in [(1, 9_999, 99), (3, 9_999, 4), (99, 60, 7), (99, 9_999, 1)] {
            for way in BOTH {
                let read = Read {
                    events_max,
                    bytes_max,
                    scan_max,
                    ..everything(&chain, &interests)
                };
                walk(&chain, read, way, &what).await;
            }
        }
    }
}

/// Reads all of the log both ways, page by page, with these limits of events, bytes and events looked at.
pub(super) async fn walk_both(chain: &Chain, interests: &Interests, limits: [usize; 3], what: &str) {
    let [events_max, bytes_max, scan_max] = limits;
    for way in BOTH {
        let read = Read {
            events_max,
            bytes_max,
            scan_max,
            ..everything(chain, interests)
        };
        walk(chain, read, way, what).await;
    }
}

/// Reads page by page to the end. Each page is checked alone; together they must hold everything.
async fn walk(chain: &Chain, mut read: Read<'_>, way: Way, what: &str) {
    let mut rows = chain.wanted(read.interests, read.from, read.until);
    if way == Way::Back {
        rows.reverse();
    }
    let mut events = Vec::new();
    while read.from < read.until {
        let page = check(chain, read.clone(), way, what).await;
        events.extend(page.events);
        let moved = match way {
            Way::Forward => std::mem::replace(&mut read.from, page.until) != page.until,
            Way::Back => std::mem::replace(&mut read.until, page.until) != page.until,
        };
        assert!(moved, "{what} {way:?} stands still at {}", page.until);
    }
    chain.assert_events(&events, &rows, what);
}

pub async fn a_session_that_nobody_knows_has_no_events(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for selector in [
        Selector::Session(session_id("unknown")),
        Selector::Subtree(session_id("unknown")),
        Selector::Project("unknown".into()),
        // Where a session's project is not known, the text for it is empty.
        Selector::Project(String::new()),
        Selector::Vendor("unknown".into()),
    ] {
        let what = format!("{selector:?}");
        let interests = content(selector);
        check_all(&chain, &interests, &what).await;
        for way in BOTH {
            let read = Read {
                events_max: 1,
                scan_max: 10,
                ..everything(&chain, &interests)
            };
            walk(&chain, read, way, &what).await;
        }
    }
}
