//! Who holds a session, over the wire: one writer at a time, whatever becomes of streams, keys and processes.

use bellboard_proto::v1::append_result::Outcome;
use bellboard_proto::v1::publish_events_request::Frame as Up;
use bellboard_proto::v1::publish_events_response::Frame as Down;
use bellboard_proto::v1::subscribe_response::Frame;
use bellboard_proto::v1::{self, ClosingReason, ErrorReason, WriterSessionStatus as Status};
use bellboard_tests::client::{Client, stored};
use bellboard_tests::events::{Append, all, by_id, from_now, on};
use bellboard_tests::process::{DataDir, cli};
use bellboard_tests::within;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::reset::reason;

fn holding(sessions: &[&str]) -> Vec<v1::WriterSession> {
    let session = |id: &&str| v1::WriterSession {
        session: Some(by_id(id)),
        ..v1::WriterSession::default()
    };
    sessions.iter().map(session).collect()
}

async fn open(client: &Client, writer: &str, sessions: &[&str], take_over: bool) -> v1::OpenWriterResponse {
    let request = v1::OpenWriterRequest {
        writer_id: writer.into(),
        sessions: holding(sessions),
        take_over,
        acknowledged_seq: 0,
    };
    let mut events = client.events.clone();
    let opened = within("the answer to OpenWriter", events.open_writer(request)).await;
    opened.expect("the writer opens").into_inner()
}

async fn append(client: &Client, writer: &str, fence: u64, append: Append) -> v1::AppendResult {
    let request = v1::AppendEventsRequest {
        writer_id: writer.into(),
        fence,
        appends: vec![append.0],
    };
    let mut events = client.events.clone();
    let answer = within("the answer to AppendEvents", events.append_events(request)).await;
    answer.expect("the call is taken").into_inner().results.remove(0)
}

