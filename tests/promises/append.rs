//! What is acknowledged is stored, once.

use bellboard_proto::v1::{self, ErrorReason, append_result::Outcome, event::Payload};
use bellboard_tests::client::stored;
use bellboard_tests::events::{all, by_id, from_now, on, on_key, text};
use bellboard_tests::process::DataDir;
use bellboard_tests::within;
use tonic::Code;

use crate::reset::reason;

fn duplicate(result: &v1::AppendResult) -> Option<u64> {
    match &result.outcome {
        Some(Outcome::Duplicate(duplicate)) => duplicate.offset,
        other => panic!("expected a duplicate, got {other:?}"),
    }
}

fn rejected(result: &v1::AppendResult) -> (ErrorReason, &str) {
    match &result.outcome {
        Some(Outcome::Rejected(rejected)) => (rejected.reason(), rejected.field.as_str()),
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[tokio::test]
async fn k_11_an_append_that_is_sent_again_is_stored_once() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let by_id = || on("s").says("by id").id("event-1");
    let by_key = || on("s").says("by key").dedupe("fact-1");
    let first = client.append(vec![by_id(), by_key()]).await;
    let again = client.try_append(vec![by_id(), by_key()]).await.unwrap();
    assert_eq!(
        again.iter().map(duplicate).collect::<Vec<_>>(),
        first.iter().copied().map(Some).collect::<Vec<_>>()
    );

    let (one, other) = (hub.client(), hub.client());
    let racing = || vec![on("s").says("racing").dedupe("fact-2")];
    let (one, other) = tokio::join!(one.try_append(racing()), other.try_append(racing()));
    let outcomes = [one.unwrap().remove(0), other.unwrap().remove(0)];
    let stored = outcomes
        .iter()
        .filter(|result| matches!(result.outcome, Some(Outcome::Stored(_))))
        .count();
    assert_eq!(stored, 1, "two streams, one event: {outcomes:?}");
    assert_eq!(client.history(vec![all(v1::Detail::Content)]).await.len(), 4);
}

#[tokio::test]
async fn a_writer_counts_its_appends_over_its_whole_life() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let open = v1::OpenWriterRequest {
        writer_id: "w".into(),
        ..v1::OpenWriterRequest::default()
    };
    let first = client.events.open_writer(open.clone()).await.unwrap().into_inner();
    assert_eq!(first.last_seq, 0);
    let with = |fence, appends: Vec<bellboard_tests::events::Append>| v1::AppendEventsRequest {
        writer_id: "w".into(),
        fence,
        appends: appends.into_iter().map(|append| append.0).collect(),
    };
    let bad = on("s")
        .with(Payload::AttentionRaised(v1::AttentionRaised::default()))
        .seq(2);
    let batch = with(
        first.fence,
        vec![
            on("s").says("1").seq(1),
            bad,
            on("s").says("3").seq(3),
            on("s").says("5").seq(5),
        ],
    );
    let results = client
        .events
        .append_events(batch.clone())
        .await
        .unwrap()
        .into_inner()
        .results;
    stored(&results[0]);
    assert_eq!(
        rejected(&results[1]).0,
        ErrorReason::PayloadReserved,
        "a rejected event consumes its seq"
    );
    stored(&results[2]);
    assert_eq!(rejected(&results[3]).0, ErrorReason::SeqGap);
    hub.kill().await;

    let hub = data.start().await;
    let mut client = hub.client();
    let second = client.events.open_writer(open).await.unwrap().into_inner();
    assert_eq!(second.last_seq, 3, "kept for ever, across fences and processes");
    assert!(second.fence > first.fence);
    let stale = client
        .events
        .append_events(with(first.fence, vec![on("s").says("4").seq(4)]))
        .await
        .expect_err("a stale fence");
    assert_eq!(
        (stale.code(), reason(&stale)),
        (Code::FailedPrecondition, ErrorReason::Fenced)
    );
    let again = client
        .events
        .append_events(v1::AppendEventsRequest {
            fence: second.fence,
            ..batch
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        duplicate(&again.results[0]),
        Some(stored(&results[0])),
        "a duplicate names the first one's place"
    );
}

#[tokio::test]
async fn k_17_two_concurrent_creates_open_a_session_once() {
    let data = DataDir::new();
    let hub = data.start().await;
    let (mut one, mut other) = (hub.client(), hub.client());
    let create = || v1::CreateSessionRequest {
        session_id: "s".into(),
        ..v1::CreateSessionRequest::default()
    };
    let (one_answer, other_answer) = tokio::join!(
        one.events.create_session(create()),
        other.events.create_session(create())
    );
    let created = [
        one_answer.unwrap().into_inner().created,
        other_answer.unwrap().into_inner().created,
    ];
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    let history = one.history(vec![all(v1::Detail::Content)]).await;
    let opened = history
        .iter()
        .filter(|event| matches!(event.payload, Some(Payload::SessionOpened(_))))
        .count();
    assert_eq!((history.len(), opened), (1, 1));
}

#[tokio::test]
async fn k_14_a_change_reaches_subscribers_whoever_made_it() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let mut stream = client.subscribe(from_now(vec![all(v1::Detail::Summary)])).await;
    stream.caught_up().await;
    let create = v1::CreateSessionRequest {
        session_id: "s".into(),
        ..v1::CreateSessionRequest::default()
    };
    client.events.create_session(create).await.unwrap();
    let facts = v1::SessionFacts {
        title: "new".into(),
        ..v1::SessionFacts::default()
    };
    let session = v1::Session {
        session_id: "s".into(),
        facts: Some(facts),
        ..v1::Session::default()
    };
    let update = v1::UpdateSessionRequest {
        session: Some(session),
        update_mask: None,
    };
    client.events.update_session(update.clone()).await.unwrap();
    let answer = client.events.update_session(update).await.unwrap().into_inner();
    assert_eq!(answer.session.unwrap().facts.unwrap().title, "new");
    client.append(vec![on("s").closes()]).await;
    let kinds: Vec<_> = stream
        .events(3)
        .await
        .into_iter()
        .filter_map(|event| event.payload)
        .collect();
    assert!(matches!(kinds[0], Payload::SessionOpened(_)));
    assert!(
        matches!(kinds[1], Payload::SessionUpdated(_)),
        "an equal update writes nothing"
    );
    assert!(matches!(kinds[2], Payload::SessionClosed(_)));
}

