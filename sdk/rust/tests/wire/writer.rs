//! A writer stores every event once and answers every ticket once.

use std::time::Duration;

use bellboard_sdk::v1::append_result::Outcome;
use bellboard_sdk::v1::publish_entry::Entry;
use bellboard_sdk::v1::publish_events_request::Frame as Up;
use bellboard_sdk::v1::publish_events_response::Frame as Down;
use bellboard_sdk::v1::{
    AppendResult, Closing, ClosingReason, Delta, DeltaAppend, ErrorReason, Event, EventAppend, EventDuplicate,
    EventRejected, EventStored, PublishAcknowledged, PublishOpened, WriterSession, WriterSessionStatus, delta,
    session_ref,
};
use bellboard_sdk::{Error, Spool, Writer, WriterOptions, session_id};
use futures_util::FutureExt as _;
use tonic::{Code, Status};

use crate::frames::refusal;
use crate::hub::{Hub, Publication, TOO_LONG};

const FENCE: u64 = 7;

pub(crate) fn append(name: &str) -> EventAppend {
    EventAppend {
        session: Some(session_id("s")),
        event: Some(Event {
            event_id: name.to_owned(),
            ..Event::default()
        }),
        ..EventAppend::default()
    }
}

fn delta(at: u64, text: &str) -> DeltaAppend {
    DeltaAppend {
        session: Some(session_id("s")),
        delta: Some(Delta {
            item_id: "m".to_owned(),
            at,
            fragment: Some(delta::Fragment::MessageText(text.to_owned())),
            ..Delta::default()
        }),
    }
}

pub(crate) async fn open(hub: &mut Hub, options: WriterOptions, last_seq: u64) -> Writer {
    let client = hub.client();
    let (_, writer) = tokio::join!(hub.open_writer(FENCE, last_seq), Writer::open(&client, options));
    writer.unwrap()
}

/// Opens the writer's next stream as a hub that has consumed so much.
pub(crate) async fn accept(hub: &mut Hub, last_seq: u64) -> Publication {
    accept_with_lease(hub, last_seq, Duration::from_secs(30)).await
}

async fn accept_with_lease(hub: &mut Hub, last_seq: u64, lease: Duration) -> Publication {
    let mut stream = tokio::time::timeout(TOO_LONG, hub.publish())
        .await
        .expect("a dial in time")
        .open();
    let Some(Up::Open(open)) = stream.next().await else {
        panic!("the first frame does not open");
    };
    assert_eq!((open.writer_id.as_str(), open.fence), ("w", FENCE));
    let opened = PublishOpened {
        writer_id: open.writer_id,
        fence: open.fence,
        last_seq,
        lease_duration: Some(lease.try_into().unwrap()),
        max_unacknowledged_events: 100,
        max_unacknowledged_bytes: 1 << 20,
    };
    stream.send(Down::Opened(opened)).await;
    stream
}

/// The next so many entries: `1:name` for an event, `m@0:text` for a delta.
pub(crate) async fn entries(stream: &mut Publication, count: usize) -> Vec<String> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let frame = tokio::time::timeout(TOO_LONG, stream.next())
            .await
            .expect("a frame in time");
        match frame.expect("not the end") {
            Up::Batch(batch) => entries.extend(batch.entries.into_iter().map(|entry| shown(entry.entry))),
            Up::Keepalive(_) => {}
            Up::Open(_) => panic!("opened again"),
        }
    }
    entries
}

fn shown(entry: Option<Entry>) -> String {
    match entry.expect("an entry") {
        Entry::Append(append) => format!("{}:{}", append.seq, append.event.unwrap().event_id),
        Entry::Delta(delta) => {
            let delta = delta.delta.unwrap();
            let Some(delta::Fragment::MessageText(text)) = delta.fragment else {
                panic!("another fragment");
            };
            format!("{}@{}:{text}", delta.item_id, delta.at)
        }
    }
}

pub(crate) async fn acknowledge(stream: &Publication, results: impl IntoIterator<Item = (u64, Outcome)>) {
    let results = results.into_iter().map(|(seq, outcome)| AppendResult {
        seq,
        outcome: Some(outcome),
        ..AppendResult::default()
    });
    let results = results.collect();
    stream.send(Down::Acknowledged(PublishAcknowledged { results })).await;
}

pub(crate) fn stored(offset: u64) -> Outcome {
    Outcome::Stored(EventStored { offset, index: offset })
}

fn duplicate(offset: u64) -> Outcome {
    Outcome::Duplicate(EventDuplicate {
        offset: Some(offset),
        index: Some(offset),
    })
}

fn rejected(reason: ErrorReason) -> Outcome {
    Outcome::Rejected(EventRejected {
        reason: reason.into(),
        message: "no".to_owned(),
        ..EventRejected::default()
    })
}

