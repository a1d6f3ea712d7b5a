//! Sessions move, and what lies below them follows: the window, the store and the rows agree on who stood where.

use crate::event::{Draft, Event, Families, Family, SessionRef, SessionStep};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::offset::Offset;
use crate::session::SessionFacts;
use crate::store::{Read, Store as _};
use crate::testing::rig::{Rig, append};
use crate::testing::{OPENED, draft, draft_of, moves, only, session};

fn interests() -> Vec<Interests> {
    let selectors = [
        Selector::All,
        Selector::Project("/p".into()),
        Selector::Project("/q".into()),
        Selector::Project(String::new()),
        only("b"),
        Selector::Subtree(session("a")),
        Selector::Subtree(session("c")),
    ];
    let messages = Families::NONE.with(Family::Message);
    let each = selectors.into_iter().flat_map(|selector| {
        let whole = Interest::new(selector, Detail::Content);
        let filtered = Interest {
            families: messages,
            ..whole.clone()
        };
        [whole, filtered]
    });
    each.map(|interest| Interests::new(vec![interest]).unwrap()).collect()
}

async fn stored(rig: &Rig, interests: &Interests) -> Vec<Event> {
    let row = rig.row().await;
    let read = Read {
        log: &row,
        interests,
        from: Offset::ZERO,
        until: row.tail,
        events_max: 10_000,
        bytes_max: 1 << 30,
        scan_max: 10_000,
    };
    rig.memory.read(read).await.unwrap().events
}

fn places(events: &[Event]) -> Vec<String> {
    let place = |event: &Event| format!("{} {:?}", event.offset, event.of);
    events.iter().map(place).collect()
}

#[tokio::test]
async fn history_is_selected_as_it_was_while_it_was_new() {
    for seed in 0..8_u64 {
        let rig = Rig::new().await;
        let mut dice = seed;
        let mut throw = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) % sides
        };
        let name = |number: u64| ["a", "b", "c", "d"][number as usize];
        for _ in 0..12 {
            let mut batch = Vec::new();
            for _ in 0..=throw(4) {
                let id = name(throw(4));
                batch.push(append(match throw(4) {
                    0 => moves(id, Some(["/p", "/q", ""][throw(3) as usize]), None),
                    // Refused where it would be a circle: then there is one event less.
                    1 => moves(id, None, Some(name(throw(4)))),
                    _ => draft(id),
                }));
            }
            rig.append(None, batch).await.unwrap();
        }
        for interests in interests() {
            let (tail, _) = rig.log.tail();
            let held = rig.log.window().read(&interests, Offset::ZERO, tail, 1 << 30).unwrap();
            let stored = stored(&rig, &interests).await;
            assert_eq!(places(&held.events), places(&stored), "{interests:?} of {seed}");
        }
    }
}

#[tokio::test]
async fn what_lies_below_follows_at_the_event_that_moves_its_parent() {
    let rig = Rig::new().await;
    let below = |id, parent| append(moves(id, None, Some(parent)));
    rig.append(None, vec![below("leaf", "mid"), append(draft("leaf"))])
        .await
        .unwrap();
    let linked = rig.store([moves("mid", None, Some("root"))]).await[0].offset;
    let [after] = rig.store([draft("leaf")]).await;
    let all = Interests::new(vec![Interest::new(Selector::Subtree(session("root")), Detail::Content)]).unwrap();
    let wanted = stored(&rig, &all).await;
    let offsets: Vec<_> = wanted.iter().map(|event| event.offset).collect();
    let root_opens = Offset(linked.0 - 1);
    assert_eq!(
        offsets,
        [root_opens, linked, after.offset],
        "its own opening, the link, and what came after"
    );
    let moved = rig.memory.moved_at(rig.log.row().key, linked).await.unwrap();
    let mut moved: Vec<_> = moved.iter().map(|stood| stood.session.as_str()).collect();
    moved.sort_unstable();
    assert_eq!(moved, ["leaf", "mid"]);
}

#[tokio::test]
async fn a_session_moves_and_its_vendor_stays_where_the_key_tells_it() {
    let rig = Rig::new().await;
    let key = crate::session::SessionKey::parse("v", "laptop", "/p", "n").unwrap();
    let named = SessionRef::Key(key);
    let moved = Draft {
        session: Some(named.clone()),
        session_step: SessionStep::Changed(Box::new(SessionFacts {
            project: Some("/q".into()),
            vendor: Some("other".into()),
            ..SessionFacts::default()
        })),
        ..draft("unused")
    };
    let [first, second] = rig.store([draft_of(named, OPENED), moved]).await;
    let all = Interests::new(vec![Interest::new(Selector::All, Detail::Content)]).unwrap();
    let events = stored(&rig, &all).await;
    let place = |offset: Offset| {
        let routing = &events[offset.0 as usize].in_session().unwrap().routing;
        (routing.project.to_string(), routing.vendor.to_string())
    };
    assert_eq!(place(first.offset), ("/p".to_owned(), "v".to_owned()));
    assert_eq!(place(second.offset), ("/q".to_owned(), "v".to_owned()));
}