#[tokio::test]
async fn one_bad_append_never_fails_its_neighbours() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let huge = on("s").says(&"x".repeat(300 * 1024));
    let nameless = bellboard_tests::events::Append(v1::EventAppend {
        session: None,
        ..on("s").says("x").0
    });
    let bad_id = on("not an id").says("x");
    let empty = bellboard_tests::events::Append(v1::EventAppend {
        event: None,
        ..on("s").0
    });
    let results = client
        .try_append(vec![
            on("s").says("a"),
            huge,
            nameless,
            bad_id,
            empty,
            on("s").says("b"),
        ])
        .await
        .unwrap();
    stored(&results[0]);
    assert_eq!(rejected(&results[1]), (ErrorReason::EventTooLarge, "event"));
    assert_eq!(rejected(&results[2]), (ErrorReason::InvalidField, "session"));
    assert_eq!(rejected(&results[3]), (ErrorReason::InvalidField, "session.session_id"));
    assert_eq!(rejected(&results[4]).0, ErrorReason::PayloadMissing);
    stored(&results[5]);
}

#[tokio::test]
async fn an_event_of_256_kib_goes_through_whole() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let long = "é".repeat(100 * 1024);
    client
        .append(vec![on("s").completes("i", &long).raw(&[7; 200 * 1024])])
        .await;
    let history = client.history(vec![all(v1::Detail::Content)]).await;
    assert_eq!(text(&history[1]), long);
}

#[tokio::test]
async fn raw_bytes_are_given_only_to_those_who_ask() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.append(vec![on("s").says("a").raw(b"{\"raw\": true}")]).await;
    for include_raw in [false, true] {
        let request = v1::ListEventsRequest {
            include_raw,
            ..v1::ListEventsRequest::default()
        };
        let page = client.events.clone().list_events(request).await.unwrap().into_inner();
        let raws: Vec<_> = page
            .raws
            .iter()
            .map(|raw| (raw.offset, raw.raw.clone().unwrap().content))
            .collect();
        assert_eq!(
            raws,
            if include_raw {
                vec![(1, b"{\"raw\": true}".to_vec().into())]
            } else {
                vec![]
            }
        );
    }
    let request = v1::SubscribeRequest {
        include_raw: true,
        ..bellboard_tests::events::from_start(vec![all(v1::Detail::Content)])
    };
    let mut stream = client.subscribe(request).await;
    let raws = stream.until("the batch with the raw record", |frame| match frame {
        v1::subscribe_response::Frame::Events(batch) => Some(batch.raws.len()),
        _ => None,
    });
    assert_eq!(raws.await, 1);
}

#[tokio::test]
async fn a_writers_stream_is_pipelined_and_answers_in_order() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let open = v1::OpenWriterRequest {
        writer_id: "w".into(),
        ..v1::OpenWriterRequest::default()
    };
    let fence = client.events.open_writer(open).await.unwrap().into_inner().fence;
    let frame = |frame| v1::PublishEventsRequest { frame: Some(frame) };
    let mut frames = vec![frame(v1::publish_events_request::Frame::Open(v1::PublishOpen {
        writer_id: "w".into(),
        fence,
    }))];
    for batch in 0..50u64 {
        let entry = |seq| v1::PublishEntry {
            entry: Some(v1::publish_entry::Entry::Append(
                on_key("v", "/p", "n").says(&format!("{seq}")).seq(seq).0,
            )),
        };
        let entries = (batch * 10 + 1..=batch * 10 + 10).map(entry).collect();
        frames.push(frame(v1::publish_events_request::Frame::Batch(v1::PublishBatch {
            entries,
        })));
    }
    let mut answers = client
        .events
        .publish_events(tokio_stream::iter(frames))
        .await
        .unwrap()
        .into_inner();
    let mut seqs = Vec::new();
    while let Some(answer) = within("an answer of PublishEvents", answers.message()).await.unwrap() {
        if let Some(v1::publish_events_response::Frame::Acknowledged(acknowledged)) = answer.frame {
            acknowledged.results.iter().for_each(|result| {
                stored(result);
            });
            seqs.extend(acknowledged.results.into_iter().map(|result| result.seq));
        }
    }
    assert_eq!(
        seqs,
        (1..=500).collect::<Vec<_>>(),
        "each once, in the order sent, and then the end"
    );
    assert_eq!(client.history(vec![all(v1::Detail::Content)]).await.len(), 501);
}

#[tokio::test]
async fn a_child_may_come_before_its_parent() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    client
        .append(vec![on("child").opens_below("parent"), on("child").says("hello")])
        .await;
    let get = v1::GetSessionRequest {
        session: Some(by_id("child")),
    };
    let child = client
        .events
        .get_session(get)
        .await
        .unwrap()
        .into_inner()
        .session
        .unwrap();
    assert_eq!(
        (child.parent_session_id.as_str(), child.root_session_id.as_str()),
        ("parent", "parent")
    );
    let history = client
        .history(vec![bellboard_tests::events::subtree("parent", v1::Detail::Content)])
        .await;
    assert_eq!(history.len(), 3, "the parent's opening, the child's, and what it says");
}