fn options() -> WriterOptions {
    WriterOptions::new("w")
}

#[tokio::test]
async fn events_and_deltas_are_pipelined_in_order_and_every_ticket_is_answered() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 4).await;
    let first = writer.append(append("started")).await.unwrap();
    writer.delta(delta(0, "hel"));
    writer.delta(delta(3, "lo"));
    let second = writer.append(append("completed")).await.unwrap();
    let mut stream = accept(&mut hub, 4).await;
    assert_eq!(entries(&mut stream, 3).await, ["5:started", "m@0:hello", "6:completed"]);
    acknowledge(&stream, [(5, stored(50)), (6, rejected(ErrorReason::EventTooLarge))]).await;
    assert_eq!(first.await.unwrap().outcome, Some(stored(50)));
    assert_eq!(
        second.await.unwrap().outcome,
        Some(rejected(ErrorReason::EventTooLarge))
    );
    // A rejected one stops nothing.
    let third = writer.append(append("next")).await.unwrap();
    assert_eq!(entries(&mut stream, 1).await, ["7:next"]);
    acknowledge(&stream, [(7, stored(51))]).await;
    assert_eq!(third.await.unwrap().outcome, Some(stored(51)));
}

#[tokio::test]
async fn lost_answers_are_asked_for_again_and_nothing_is_stored_twice() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let mut tickets = Vec::new();
    for name in ["a", "b", "c"] {
        tickets.push(writer.append(append(name)).await.unwrap());
    }
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 3).await.len(), 3);
    // a and b are stored, their answers are lost, and c never arrived.
    stream.fail(Status::unknown("transport error")).await;
    let fourth = writer.append(append("d")).await.unwrap();

    let mut stream = accept(&mut hub, 2).await;
    assert_eq!(entries(&mut stream, 4).await, ["1:a", "2:b", "3:c", "4:d"]);
    let answers = [(1, duplicate(0)), (2, duplicate(1)), (3, stored(2)), (4, stored(3))];
    acknowledge(&stream, answers.clone()).await;
    tickets.push(fourth);
    for (ticket, (_, outcome)) in tickets.into_iter().zip(answers) {
        assert_eq!(ticket.await.unwrap().outcome, Some(outcome));
    }
    assert_eq!(writer.stats().unacknowledged_events, 0);
    assert_eq!(writer.stats().dials, 2);
}

#[tokio::test]
async fn an_event_that_the_hub_misses_begins_the_stream_anew() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    entries(&mut stream, 1).await;
    acknowledge(&stream, [(1, rejected(ErrorReason::SeqGap))]).await;
    // It was restored from a backup, and a is the first that it sees.
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 1).await, ["1:a"]);
    acknowledge(&stream, [(1, stored(0))]).await;
    assert_eq!(ticket.await.unwrap().outcome, Some(stored(0)));
}

#[tokio::test]
async fn a_fenced_writer_is_over_and_takes_nothing_back() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    entries(&mut stream, 1).await;
    stream
        .fail(refusal(Code::FailedPrecondition, ErrorReason::Fenced))
        .await;
    assert!(matches!(ticket.await, Err(Error::Fenced(_))));
    assert!(matches!(writer.append(append("b")).await, Err(Error::Fenced(_))));
    assert!(matches!(writer.flush().await, Err(Error::Fenced(_))));
    assert!(matches!(writer.close().await, Err(Error::Fenced(_))));
}

#[tokio::test]
async fn a_replaced_stream_is_not_dialled_again() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    entries(&mut stream, 1).await;
    let replaced = Closing {
        reason: ClosingReason::Replaced.into(),
        retry_after: None,
    };
    stream.send(Down::Closing(replaced)).await;
    assert!(matches!(ticket.await, Err(Error::Replaced)));
}

/// A result for an append to session `s`.
fn stored_in_s(seq: u64) -> Down {
    let result = AppendResult {
        seq,
        session_id: "s".to_owned(),
        outcome: Some(stored(seq)),
        ..AppendResult::default()
    };
    Down::Acknowledged(PublishAcknowledged { results: vec![result] })
}

fn names(sessions: &[WriterSession]) -> Vec<String> {
    let name = |session: &WriterSession| match session.session.clone().and_then(|session| session.r#ref) {
        Some(session_ref::Ref::SessionId(id)) => id,
        other => panic!("{other:?}"),
    };
    sessions.iter().map(name).collect()
}

