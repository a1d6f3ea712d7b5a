//! What goes and what stays of it.

use std::time::Duration;

use super::*;
use crate::offset::Offset;
use crate::store::Store as _;
use crate::store::memory::Memory;
use crate::store::suite::PlainEncode;
use crate::testing::rig::{Rig, append, seq};
use crate::testing::{draft, tenant};

mod folds;

fn weights(recorded: &[i64]) -> Vec<Weight> {
    let weight = |recorded: &i64| Weight {
        // Zero stands for what cannot be read.
        recorded: Some(Time(*recorded)).filter(|time| time.0 > 0),
        bytes: 10,
    };
    recorded.iter().map(weight).collect()
}

async fn log(bytes: u64) -> LogRow {
    let memory = Memory::new(std::sync::Arc::new(PlainEncode));
    LogRow {
        bytes,
        tail: Offset(10),
        ..memory.open_log(&tenant("t")).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_too_old_or_too_much_goes_and_nothing_else() {
    let micros = Duration::from_micros;
    let keep = |age: Option<u64>, bytes| Retention {
        age: age.map(micros),
        bytes,
    };
    let (log, oldest) = (log(100).await, weights(&[1, 2, 2, 5, 9]));
    for (retention, goes) in [
        (Retention::default(), 0),
        (keep(Some(10), None), 0),
        (keep(Some(9), None), 0),
        (keep(Some(8), None), 1),
        (keep(Some(6), None), 3),
        (keep(Some(1), None), 4),
        (keep(None, Some(100)), 0),
        (keep(None, Some(99)), 1),
        (keep(None, Some(70)), 3),
        (keep(None, Some(0)), 5),
        (keep(Some(6), Some(90)), 3),
        (keep(Some(8), Some(70)), 3),
    ] {
        assert_eq!(retention.cut(&log, Time(10), &oldest), goes, "{retention:?}");
    }
    let unreadable = weights(&[0, 2, 0, 9, 0]);
    assert_eq!(keep(Some(6), None).cut(&log, Time(10), &unreadable), 2);
    assert_eq!(keep(Some(1), None).cut(&log, Time(11), &unreadable), 4);
}

#[tokio::test]
async fn a_log_is_looked_at_only_when_something_may_go() {
    let row = LogRow {
        oldest_recorded: Time(5),
        ..log(100).await
    };
    let old = Retention {
        age: Some(Duration::from_micros(4)),
        bytes: None,
    };
    assert!(!old.is_due(&row, Time(9)));
    assert!(old.is_due(&row, Time(10)));
    let much = |bytes| Retention {
        age: None,
        bytes: Some(bytes),
    };
    assert!(!much(100).is_due(&row, Time(0)) && much(99).is_due(&row, Time(0)));
    assert!(!Retention::default().is_due(&row, Time(i64::MAX)));
    let empty = LogRow {
        oldest: Offset(10),
        ..row
    };
    assert!(!much(0).is_due(&empty, Time(100)), "nothing is left to go");
}

#[tokio::test]
async fn p_4_a_log_is_trimmed_to_its_bytes_in_pieces_and_counts_them_exactly() {
    let keep = Retention {
        age: None,
        bytes: Some(10_000),
    };
    let (rig, _) = Rig::keeping(keep).await;
    rig.store([draft("a")]).await;
    for _ in 0..3 {
        rig.store_many(700, "a").await;
    }
    let before = rig.row().await;
    let piece = rig.appender.trim(rig.log.clone(), keep).await.unwrap();
    assert_eq!((piece.oldest, piece.more), (Offset(512), true), "one piece");
    let oldest = rig.trim().await;
    let row = rig.row().await;
    assert_eq!((row.oldest, rig.log.oldest(), row.tail), (oldest, oldest, before.tail));
    assert!(row.bytes <= 10_000);
    let mut transaction = rig.memory.begin().await.unwrap();
    let kept = transaction.events(&row, row.oldest, 10_000, 1 << 30).await.unwrap();
    assert_eq!(
        kept.iter().map(|event| event.bytes).sum::<u64>(),
        row.bytes,
        "counted exactly"
    );
    drop(transaction);
    let session = rig
        .memory
        .session(row.key, &crate::testing::session("a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.trimmed.until.0, oldest.0, "it is the only session");
    assert_eq!(session.next_index.0, row.tail.0, "what is trimmed still counts");
    rig.store([draft("a")]).await;
}

#[tokio::test]
async fn what_was_stored_once_is_a_duplicate_for_ever() {
    let keep = Retention {
        age: Some(Duration::from_secs(1)),
        bytes: None,
    };
    let (rig, _) = Rig::keeping(keep).await;
    let claim = rig.open("w").await;
    let mut swept = draft("a");
    swept.dedupe = Some(crate::event::DedupeKey::of_key("k"));
    let first = rig.append(None, vec![append(swept.clone())]).await.unwrap();
    rig.append(Some(&claim), vec![seq(1, draft("a"))]).await.unwrap();
    rig.clock.advance(Duration::from_secs(3));
    assert_eq!(rig.trim().await, Offset(3));
    let again = rig.append(None, vec![append(swept)]).await.unwrap();
    let stored = crate::testing::rig::stored(&first[0]);
    assert!(
        matches!(&again[0], crate::appender::Outcome::Duplicate { stored: Some(at), .. } if *at == stored),
        "{again:?}"
    );
    let again = rig.append(Some(&claim), vec![seq(1, draft("a"))]).await.unwrap();
    assert!(
        matches!(&again[0], crate::appender::Outcome::Duplicate { .. }),
        "{again:?}"
    );
    assert_eq!(rig.row().await.tail, Offset(3));
}

#[tokio::test]
async fn a_trim_of_unknown_outcome_is_found_out_by_the_next() {
    let keep = Retention {
        age: Some(Duration::from_secs(1)),
        bytes: None,
    };
    for happens in [true, false] {
        let (rig, _) = Rig::keeping(keep).await;
        rig.store([draft("a")]).await;
        rig.clock.advance(Duration::from_secs(3));
        if happens {
            rig.memory.fail_commit_after();
        } else {
            rig.memory.fail_commit_before(crate::store::Error::CommitUnknown);
        }
        let told = rig.appender.trim(rig.log.clone(), keep).await;
        assert_eq!(told, Err(crate::appender::Error::Unavailable));
        assert_eq!(
            rig.log.oldest().0,
            if happens { 2 } else { 0 },
            "what happened is known"
        );
        assert_eq!(rig.trim().await, Offset(2));
        rig.store([draft("a")]).await;
    }
}
