//! What a connector says of itself, and what the hub says of one: once, and to whom it concerns at that place.

use std::time::Duration;

use crate::appender::{Append, Claim, Outcome, Refusal, Wish};
use crate::event::{ConnectorStep, DedupeKey, Draft, Event, Family, SessionRef};
use crate::hold::Take;
use crate::interest::{Detail, Interests, Selector};
use crate::limits::{LEASE_BEAT, LEASE_DURATION, LEASE_TICK};
use crate::offset::Offset;
use crate::store::{Read, Store as _};
use crate::subscription::Subscription;
use crate::subscription::frame::Frame;
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, append, next, offsets, request, seq, stored, until_caught_up};
use crate::testing::{ONLINE, draft, draft_of, interests, only, session, within, writer};

fn says(step: ConnectorStep) -> Draft {
    Draft {
        session: None,
        connector_step: Some(step),
        ..draft_of(SessionRef::Id(session("unused")), ONLINE)
    }
}

fn online() -> Draft {
    says(ConnectorStep::Online("c".into()))
}

fn content(selector: Selector) -> Interests {
    interests([(selector, Detail::Content)])
}

async fn open(rig: &Rig, id: &str, sessions: &[&str], take: Take, acknowledged: u64) -> Claim {
    let wish = Wish {
        sessions: sessions.iter().map(|id| SessionRef::Id(session(id))).collect(),
        take,
        acknowledged,
    };
    let opening = rig.appender.open_writer(rig.log.clone(), writer(id), wish);
    Claim {
        writer: writer(id),
        fence: within(opening).await.unwrap().fence,
    }
}

/// The events of the connector family that interests see in the store.
async fn stored_of(rig: &Rig, interests: &Interests) -> Vec<Event> {
    let log = rig.row().await;
    let read = Read {
        log: &log,
        interests,
        from: Offset::ZERO,
        until: log.tail,
        events_max: 1000,
        bytes_max: 1 << 20,
        scan_max: 1000,
    };
    let events = rig.memory.read(read).await.unwrap().events;
    events
        .into_iter()
        .filter(|event| event.family == Family::Connector)
        .collect()
}

/// Their offsets.
async fn told(rig: &Rig, interests: &Interests) -> Vec<u64> {
    let events = stored_of(rig, interests).await;
    events.iter().map(|event| event.offset.0).collect()
}

/// What the hub says of lost connectors, in order.
async fn lost(rig: &Rig) -> Vec<String> {
    let events = stored_of(rig, &content(Selector::All)).await;
    let lost = events.iter().filter(|event| event.kind.0 == 42);
    let text = lost.map(|event| {
        // Between the offset and the link.
        let body = &event.bytes[8..event.bytes.len() - 8];
        String::from_utf8(body.to_vec()).unwrap()
    });
    text.collect()
}

/// The offsets of the next events, as many as these, of a stream that is caught up.
async fn hears(subscription: &mut Subscription, expected: &[u64]) {
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        let sent = next(subscription).await;
        if matches!(sent.frame, Frame::Events { .. }) {
            heard.extend(offsets([&sent]));
        }
    }
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn it_is_for_what_its_writer_holds_at_that_very_place() {
    let rig = Rig::new().await;
    let wanted = [
        (content(Selector::All), vec![0, 3, 6, 8]),
        (content(only("a")), vec![3, 6]),
        (content(only("b")), vec![6, 8]),
        (content(only("c")), vec![]),
        (
            interests([(only("a"), Detail::Content), (only("b"), Detail::Live)]),
            vec![3, 6, 8],
        ),
        (content(Selector::Project("/p".into())), vec![]),
        (interests([(Selector::All, Detail::Summary)]), vec![]),
    ];
    let mut live = Vec::new();
    for (interests, _) in &wanted {
        let mut stream = rig.subscribe(request(Start::Now, interests)).await;
        until_caught_up(&mut stream).await;
        live.push(stream);
    }
    let claim = rig.open("w").await;
    // One batch: it holds nothing, then what it has just spoken in, then that and more.
    let batch = [online(), draft("a"), online(), draft("b"), online()];
    let appends: Vec<Append> = (1..).zip(batch).map(|(number, draft)| seq(number, draft)).collect();
    let outcomes = rig.append(Some(&claim), appends).await.unwrap();
    let Outcome::Stored {
        session: None,
        stored: place,
        ..
    } = &outcomes[2]
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!((place.offset, place.index), (Offset(3), None));
    // Somebody takes one of them over, and what is said then is not for it any more.
    let other = open(&rig, "v", &["a"], Take::Over, 0).await;
    stored(&rig.append(Some(&other), vec![seq(1, draft("a"))]).await.unwrap()[0]);
    stored(&rig.append(Some(&claim), vec![seq(6, online())]).await.unwrap()[0]);
    for ((interests, expected), stream) in wanted.iter().zip(&mut live) {
        assert_eq!(told(&rig, interests).await, *expected, "{interests:?}");
        let mut replay = rig.subscribe(request(Start::Oldest, interests)).await;
        let replayed = offsets(&until_caught_up(&mut replay).await);
        let of_sessions = [1, 2, 4, 5, 7];
        let heard: Vec<u64> = replayed
            .iter()
            .copied()
            .filter(|at| !of_sessions.contains(at))
            .collect();
        assert_eq!(heard, *expected, "{interests:?}");
        hears(stream, &replayed).await;
    }
}