#[tokio::test]
async fn who_comes_back_says_what_it_holds_and_takes_nothing() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let first = writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    entries(&mut stream, 1).await;
    stream.send(stored_in_s(1)).await;
    first.await.unwrap();
    stream.fail(Status::unknown("transport error")).await;
    let request = hub.renew_writer(&[WriterSessionStatus::OwnedElsewhere]).await;
    assert_eq!(
        (names(&request.sessions), request.fence, request.take_over),
        (vec!["s".to_owned()], FENCE, false)
    );
    // It is another's now: it is not asked for again.
    let stream = accept(&mut hub, 1).await;
    stream.fail(Status::unknown("transport error")).await;
    accept(&mut hub, 1).await;
}

#[tokio::test]
async fn a_session_that_was_held_under_a_newer_fence_makes_the_writer_open_anew() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    entries(&mut stream, 1).await;
    acknowledge(&stream, [(1, rejected(ErrorReason::Fenced))]).await;
    let request = hub.open_writer(FENCE, 0).await;
    assert!(!request.take_over, "it takes nothing from who lives");
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 1).await, ["1:a"], "no seq was consumed");
    acknowledge(&stream, [(1, stored(0))]).await;
    assert_eq!(ticket.await.unwrap().outcome, Some(stored(0)));
}

#[tokio::test]
async fn a_writer_that_closes_lets_go_of_what_it_holds() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    entries(&mut stream, 1).await;
    let script = async {
        stream.send(stored_in_s(1)).await;
        assert!(stream.next().await.is_none(), "a half-close");
        drop(stream);
        hub.renew_writer(&[]).await
    };
    let (request, closed) = tokio::time::timeout(TOO_LONG, async { tokio::join!(script, writer.close()) })
        .await
        .unwrap();
    closed.unwrap();
    assert_eq!(names(&request.sessions), [""; 0]);
}

#[tokio::test]
async fn a_stream_refused_by_a_fence_or_overtaken_is_the_end_too() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let stream = hub.publish().await.open();
    stream
        .fail(refusal(Code::FailedPrecondition, ErrorReason::Fenced))
        .await;
    assert!(matches!(ticket.await, Err(Error::Fenced(_))));

    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    // Another incarnation has written up to 9.
    let _stream = accept(&mut hub, 9).await;
    assert!(matches!(ticket.await, Err(Error::Fenced(_))));
}

#[tokio::test]
async fn a_full_spool_makes_the_appender_wait_and_does_not_grow() {
    let mut hub = Hub::start().await;
    let spool = Spool {
        events_max: 2,
        ..Spool::default()
    };
    let writer = open(&mut hub, options().with_spool(spool), 0).await;
    let mut stream = accept(&mut hub, 0).await;
    for name in ["a", "b"] {
        writer.append(append(name)).await.unwrap();
    }
    assert!(matches!(writer.try_append(append("c")), Err(Error::SpoolFull)));
    let mut waiting = Box::pin(writer.append(append("c")));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(writer.stats().unacknowledged_events, 2);
    entries(&mut stream, 2).await;
    acknowledge(&stream, [(1, stored(0))]).await;
    waiting.await.unwrap();
    assert_eq!(entries(&mut stream, 1).await, ["3:c"]);
}

#[tokio::test]
async fn an_append_that_no_hub_would_take_is_refused_here() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let long = EventAppend {
        dedupe_key: "x".repeat(bellboard_sdk::APPEND_BYTES_MAX),
        ..append("a")
    };
    assert!(matches!(writer.append(long).await, Err(Error::InvalidRequest(_))));
}

#[tokio::test]
async fn a_hub_that_forgot_the_writer_is_told_anew() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let stream = hub.publish().await.open();
    stream
        .fail(refusal(Code::FailedPrecondition, ErrorReason::WriterUnknown))
        .await;
    let request = hub.open_writer(FENCE, 0).await;
    assert_eq!(request.writer_id, "w");
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 1).await, ["1:a"]);
    acknowledge(&stream, [(1, stored(0))]).await;
    ticket.await.unwrap();
}

#[tokio::test]
async fn a_hub_that_lost_what_it_acknowledged_is_told_so_and_gets_what_is_left() {
    let mut hub = Hub::start().await;
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::on_disk(folder.path());
    let writer = open(&mut hub, options().with_spool(spool), 0).await;
    let mut stream = accept(&mut hub, 0).await;
    let mut tickets = Vec::new();
    for name in ["a", "b", "c"] {
        tickets.push(writer.append(append(name)).await.unwrap());
    }
    entries(&mut stream, 3).await;
    acknowledge(&stream, [(1, stored(0)), (2, stored(1)), (3, stored(2))]).await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    // It was set back to after a.
    stream.fail(Status::unavailable("restored")).await;
    let after = writer.append(append("d")).await.unwrap();
    let stream = accept(&mut hub, 1).await;
    drop(stream);
    let request = hub.open_writer(FENCE, 1).await;
    assert_eq!(request.acknowledged_seq, 3, "the hub is told what it has lost");
    let mut stream = accept(&mut hub, 1).await;
    assert_eq!(
        entries(&mut stream, 3).await,
        ["2:b", "3:c", "4:d"],
        "and gets what the disk still has"
    );
    acknowledge(&stream, [(2, stored(2)), (3, stored(3)), (4, stored(4))]).await;
    assert_eq!(after.await.unwrap().outcome, Some(stored(4)));
    tokio::time::timeout(TOO_LONG, writer.flush()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hub_that_stops_answering_is_dialled_again() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let short = Duration::from_millis(100);
    let mut silent = accept_with_lease(&mut hub, 0, short).await;
    entries(&mut silent, 1).await;
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 1).await, ["1:a"]);
    acknowledge(&stream, [(1, stored(0))]).await;
    ticket.await.unwrap();
}

