//! Folding again gives what was stored, whatever was trimmed in between.

use std::time::Duration;

use super::*;
use crate::event::{Draft, SessionRef, SessionStep};
use crate::id::EventId;
use crate::offset::Offset;
use crate::rebuild::{Mode, Report, rebuild};
use crate::session::{Session, SessionFacts, SessionKey};
use crate::store::{Changes, SessionFilter, SessionOrder, Store};
use crate::testing::telling::Telling;
use crate::testing::{OPENED, draft_of, session};

/// Numbers that look random and are the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn key(number: u64) -> SessionKey {
    SessionKey::parse("v", "i", &format!("/p{}", number % 2), &format!("native-{number}")).unwrap()
}

fn name(dice: &mut Dice) -> SessionRef {
    match dice.roll(4) {
        0 => SessionRef::Key(key(dice.roll(3))),
        _ => SessionRef::Id(session(&format!("s{}", dice.roll(6)))),
    }
}

fn facts(dice: &mut Dice) -> SessionFacts {
    let text = |dice: &mut Dice, what: &str| match dice.roll(3) {
        0 => None,
        1 => Some("".into()),
        _ => Some(format!("{what}{}", dice.roll(3)).into()),
    };
    SessionFacts {
        title: text(dice, "title"),
        project: text(dice, "/p"),
        vendor: text(dice, "vendor"),
        parent: (dice.roll(3) == 0).then(|| name(dice)),
        other: text(dice, "branch")
            .map(|branch| ("branch".into(), branch))
            .into_iter()
            .collect(),
    }
}

/// Anything that a writer may say.
fn random(dice: &mut Dice, telling: &Telling) -> Draft {
    let session_step = match dice.roll(9) {
        0 => SessionStep::Opened(Box::new(facts(dice))),
        1 | 2 => SessionStep::Changed(Box::new(facts(dice))),
        3 => SessionStep::Renewed((dice.roll(2) == 0).then(|| dice.roll(5) as u32)),
        4 => SessionStep::Closed,
        5 => SessionStep::Archived,
        6 => SessionStep::Unarchived,
        _ => SessionStep::None,
    };
    let session = name(dice);
    let opening = matches!(session_step, SessionStep::Opened(_));
    // As the door does it: what opens a session by key brings the key.
    let opens = match &session {
        SessionRef::Key(key) if opening => Some(key.clone()),
        SessionRef::Id(_) if opening && dice.roll(3) == 0 => Some(key(3 + dice.roll(3))),
        SessionRef::Key(_) | SessionRef::Id(_) => None,
    };
    let plain = draft_of(session, if opening { OPENED } else { crate::testing::MESSAGE });
    telling.name(Draft {
        opens,
        life: (dice.roll(5) == 0).then(|| 1 + dice.roll(4) as u32),
        session_step,
        event_id: Some(EventId::random()),
        ..plain
    })
}

async fn rows(rig: &Rig, key: crate::offset::LogKey) -> Vec<Session> {
    let filter = SessionFilter {
        include_closed: true,
        include_archived: true,
        ..SessionFilter::default()
    };
    let most = Offset(u64::MAX);
    let rows = rig.memory.list_sessions(key, &filter, SessionOrder::Opened, most, 1000);
    let mut rows = rows.await.unwrap();
    rows.sort_by_key(|session| session.number.0);
    rows
}

/// Changes a row behind the hub's back.
async fn damage(rig: &Rig, row: &Session, dice: &mut Dice) {
    let mut wrong = row.clone();
    match dice.roll(5) {
        0 => wrong.facts.title = Some("never said".into()),
        1 => wrong.next_index.0 += 1,
        2 => wrong.ancestors = Box::new([session("nobody")]),
        3 => wrong.archived = !wrong.archived,
        _ => (wrong.lifecycle, wrong.closed) = (crate::session::Lifecycle::Closed, Some(Time(1))),
    }
    let mut transaction = rig.memory.begin().await.unwrap();
    let log = transaction.lock(rig.log.row().key).await.unwrap();
    let changes = Changes {
        sessions: vec![wrong],
        ..Changes::default()
    };
    transaction.write(&log, changes).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn rebuilt(rig: &Rig, telling: &Telling, mode: Mode) -> Report {
    let key = rig.log.row().key;
    let report = rebuild(&*rig.memory, telling, key, mode, &mut |_| ()).await;
    report.unwrap()
}

#[tokio::test]
async fn folding_again_gives_what_was_stored_whatever_was_trimmed() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let keep = Retention {
            age: None,
            bytes: Some(2_000),
        };
        let (rig, telling) = Rig::keeping(keep).await;
        let mut trimmed = Offset::ZERO;
        for _ in 0..30 {
            let batch = (0..dice.roll(6)).map(|_| append(random(&mut dice, &telling)));
            let batch = batch.collect();
            rig.append(None, batch).await.unwrap();
            rig.clock.advance(Duration::from_millis(dice.roll(2000)));
            if dice.roll(4) == 0 {
                trimmed = rig.trim().await;
            }
            let rows = rows(&rig, rig.log.row().key).await;
            let report = rebuilt(&rig, &telling, Mode::Look).await;
            assert_eq!(report.differences, [], "seed {seed}, trimmed to {trimmed}");
            assert_eq!(report.sessions, rows.len() as u64);
            let Some(victim) = rows.get(dice.roll(7) as usize) else {
                continue;
            };
            damage(&rig, victim, &mut dice).await;
            let fence = rig.row().await.fence;
            let told = rebuilt(&rig, &telling, Mode::Look).await;
            assert_eq!((told.differ, told.left), (1, 1), "seed {seed}: it is only looked at");
            let report = rebuilt(&rig, &telling, Mode::Replace).await;
            assert_eq!((report.differ, report.left), (1, 0), "seed {seed}");
            assert_eq!(report.differences, told.differences);
            assert_eq!(report.differences[0].0, victim.id);
            assert_eq!(self::rows(&rig, rig.log.row().key).await, rows, "seed {seed}");
            assert!(rig.row().await.fence > fence, "nobody goes on with rows that it keeps");
        }
        assert!(trimmed > Offset::ZERO, "seed {seed} trims nothing");
    }
}
