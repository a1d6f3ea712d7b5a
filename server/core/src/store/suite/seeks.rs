//! Promises on finding a place without reading events.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::wishes::{all_kinds_of_interests, family_tree};
use crate::offset::Offset;

pub async fn every_offset_has_its_link(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for offset in (0..=chain.log.tail.0).map(Offset) {
        let link = chain.store.link_before(&chain.log, offset).await.unwrap();
        assert_eq!(link, chain.link_before(offset), "before {offset}");
    }
    assert_eq!(chain.link_before(chain.log.tail), chain.log.link);
}

pub async fn counting_stops_where_it_may(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        for (from, until) in [(0, 0), (0, chain.log.tail.0), (7, 31), (30, 31), (59, chain.log.tail.0)] {
            let (from, until) = (Offset(from), Offset(until));
            let wanted = chain.wanted(&interests, from, until).len() as u64;
            for most in [0, 1, 5, wanted, wanted + 1, 1_000_000] {
                let count = chain.store.count(&chain.log, &interests, from, until, most).await;
                assert_eq!(count, Ok(wanted.min(most)), "{what} in {from}..{until}, at most {most}");
            }
        }
    }
}

pub async fn the_nth_newest_is_where_counting_back_ends(subject: Subject) {
    let chain = family_tree(&subject.store).await;
    for (what, interests) in all_kinds_of_interests() {
        for until in [chain.log.tail, Offset(31), Offset(1), Offset(0)] {
            let wanted = chain.wanted(&interests, Offset::ZERO, until);
            for count in [1, 2, 7, wanted.len().max(1), wanted.len() + 1, 10_000] {
                let expected = wanted.iter().rev().nth(count - 1);
                let expected = expected.map_or(chain.log.oldest, |row| row.offset);
                let found = chain.store.seek_back(&chain.log, &interests, until, count as u32).await;
                assert_eq!(found, Ok(expected), "{count} back from {until} in {what}");
            }
        }
    }
}