#[tokio::test]
async fn an_idle_writer_says_that_it_lives() {
    let mut hub = Hub::start().await;
    let _writer = open(&mut hub, options(), 0).await;
    let mut stream = accept_with_lease(&mut hub, 0, Duration::from_millis(200)).await;
    for _ in 0..3 {
        let frame = tokio::time::timeout(TOO_LONG, stream.next()).await.unwrap();
        assert!(matches!(frame, Some(Up::Keepalive(_))), "{frame:?}");
    }
}

#[tokio::test]
async fn a_draining_hub_gets_the_rest_after_it_is_back() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let stream = accept(&mut hub, 0).await;
    let closing = Closing {
        reason: ClosingReason::Draining.into(),
        retry_after: Some(Duration::from_millis(10).try_into().unwrap()),
    };
    stream.send(Down::Closing(closing)).await;
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 1).await, ["1:a"]);
    acknowledge(&stream, [(1, stored(0))]).await;
    ticket.await.unwrap();
}

#[tokio::test]
async fn closing_waits_for_the_last_answer_and_ends_the_stream_politely() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    let mut stream = accept(&mut hub, 0).await;
    let script = async {
        entries(&mut stream, 1).await;
        acknowledge(&stream, [(1, stored(0))]).await;
        assert!(stream.next().await.is_none(), "a half-close");
        drop(stream);
    };
    let ((), closed) = tokio::time::timeout(TOO_LONG, async { tokio::join!(script, writer.close()) })
        .await
        .unwrap();
    closed.unwrap();
    assert_eq!(ticket.await.unwrap().outcome, Some(stored(0)));
}

#[tokio::test]
async fn closing_a_writer_that_owes_nothing_does_not_wait_for_a_hub_that_is_away() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let long = Closing {
        reason: ClosingReason::Draining.into(),
        retry_after: Some(Duration::from_secs(3600).try_into().unwrap()),
    };
    accept(&mut hub, 0).await.send(Down::Closing(long)).await;
    tokio::time::timeout(TOO_LONG, writer.close()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_rejected_append_says_what_to_do_as_a_failed_call_does() {
    let result = |outcome| AppendResult {
        outcome,
        ..AppendResult::default()
    };
    assert!(bellboard_sdk::accepted(result(Some(stored(0)))).is_ok());
    assert!(bellboard_sdk::accepted(result(Some(duplicate(0)))).is_ok());
    let refused = bellboard_sdk::accepted(result(Some(rejected(ErrorReason::PayloadReserved))));
    assert!(matches!(refused, Err(Error::InvalidRequest(_))));
    let Outcome::Rejected(mut owned) = rejected(ErrorReason::SessionOwned) else {
        panic!("a rejection")
    };
    owned.metadata.insert("owner_writer_id".to_owned(), "other".to_owned());
    let owned = bellboard_sdk::accepted(result(Some(Outcome::Rejected(owned)))).unwrap_err();
    assert!(owned.is_retryable() && matches!(owned, Error::SessionOwned(_)));
    assert_eq!(owned.owner(), Some("other"));
    assert!(
        bellboard_sdk::accepted(result(None)).is_err(),
        "of a later hub: as rejected"
    );
}

#[tokio::test]
async fn dropping_the_writer_answers_its_tickets() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let ticket = writer.append(append("a")).await.unwrap();
    drop(writer);
    let answer = tokio::time::timeout(TOO_LONG, ticket).await.unwrap();
    assert!(matches!(answer, Err(Error::Closed)));
}

#[tokio::test]
async fn p_14_what_was_appended_does_not_change_with_its_producer() {
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(), 0).await;
    let mut event = append("before");
    writer.append(event.clone()).await.unwrap();
    event.event.as_mut().unwrap().event_id = "after".to_owned();
    let mut stream = accept(&mut hub, 0).await;
    assert_eq!(entries(&mut stream, 1).await, ["1:before"]);
}
