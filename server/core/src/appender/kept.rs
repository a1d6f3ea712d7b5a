//! How much of the folded rows is kept between commits.
//!
//! Believe this: what is let go costs one read when it is wanted again, and nothing else. Whoever holds more than a fair share lets go
//! first, so a tenant of many or large sessions never makes another one read.

use std::cmp::Reverse;

use crate::appender::decide::Rows;
use crate::limits;

/// Lets rows go until all of these together are within bounds: the sessions that were quiet for longest, and those of logs that hold
/// more than their share.
pub(super) fn bound<'a>(rows: impl Iterator<Item = &'a mut Rows>) {
    let mut rows: Vec<&mut Rows> = rows.collect();
    for rows in &mut rows {
        if rows.sessions.len() > limits::FOLD_CACHE_ROWS_MAX {
            rows.keep_newest(limits::FOLD_CACHE_ROWS_MAX / 2, usize::MAX);
        }
        if rows.writers.len() > limits::FOLD_CACHE_ROWS_MAX {
            rows.writers.clear();
        }
    }
    let bytes: usize = rows.iter().map(|rows| rows.bytes()).sum();
    if bytes > limits::FOLD_CACHE_BYTES_MAX {
        let share = limits::FOLD_CACHE_BYTES_MAX / rows.len().max(1);
        for rows in rows.into_iter().filter(|rows| rows.bytes() > share) {
            // Half of it, so that this is not done again at the next commit.
            rows.keep_newest(usize::MAX, share / 2);
        }
    }
}

impl Rows {
    /// Keeps the sessions that spoke last, as many as these bounds take.
    fn keep_newest(&mut self, count: usize, bytes: usize) {
        let mut newest: Vec<_> = std::mem::take(&mut self.sessions).into_values().collect();
        newest.sort_unstable_by_key(|session| Reverse(session.last_offset));
        let writers = std::mem::take(&mut self.writers);
        *self = Rows::default();
        self.writers = writers;
        for session in newest.into_iter().take(count) {
            if self.bytes() + session.bytes() > bytes {
                break;
            }
            self.insert_session(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::offset::{LogKey, Offset, SessionNumber, Time};
    use crate::session::{Session, SessionFacts, SessionKey};
    use crate::testing::session;

    use super::*;

    fn row(number: u32, config: usize) -> Session {
        let id = session(&format!("s{number}"));
        let key = SessionKey::parse("v", "i", "/p", id.as_str()).unwrap();
        let facts = SessionFacts {
            other: vec![("config".into(), "x".repeat(config).into())],
            ..SessionFacts::default()
        };
        let (offset, number) = (Offset(number.into()), SessionNumber::of(LogKey(1), number));
        Session {
            facts,
            ..Session::new(number, id, Some(key), offset, Time(0))
        }
    }

    fn rows(sessions: std::ops::Range<u32>, config: usize) -> Rows {
        let mut rows = Rows::default();
        sessions.for_each(|number| rows.insert_session(row(number, config)));
        rows
    }

    #[test]
    fn large_rows_are_let_go_the_quietest_first_and_those_of_others_stay() {
        const CONFIG: usize = 60 * 1024;
        let mut hostile = rows(0..3_000, CONFIG);
        let mut quiet = rows(0..10, CONFIG);
        let before = hostile.bytes() + quiet.bytes();
        assert!(before > 2 * limits::FOLD_CACHE_BYTES_MAX, "{before}");
        bound([&mut hostile, &mut quiet].into_iter());
        assert!(hostile.bytes() + quiet.bytes() <= limits::FOLD_CACHE_BYTES_MAX);
        assert_eq!(quiet.sessions.len(), 10, "who holds little keeps it");
        let kept = u32::try_from(hostile.sessions.len()).unwrap();
        assert!(kept > 100, "{kept}");
        assert_eq!(hostile.keys.len(), hostile.sessions.len(), "no name without its row");
        let newest = (3_000 - kept..3_000).all(|number| hostile.sessions.contains_key(&session(&format!("s{number}"))));
        assert!(newest, "the ones that spoke last are kept");
    }

    #[test]
    fn many_rows_are_bounded_in_number() {
        let most = u32::try_from(limits::FOLD_CACHE_ROWS_MAX).unwrap();
        let mut many = rows(0..most, 0);
        bound(std::iter::once(&mut many));
        assert_eq!(many.sessions.len(), limits::FOLD_CACHE_ROWS_MAX);
        many.insert_session(row(most, 0));
        bound(std::iter::once(&mut many));
        assert_eq!(many.sessions.len(), limits::FOLD_CACHE_ROWS_MAX / 2);
    }

    #[test]
    fn a_row_that_is_replaced_is_counted_once() {
        let mut rows = rows(0..1, 1_000);
        let before = rows.bytes();
        rows.insert_session(row(0, 1_000));
        assert_eq!(rows.bytes(), before);
        rows.insert_session(row(0, 10));
        assert_eq!(rows.bytes(), before - 990);
    }
}
