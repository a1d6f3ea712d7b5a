//! A lease over the wire, by the hub's own clock.

use super::*;
use bellboard_core::limits;
use bellboard_proto::v1::{
    self, AppendEventsRequest, Event, EventAppend, GetSessionRequest, OpenWriterRequest, SessionOwner, SessionRef,
    WriterSession, event::Payload, session_ref::Ref,
};

fn session() -> Option<SessionRef> {
    Some(SessionRef {
        r#ref: Some(Ref::SessionId("s".into())),
    })
}

async fn open(house: &House, writer: &str) -> v1::OpenWriterResponse {
    let request = OpenWriterRequest {
        writer_id: writer.into(),
        sessions: vec![WriterSession {
            session: session(),
            ..WriterSession::default()
        }],
        take_over: false,
        acknowledged_seq: 0,
    };
    let mut client = SessionEventsServiceClient::new(house.channel().await);
    let opened = soon(client.open_writer(with(&house.running.local_key, request))).await;
    opened.unwrap().into_inner()
}

async fn owner(house: &House) -> Option<SessionOwner> {
    let mut client = SessionEventsServiceClient::new(house.channel().await);
    let request = GetSessionRequest { session: session() };
    let found = soon(client.get_session(with(&house.running.local_key, request))).await;
    found.unwrap().into_inner().session.unwrap().owner
}

/// Says something without a writer: whether it was stored.
async fn say(house: &House) -> bool {
    let append = EventAppend {
        session: session(),
        event: Some(Event {
            item_id: "m".into(),
            payload: Some(Payload::MessageCompleted(v1::MessageCompleted::default())),
            ..Event::default()
        }),
        ..EventAppend::default()
    };
    let request = AppendEventsRequest {
        appends: vec![append],
        ..AppendEventsRequest::default()
    };
    let mut client = SessionEventsServiceClient::new(house.channel().await);
    let answer = soon(client.append_events(with(&house.running.local_key, request))).await;
    let results = answer.unwrap().into_inner().results;
    matches!(results[0].outcome, Some(v1::append_result::Outcome::Stored(_)))
}

/// Lets time go by as it does where leases are looked at.
async fn pass(house: &House, time: Duration) {
    let until = house.clock.elapsed() + time;
    while house.clock.elapsed() < until {
        house.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_and_says_until_when_it_lives() {
    let house = house().await;
    open(&house, "a").await;
    let held = owner(&house).await.expect("somebody holds it");
    let now = house.clock.now().plus(limits::LEASE_DURATION);
    assert_eq!(
        (held.writer_id.as_str(), held.lease_expire_time),
        ("a", Some(crate::wire::encode::timestamp(now)))
    );
    pass(&house, limits::LEASE_DURATION - Duration::from_secs(1)).await;
    assert!(!say(&house).await, "its lease lives");
    let other = open(&house, "b").await;
    assert_eq!(other.results[0].owner_writer_id, "a");
    pass(&house, Duration::from_secs(1)).await;
    assert!(say(&house).await, "its lease has ended");
    // Nobody asked for the session; it is let go all the same.
    let gone = async {
        while owner(&house).await.is_some() {
            pass(&house, Duration::from_secs(1)).await;
        }
    };
    soon(gone).await;
    house.running.shutdown().await;
}
