//! Permission comes before existence: nobody learns what they may not ask for.

use bellboard_proto::v1::{self, ErrorReason};
use bellboard_tests::client::Client;
use bellboard_tests::events::{by_id, from_start, on, session};
use bellboard_tests::process::{DataDir, cli};
use tonic::{Code, Status};

use crate::limits::{batch, create, expect, publish};

/// A method, and how it refused a key without its scope.
type Refusal = (&'static str, Status);

/// Every method that reads, on a session of this name.
async fn refused_reads(mut client: Client, name: &str) -> Vec<Refusal> {
    let subscribe = from_start(vec![session(name, v1::Detail::Live)]);
    let get = v1::GetSessionRequest {
        session: Some(by_id(name)),
    };
    let list_sessions = v1::ListSessionsRequest {
        parent_session_id: name.to_owned(),
        ..v1::ListSessionsRequest::default()
    };
    let list_events = v1::ListEventsRequest {
        interests: vec![session(name, v1::Detail::Content)],
        ..v1::ListEventsRequest::default()
    };
    let subscribed = client.try_subscribe(subscribe).await.map(drop);
    let got = client.events.get_session(get).await.map(drop);
    let sessions = client.events.list_sessions(list_sessions).await.map(drop);
    let events = client.events.list_events(list_events).await.map(drop);
    refusals(vec![
        ("Subscribe", subscribed),
        ("GetSession", got),
        ("ListSessions", sessions),
        ("ListEvents", events),
    ])
}

/// Every method that writes, on a session of this name.
async fn refused_writes(mut client: Client, name: &str) -> Vec<Refusal> {
    let creation = v1::CreateSessionRequest {
        session_id: name.to_owned(),
        ..v1::CreateSessionRequest::default()
    };
    let row = v1::Session {
        session_id: name.to_owned(),
        ..v1::Session::default()
    };
    let update = v1::UpdateSessionRequest {
        session: Some(row),
        update_mask: None,
    };
    let wanted = v1::WriterSession {
        session: Some(by_id(name)),
        ..v1::WriterSession::default()
    };
    let open = v1::OpenWriterRequest {
        writer_id: "w".into(),
        sessions: vec![wanted.clone()],
        ..v1::OpenWriterRequest::default()
    };
    let renew = v1::RenewWriterRequest {
        writer_id: "w".into(),
        sessions: vec![wanted],
        ..v1::RenewWriterRequest::default()
    };
    let created = create(&mut client, creation).await.map(drop);
    let updated = client.events.update_session(update).await.map(drop);
    let appended = client.try_append(vec![on(name).says("x")]).await.map(drop);
    let frames = vec![batch(vec![on(name).says("x").seq(1)])];
    let published = publish(&mut client, frames).await.map(drop);
    let opened = client.events.open_writer(open).await.map(drop);
    let renewed = client.events.renew_writer(renew).await.map(drop);
    refusals(vec![
        ("CreateSession", created),
        ("UpdateSession", updated),
        ("AppendEvents", appended),
        ("PublishEvents", published),
        ("OpenWriter", opened),
        ("RenewWriter", renewed),
    ])
}

fn refusals(answers: Vec<(&'static str, Result<(), Status>)>) -> Vec<Refusal> {
    let refused = |(method, answer): (_, Result<(), Status>)| (method, answer.expect_err(method));
    answers.into_iter().map(refused).collect()
}

#[tokio::test]
async fn without_the_scope_a_session_that_exists_is_as_unknown_as_one_that_does_not() {
    let data = DataDir::new();
    let (read, publish) = (key(&data, "read").await, key(&data, "publish").await);
    let hub = data.start().await;
    hub.client().say("there", "hello").await;
    let mut reader = Client::new(&hub.url, Some(&read));
    let writer = Client::new(&hub.url, Some(&publish));
    for name in ["there", "nowhere"] {
        let reads = refused_reads(writer.clone(), name).await;
        let writes = refused_writes(reader.clone(), name).await;
        for (refusals, scope) in [(reads, "read"), (writes, "publish")] {
            for (method, refused) in refusals {
                let told = [("scope", scope)];
                expect(&refused, Code::PermissionDenied, ErrorReason::ScopeMissing, &told);
                assert!(!refused.message().contains(name), "{method}: {}", refused.message());
            }
        }
    }
    let get = |name: &str| v1::GetSessionRequest {
        session: Some(by_id(name)),
    };
    reader
        .events
        .get_session(get("there"))
        .await
        .expect("with the scope it is found");
    let missing = reader
        .events
        .get_session(get("nowhere"))
        .await
        .expect_err("nobody made it");
    let told = [("session_id", "nowhere")];
    expect(&missing, Code::NotFound, ErrorReason::SessionNotFound, &told);
}

async fn key(data: &DataDir, scope: &str) -> String {
    let printed = cli(data, &["key", "create", "--principal", scope, "--scope", scope]).await;
    let key = printed.split_whitespace().find(|word| word.starts_with("bbk_"));
    key.expect("the key").to_owned()
}