#[tokio::test]
async fn said_again_it_is_a_duplicate() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let keyed = || Draft {
        dedupe: Some(DedupeKey::of_key("came")),
        ..online()
    };
    let place = stored(&rig.append(Some(&claim), vec![seq(1, keyed())]).await.unwrap()[0]);
    let again = vec![seq(1, keyed()), seq(2, keyed()), seq(3, online()), seq(3, online())];
    let outcomes = rig.append(Some(&claim), again).await.unwrap();
    let duplicate = |stored| Outcome::Duplicate {
        session: None,
        stored: Some(stored),
    };
    let third = stored(&outcomes[2]);
    assert_eq!(outcomes[..2], [duplicate(place), duplicate(place)]);
    assert_eq!(outcomes[3], duplicate(third));
    // Nobody speaks for a connector without being one.
    let outcomes = rig.append(None, vec![append(online())]).await.unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Rejected(rejection) if rejection.refusal == Refusal::InvalidField),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_lease_that_ends_without_a_word_is_told_once_and_before_the_sessions_are_let_go() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    rig.append(Some(&claim), vec![seq(1, draft("s")), seq(2, online())])
        .await
        .unwrap();
    let wanted = content(only("s"));
    let mut stream = rig.subscribe(request(Start::Now, &wanted)).await;
    until_caught_up(&mut stream).await;
    assert_eq!(rig.pass(LEASE_DURATION + LEASE_TICK).await.len(), 1);
    hears(&mut stream, &[3]).await;
    assert_eq!(lost(&rig).await, ["c of w: LeaseEnded { last_seq: 2 }"]);
    rig.pass(LEASE_DURATION * 3).await;
    assert_eq!(lost(&rig).await.len(), 1, "once");
    // It is back when it says so, and may be lost again: also where it holds nothing.
    rig.append(Some(&claim), vec![seq(3, online())]).await.unwrap();
    rig.pass(LEASE_DURATION + LEASE_TICK).await;
    assert_eq!(lost(&rig).await[1..], ["c of w: LeaseEnded { last_seq: 3 }"]);
    assert_eq!(told(&rig, &wanted).await, [2, 3], "it held the session no longer");
}

#[tokio::test]
async fn who_left_politely_or_never_came_is_not_lost() {
    let rig = Rig::new().await;
    let (left, silent) = (rig.open("left").await, rig.open("silent").await);
    let polite = vec![
        seq(1, draft("a")),
        seq(2, online()),
        seq(3, says(ConnectorStep::Offline)),
    ];
    rig.append(Some(&left), polite).await.unwrap();
    rig.append(Some(&silent), vec![seq(1, draft("b"))]).await.unwrap();
    assert_eq!(
        rig.pass(LEASE_DURATION + LEASE_TICK).await.len(),
        2,
        "their leases ended"
    );
    assert_eq!(lost(&rig).await, [""; 0]);
}

#[tokio::test]
async fn a_connector_that_was_there_before_the_hub_was_is_given_a_period_and_then_lost() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    rig.append(Some(&claim), vec![seq(1, online())]).await.unwrap();
    let again = Rig::beside(&rig).await;
    again.pass(Duration::from_secs(1)).await;
    // Of a writer that may live at another node a beat longer is waited.
    again.pass(LEASE_DURATION + LEASE_BEAT - Duration::from_secs(2)).await;
    assert_eq!(lost(&again).await, [""; 0]);
    again.pass(LEASE_TICK * 2).await;
    assert_eq!(lost(&again).await, ["c of w: LeaseEnded { last_seq: 1 }"]);
}

#[tokio::test]
async fn what_the_hub_lacks_of_what_a_writer_knows_as_acknowledged_is_told_once() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    rig.append(Some(&claim), vec![seq(1, draft("s")), seq(2, online())])
        .await
        .unwrap();
    for acknowledged in [0, 1, 2] {
        open(&rig, "w", &["s"], Take::Free, acknowledged).await;
    }
    assert_eq!(lost(&rig).await, [""; 0]);
    for _ in 0..3 {
        open(&rig, "w", &["s", "new"], Take::Free, 9).await;
    }
    let expected = "c of w: AcknowledgedLost { last_seq: 2, acknowledged: 9 }";
    assert_eq!(lost(&rig).await, [expected]);
    assert_eq!(
        told(&rig, &content(only("new"))).await.len(),
        1,
        "also to what it was just given"
    );
    // It goes on from what the hub has. Where that is lost in turn, it is told in turn.
    let claim = open(&rig, "w", &["s"], Take::Free, 2).await;
    stored(&rig.append(Some(&claim), vec![seq(3, draft("s"))]).await.unwrap()[0]);
    open(&rig, "w", &["s"], Take::Free, 9).await;
    assert_eq!(lost(&rig).await.len(), 2);
    // A writer that nobody here knows says what it knows of another history.
    open(&rig, "stranger", &[], Take::Free, 5).await;
    assert_eq!(
        lost(&rig).await[2..],
        [" of stranger: AcknowledgedLost { last_seq: 0, acknowledged: 5 }"]
    );
}