fn rejected(result: &v1::AppendResult) -> &v1::EventRejected {
    match &result.outcome {
        Some(Outcome::Rejected(rejected)) => rejected,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

/// Fails unless the append was rejected because this writer holds the session.
fn assert_owned(result: &v1::AppendResult, owner: &str) {
    let rejected = rejected(result);
    assert_eq!(rejected.reason(), ErrorReason::SessionOwned, "{rejected:?}");
    assert_eq!(
        rejected.metadata.get("owner_writer_id").map(String::as_str),
        Some(owner)
    );
}

/// Who holds a session, as everybody can see.
async fn owner(client: &Client, session: &str) -> Option<v1::SessionOwner> {
    let request = v1::GetSessionRequest {
        session: Some(by_id(session)),
    };
    let mut events = client.events.clone();
    let found = within("the answer to GetSession", events.get_session(request)).await;
    found.unwrap().into_inner().session.unwrap().owner
}

async fn owner_id(client: &Client, session: &str) -> String {
    owner(client, session)
        .await
        .map(|owner| owner.writer_id)
        .unwrap_or_default()
}

/// A writer's stream.
struct Publication {
    frames: mpsc::Sender<v1::PublishEventsRequest>,
    answers: Streaming<v1::PublishEventsResponse>,
}

impl Publication {
    async fn open(client: &Client, writer: &str, fence: u64) -> Publication {
        let (frames, queued) = mpsc::channel(16);
        let open = v1::PublishOpen {
            writer_id: writer.into(),
            fence,
        };
        let frame = Some(Up::Open(open));
        frames.send(v1::PublishEventsRequest { frame }).await.unwrap();
        let mut events = client.events.clone();
        let answers = within("PublishEvents", events.publish_events(ReceiverStream::new(queued)));
        let mut stream = Publication {
            answers: answers.await.unwrap().into_inner(),
            frames,
        };
        assert!(matches!(stream.next().await, Some(Down::Opened(_))));
        stream
    }

    /// The next frame that is more than a sign of life.
    async fn next(&mut self) -> Option<Down> {
        loop {
            let answer = within("a frame", self.answers.message()).await.expect("no error");
            match answer?.frame.expect("a frame that is known") {
                Down::Heartbeat(_) => {}
                frame => return Some(frame),
            }
        }
    }

    async fn append(&mut self, append: Append) -> v1::AppendResult {
        let entry = v1::PublishEntry {
            entry: Some(v1::publish_entry::Entry::Append(append.0)),
        };
        let frame = Some(Up::Batch(v1::PublishBatch { entries: vec![entry] }));
        self.frames.send(v1::PublishEventsRequest { frame }).await.unwrap();
        match self.next().await {
            Some(Down::Acknowledged(mut acknowledged)) => acknowledged.results.remove(0),
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn k_1_a_replaced_stream_that_closes_late_changes_nothing() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut viewer = client.subscribe(from_now(vec![all(v1::Detail::Content)])).await;
    viewer.caught_up().await;
    let fence = open(&client, "c1", &["s"], false).await.fence;
    let mut first = Publication::open(&client, "c1", fence).await;
    stored(&first.append(on("s").says("one").seq(1)).await);
    // On a connection of its own, as after a network change.
    let mut second = Publication::open(&hub.client(), "c1", fence).await;
    match first.next().await {
        Some(Down::Closing(closing)) => assert_eq!(closing.reason(), ClosingReason::Replaced),
        other => panic!("expected closing, got {other:?}"),
    }
    assert!(first.next().await.is_none(), "a polite end");
    drop(first);
    stored(&second.append(on("s").says("two").seq(2)).await);
    assert_eq!(
        owner(&client, "s").await.map(|owner| (owner.writer_id, owner.fence)),
        Some(("c1".into(), fence))
    );
    assert_owned(&client.try_append(vec![on("s").says("x")]).await.unwrap()[0], "c1");
    let seen = viewer.events(3).await;
    assert_eq!(seen.len(), 3, "opened, one, two: nobody was told of an end");
    // The stream's own end takes nothing with it either.
    drop(second);
    let mut third = Publication::open(&client, "c1", fence).await;
    stored(&third.append(on("s").says("three").seq(3)).await);
    assert_eq!(viewer.events(1).await[0].offset, 3);
}

#[tokio::test]
async fn a_stream_under_an_old_fence_ends_with_fenced_without_sending_anything() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let old = open(&client, "w", &["s"], false).await.fence;
    let mut stream = Publication::open(&client, "w", old).await;
    let new = open(&client, "w", &["s"], false).await.fence;
    let ended = within("the end", stream.answers.message()).await.expect_err("an error");
    assert_eq!(reason(&ended), ErrorReason::Fenced);
    let mut again = client.events.clone();
    let renew = v1::RenewWriterRequest {
        writer_id: "w".into(),
        fence: old,
        ..v1::RenewWriterRequest::default()
    };
    let refused = within("the refusal", again.renew_writer(renew))
        .await
        .expect_err("an old fence");
    assert_eq!(reason(&refused), ErrorReason::Fenced);
    assert_eq!(owner(&client, "s").await.map(|owner| owner.fence), Some(new));
}

#[tokio::test]
async fn k_4_a_writer_and_a_client_of_one_name_leave_one_another_alone() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let fence = open(&client, "x", &[], false).await.fence;
    let mut stream = Publication::open(&client, "x", fence).await;
    let as_x = || v1::SubscribeRequest {
        client_id: "x".into(),
        ..from_now(vec![all(v1::Detail::Content)])
    };
    let mut viewer = client.subscribe(as_x()).await;
    viewer.caught_up().await;
    stored(&stream.append(on("s").says("one").seq(1)).await);
    assert_eq!(viewer.events(2).await.len(), 2);
    let mut again = Publication::open(&client, "x", fence).await;
    assert!(
        matches!(stream.next().await, Some(Down::Closing(_))),
        "one writer replaces itself"
    );
    stored(&again.append(on("s").says("two").seq(2)).await);
    assert_eq!(viewer.events(1).await[0].offset, 2, "and not the viewer");
    let mut newer = client.subscribe(as_x()).await;
    newer.caught_up().await;
    let replaced = viewer.until("closing", |frame| match frame {
        Frame::Closing(closing) => Some(closing.reason()),
        _ => None,
    });
    assert_eq!(replaced.await, ClosingReason::Replaced);
    stored(&again.append(on("s").says("three").seq(3)).await);
    assert_eq!(newer.events(1).await[0].offset, 3);
}

#[tokio::test]
async fn k_28_a_writer_that_comes_back_without_a_session_holds_it_no_longer() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let fence = open(&client, "w", &["s", "t"], false).await.fence;
    stored(&append(&client, "w", fence, on("s").says("busy").seq(1)).await);
    let back = open(&client, "w", &["t"], false).await;
    assert_eq!(back.results[0].status(), Status::Held);
    assert_eq!(owner_id(&client, "s").await, "");
    assert_eq!(owner_id(&client, "t").await, "w");
    client.say("s", "anybody may").await;
    assert_owned(&client.try_append(vec![on("t").says("x")]).await.unwrap()[0], "w");
}

#[tokio::test]
async fn two_writers_have_a_session_one_after_the_other_and_the_late_one_is_told() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let one = open(&client, "one", &["s"], false).await.fence;
    stored(&append(&client, "one", one, on("s").says("1").seq(1)).await);
    let two = open(&client, "two", &["s"], false).await;
    assert_eq!(two.results[0].status(), Status::OwnedElsewhere);
    assert_eq!(two.results[0].owner_writer_id, "one");
    assert_owned(
        &append(&client, "two", two.fence, on("s").says("x").seq(1)).await,
        "one",
    );
    let taken = open(&client, "two", &["s"], true).await;
    assert_eq!(
        (taken.results[0].status(), taken.last_seq),
        (Status::Held, 1),
        "its seq was consumed"
    );
    stored(&append(&client, "two", taken.fence, on("s").says("2").seq(2)).await);
    assert_owned(&append(&client, "one", one, on("s").says("late").seq(2)).await, "two");
    // A writer that comes back takes nothing back.
    let back = open(&client, "one", &["s"], false).await;
    assert_eq!(back.results[0].owner_writer_id, "two");
    // Nor once nobody holds it: its fence is from before.
    let mut events = client.events.clone();
    let three = open(&client, "three", &["s"], true).await.fence;
    let none = v1::RenewWriterRequest {
        writer_id: "three".into(),
        fence: three,
        ..v1::RenewWriterRequest::default()
    };
    events.renew_writer(none).await.unwrap();
    let late = append(&client, "one", back.fence, on("s").says("late").seq(3)).await;
    assert_eq!(rejected(&late).reason(), ErrorReason::Fenced);
    let renewed = open(&client, "one", &["s"], false).await;
    assert_eq!(
        (renewed.results[0].status(), renewed.last_seq),
        (Status::Held, 2),
        "no seq was consumed"
    );
    stored(&append(&client, "one", renewed.fence, on("s").says("3").seq(3)).await);
    let said: Vec<String> = client
        .history(vec![all(v1::Detail::Content)])
        .await
        .iter()
        .map(bellboard_tests::events::text)
        .collect();
    assert_eq!(said[1..], ["1", "2", "3"], "nothing of a stale writer's is stored");
}

