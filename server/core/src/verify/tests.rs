use std::sync::Mutex;

use super::*;
use crate::event::{Kind, Raw};
use crate::store::Store as _;
use crate::store::memory::Memory;
use crate::store::suite::{Chain, PlainEncode};
use crate::testing::session;

type Change<T> = Box<dyn Fn(&mut T) + Send + Sync>;

/// A store that is looked at through damage, or while others use it.
struct Seen {
    memory: std::sync::Arc<Memory>,
    event: Change<KeptEvent>,
    page: Change<KeptEvents>,
    row: Change<KeptSession>,
    log: Change<LogRow>,
    /// Goes on appending, once, before the rows of sessions are read and after it.
    writer: Mutex<Option<Chain>>,
}

impl Seen {
    /// Three hundred events of three sessions, every seventh with a raw record.
    async fn new() -> Seen {
        let memory = Memory::new(std::sync::Arc::new(PlainEncode));
        let store: std::sync::Arc<dyn crate::store::Store> = memory.clone();
        let mut chain = Chain::on(&store, "t").await;
        for number in 0..300 {
            let event = chain.event(["a", "b", "c"][number % 3], Kind(70));
            event.raw = (number % 7 == 0).then(|| Raw {
                media_type: "text/plain".into(),
                content: "raw".into(),
            });
        }
        chain.commit().await;
        Seen {
            memory,
            event: Box::new(|_| ()),
            page: Box::new(|_| ()),
            row: Box::new(|_| ()),
            log: Box::new(|_| ()),
            writer: Mutex::new(None),
        }
    }

    async fn report(&self) -> Report {
        let log = self.logs().await.unwrap().remove(0);
        let mut last = 0;
        let report = verify(self, log, &mut |events| last = events).await.unwrap();
        assert_eq!(last, report.events, "progress is told to the end");
        assert_eq!(report.found, report.findings.len() as u64);
        report
    }

    async fn findings(&self) -> Vec<Finding> {
        self.report().await.findings
    }

    async fn go_on(&self, sessions: &[&str]) {
        let chain = self.writer.lock().unwrap().take();
        if let Some(mut chain) = chain {
            for name in sessions {
                chain.event(name, Kind(70));
            }
            chain.commit().await;
            *self.writer.lock().unwrap() = Some(chain);
        }
    }
}

#[async_trait]
impl Evidence for Seen {
    async fn logs(&self) -> Result<Vec<LogRow>, Error> {
        let mut logs = self.memory.logs().await?;
        logs.iter_mut().for_each(|log| (self.log)(log));
        Ok(logs)
    }

    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error> {
        let mut page = self.memory.kept_events(log, from, most).await?;
        page.events.iter_mut().for_each(|event| (self.event)(event));
        (self.page)(&mut page);
        Ok(page)
    }

    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        self.go_on(&["a", "new", "a"]).await;
        let mut rows = self.memory.kept_sessions(log, after, most.min(2)).await?;
        rows.iter_mut().for_each(|row| (self.row)(row));
        self.go_on(&["a", "b", "newer"]).await;
        Ok(rows)
    }
}

#[tokio::test]
async fn a_log_that_is_whole_has_no_findings() {
    let report = Seen::new().await.report().await;
    assert_eq!((report.events, report.sessions, report.findings), (300, 3, vec![]));
}

#[tokio::test]
async fn a_log_that_grows_meanwhile_has_none_either() {
    let mut seen = Seen::new().await;
    let log = seen.logs().await.unwrap().remove(0);
    let store: std::sync::Arc<dyn crate::store::Store> = seen.memory.clone();
    let sessions = ["a", "b", "c"].map(session);
    let mut rows = std::collections::BTreeMap::new();
    for id in sessions {
        let row = store.session(log.key, &id).await.unwrap().unwrap();
        rows.insert(id, row);
    }
    seen.writer = Mutex::new(Some(Chain::continued(&store, log, rows, Vec::new())));
    let report = seen.report().await;
    assert_eq!(report.findings, vec![]);
    assert!(report.events > 300 && report.sessions > 3, "{report:?}");
}

