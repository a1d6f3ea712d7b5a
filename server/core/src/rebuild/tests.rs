//! What cannot be rebuilt, and what happens meanwhile. That rows come out right is shown where they are folded, in `retention`.

use super::*;
use crate::retention::Retention;
use crate::store::memory::Memory;
use crate::testing::draft;
use crate::testing::rig::{Rig, append};
use crate::testing::telling::Telling;
use std::sync::Arc;

async fn with_events(count: usize) -> (Rig, Arc<Telling>) {
    let (rig, telling) = Rig::keeping(Retention::default()).await;
    for _ in 0..count {
        let said = telling.name(draft("a"));
        rig.append(None, vec![append(said)]).await.unwrap();
    }
    (rig, telling)
}

async fn looked(memory: &Memory, encode: &dyn Encode, log: LogKey) -> Result<Report, Error> {
    rebuild(memory, encode, log, Mode::Replace, &mut |_| ()).await
}

#[tokio::test]
async fn a_log_that_is_damaged_itself_is_told_of_and_nothing_is_replaced() {
    let (rig, telling) = with_events(3).await;
    let before = rig.row().await;
    let whole = looked(&rig.memory, &*telling, before.key).await.unwrap();
    assert_eq!((whole.events, whole.sessions, whole.differ), (4, 1, 0));
    // Read by somebody who does not understand it, every event is damaged.
    let strange = crate::store::suite::PlainEncode;
    let damaged = looked(&rig.memory, &strange, before.key).await;
    assert_eq!(damaged.unwrap_err(), Error::Damaged(Offset(0)));
    assert_eq!(rig.row().await.fence, before.fence);
}

#[tokio::test]
async fn a_row_that_no_event_is_of_is_told_of_and_stays() {
    let (rig, telling) = with_events(1).await;
    let row = rig.row().await;
    let mut transaction = rig.memory.begin().await.unwrap();
    transaction.lock(row.key).await.unwrap();
    let number = SessionNumber::of(row.key, row.sessions);
    let id = crate::testing::session("stray");
    let stray = Session::new(number, id.clone(), None, Offset(0), crate::offset::Time(1));
    let changes = Changes {
        sessions: vec![stray],
        ..Changes::default()
    };
    transaction.write(&row, changes).await.unwrap();
    transaction.commit().await.unwrap();
    let report = looked(&rig.memory, &*telling, row.key).await.unwrap();
    assert_eq!(report.differences, [(id, Difference::Stray)]);
    assert_eq!((report.differ, report.left), (1, 1));
}