#[tokio::test]
async fn a_killed_hub_knows_who_holds_what_and_gives_them_time() {
    let data = DataDir::new();
    let hub = data.start().await;
    let fence = open(&hub.client(), "w", &["s"], false).await.fence;
    stored(&append(&hub.client(), "w", fence, on("s").says("1").seq(1)).await);
    hub.kill().await;

    let hub = data.start().await;
    let client = hub.client();
    assert_eq!(owner_id(&client, "s").await, "w");
    assert_owned(&client.try_append(vec![on("s").says("x")]).await.unwrap()[0], "w");
    let other = open(&client, "other", &["s"], false).await;
    assert_eq!(other.results[0].owner_writer_id, "w", "it did not have its time yet");
    let mut stream = Publication::open(&client, "w", fence).await;
    stored(&stream.append(on("s").says("2").seq(2)).await);
    let until = owner(&client, "s").await.and_then(|owner| owner.lease_expire_time);
    assert!(until.is_some(), "its lease was renewed");
}

#[tokio::test]
async fn a_revoked_key_ends_its_writers_stream_and_another_may_take_over() {
    let data = DataDir::new();
    let hub = data.start().await;
    let somebody = crate::identity::stranger(&data, &hub, "default").await;
    let fence = open(&somebody, "w", &["s"], false).await.fence;
    let mut stream = Publication::open(&somebody, "w", fence).await;
    stored(&stream.append(on("s").says("1").seq(1)).await);
    let listed = cli(&data, &["key", "list"]).await;
    let id = listed
        .lines()
        .find(|line| line.contains("somebody"))
        .and_then(|line| line.split_whitespace().next());
    cli(&data, &["key", "revoke", id.expect("the key's id")]).await;
    match stream.next().await {
        Some(Down::Closing(closing)) => assert_eq!(closing.reason(), ClosingReason::PermissionRevoked),
        other => panic!("expected closing, got {other:?}"),
    }
    let client = hub.client();
    assert_owned(&client.try_append(vec![on("s").says("x")]).await.unwrap()[0], "w");
    let taken = open(&client, "other", &["s"], true).await;
    assert_eq!(taken.results[0].status(), Status::Held);
    stored(&append(&client, "other", taken.fence, on("s").says("2").seq(1)).await);
}

#[tokio::test]
async fn a_person_renames_a_session_that_a_writer_holds() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    open(&client, "w", &["s"], false).await;
    let facts = v1::SessionFacts {
        title: "by a person".into(),
        ..v1::SessionFacts::default()
    };
    let update = v1::UpdateSessionRequest {
        session: Some(v1::Session {
            session_id: "s".into(),
            facts: Some(facts),
            ..v1::Session::default()
        }),
        update_mask: None,
    };
    let renamed = Box::pin(within("the update", client.events.update_session(update)))
        .await
        .unwrap();
    assert_eq!(
        renamed.into_inner().session.unwrap().facts.unwrap().title,
        "by a person"
    );
    assert_eq!(owner_id(&client, "s").await, "w");
}