#[tokio::test]
async fn one_changed_byte_is_one_finding_that_names_its_event() {
    let mut seen = Seen::new().await;
    seen.event = Box::new(|event| {
        if event.offset == Offset(140) {
            let mut bytes = event.stored.to_vec();
            bytes[3] ^= 1;
            event.stored = bytes.into();
        }
    });
    let findings = seen.findings().await;
    assert!(
        matches!(findings[..], [Finding::Link { offset: Offset(140), expected, found }] if expected != found),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_changed_link_is_found_at_its_event_and_the_next() {
    let mut seen = Seen::new().await;
    seen.event = Box::new(|event| event.link.0 ^= u64::from(event.offset == Offset(140)));
    let findings = seen.findings().await;
    assert!(
        matches!(
            findings[..],
            [
                Finding::Link {
                    offset: Offset(140),
                    ..
                },
                Finding::Link {
                    offset: Offset(141),
                    ..
                }
            ]
        ),
        "{findings:?}"
    );
}

#[tokio::test]
async fn what_is_missing_is_a_hole_wherever_it_is() {
    for (from, until) in [(0, 1), (127, 129), (128, 300), (299, 300), (0, 300)] {
        let mut seen = Seen::new().await;
        seen.page = Box::new(move |page| {
            page.events.retain(|event| !(from..until).contains(&event.offset.0));
            page.raws.retain(|raw| !(from..until).contains(&raw.0));
        });
        // A page that lost all its events is not the end of the log.
        let findings = seen.findings().await;
        let (from, until) = (Offset(from), Offset(until));
        assert_eq!(findings[0], Finding::Hole { from, until }, "{findings:?}");
        let is_link = |finding: &Finding| matches!(finding, Finding::Link { .. } | Finding::Tail { .. });
        assert!(
            !findings.iter().any(is_link),
            "what was missing is told once: {findings:?}"
        );
    }
}

#[tokio::test]
async fn an_index_is_the_next_one_of_its_session() {
    let mut seen = Seen::new().await;
    seen.event = Box::new(|event| {
        let more = u64::from(event.offset >= Offset(150) && event.offset.0 % 3 == 0);
        event.spot.as_mut().unwrap().index.0 += more;
    });
    let findings = seen.findings().await;
    let (offset, expected, found) = (Offset(150), Index(50), Index(51));
    assert_eq!(
        findings[0],
        Finding::Index {
            offset,
            expected,
            found
        }
    );
    assert!(matches!(findings[1..], [Finding::Session { .. }]), "{findings:?}");
}

#[tokio::test]
async fn a_sessions_row_names_its_newest_event() {
    let mut seen = Seen::new().await;
    seen.row = Box::new(|row| {
        if row.id == session("b") {
            row.last_offset.0 -= 3;
        }
    });
    let (expected, found) = (Some((Index(100), Offset(298))), (Index(100), Offset(295)));
    let id = session("b");
    assert_eq!(seen.findings().await, [Finding::Session { id, expected, found }]);
    // A row that is ahead of the log waits for its event in vain.
    seen.row = Box::new(|row| row.last_offset.0 += 100 * u64::from(row.id == session("b")));
    let (id, found) = (session("b"), (Index(100), Offset(398)));
    assert_eq!(seen.findings().await, [Finding::Session { id, expected, found }]);
}

#[tokio::test]
async fn an_event_has_a_session() {
    let mut seen = Seen::new().await;
    seen.event = Box::new(|event| {
        event.spot.as_mut().unwrap().session.0 += 1000 * u64::from(event.offset == Offset(1));
    });
    let findings = seen.findings().await;
    assert!(
        findings.contains(&Finding::NoSession { offset: Offset(1) }),
        "{findings:?}"
    );
}

#[tokio::test]
async fn raw_records_lie_where_their_events_say_so_and_nowhere_else() {
    let mut seen = Seen::new().await;
    seen.page = Box::new(|page| page.raws.retain(|raw| *raw != Offset(140)));
    assert_eq!(seen.findings().await, [Finding::RawMissing { offset: Offset(140) }]);
    seen.page = Box::new(|page| {
        if page.events.iter().any(|event| event.offset == Offset(141)) {
            page.raws.push(Offset(141));
            page.raws.sort_unstable();
        }
        if page.events.is_empty() {
            page.raws.push(Offset(300));
        }
    });
    let stray = [141, 300].map(|offset| Finding::RawStray { offset: Offset(offset) });
    assert_eq!(seen.findings().await, stray);
}

#[tokio::test]
async fn the_logs_row_ends_where_its_events_do() {
    let mut seen = Seen::new().await;
    seen.log = Box::new(|log| log.link.0 ^= 1);
    assert!(matches!(seen.findings().await[..], [Finding::Tail { .. }]));
    seen.log = Box::new(|log| log.tail.0 -= 1);
    let findings = seen.findings().await;
    assert!(
        findings.contains(&Finding::Beyond { offset: Offset(299) }),
        "{findings:?}"
    );
    seen.log = Box::new(|log| log.tail.0 += 1);
    let (from, until) = (Offset(300), Offset(301));
    assert_eq!(seen.findings().await, [Finding::Hole { from, until }]);
}

#[tokio::test]
async fn a_log_that_was_trimmed_begins_at_its_base() {
    let mut seen = Seen::new().await;
    let log = seen.logs().await.unwrap().remove(0);
    let base = seen.memory.link_before(&log, Offset(130)).await.unwrap();
    seen.log = Box::new(move |log| (log.oldest, log.base) = (Offset(130), base));
    let report = seen.report().await;
    assert_eq!((report.events, report.findings), (170, vec![]));
    seen.log = Box::new(move |log| (log.oldest, log.base) = (Offset(130), Link(base.0 ^ 1)));
    assert!(matches!(
        seen.findings().await[..],
        [Finding::Link {
            offset: Offset(130),
            ..
        }]
    ));
}

#[tokio::test]
async fn what_is_trimmed_meanwhile_is_no_hole() {
    let mut seen = Seen::new().await;
    let log = seen.logs().await.unwrap().remove(0);
    let base = seen.memory.link_before(&log, Offset(200)).await.unwrap();
    let begun = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let trimmed = begun.clone();
    seen.log = Box::new(move |log| {
        if begun.load(std::sync::atomic::Ordering::Relaxed) {
            (log.oldest, log.base) = (Offset(200), base);
        }
    });
    seen.page = Box::new(move |page| {
        if trimmed.swap(true, std::sync::atomic::Ordering::Relaxed) {
            page.events.retain(|event| event.offset >= Offset(200));
            page.raws.retain(|raw| *raw >= Offset(200));
        }
    });
    let report = seen.report().await;
    assert_eq!((report.events, report.findings), (128 + 100, vec![]));
}

#[tokio::test]
async fn findings_are_counted_further_than_they_are_told() {
    let mut seen = Seen::new().await;
    seen.event = Box::new(|event| event.link.0 ^= event.offset.0);
    let log = seen.logs().await.unwrap().remove(0);
    let report = verify(&seen, log, &mut |_| ()).await.unwrap();
    assert_eq!(report.findings.len(), limits::FINDINGS_MAX);
    assert!(report.found >= 299, "{}", report.found);
}
