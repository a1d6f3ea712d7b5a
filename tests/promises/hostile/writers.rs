//! Writers that write and do not read, write by drops, or never come to an end.

use bellboard_proto::v1::{
    self, publish_entry::Entry, publish_events_request::Frame as Sent, publish_events_response::Frame as Answer,
};
use bellboard_tests::events::on;
use bellboard_tests::metrics::{Metrics, SHOWN};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::raw::{APPEND, Messages, Opened, PUBLISH, Raw, framed};
use bellboard_tests::within;
use bytes::Bytes;
use tonic::Code;

use super::bystanders::Bystanders;

const MIB: usize = 1024 * 1024;

/// Opens a writer's stream by hand.
async fn publish(hub: &Process, raw: &mut Raw, writer: &str) -> (Opened, u64) {
    let mut client = hub.client();
    let open = v1::OpenWriterRequest {
        writer_id: writer.into(),
        ..v1::OpenWriterRequest::default()
    };
    let grant = client.events.open_writer(open).await.expect("a writer").into_inner();
    let head = raw.head(PUBLISH);
    let mut opened = raw.begin(head).await.expect("a call");
    let (writer_id, fence) = (writer.to_owned(), grant.fence);
    let open = Sent::Open(v1::PublishOpen { writer_id, fence });
    opened.send.send_data(framed(&sent(open)), false).expect("it is open");
    (opened, grant.last_seq)
}

fn sent(frame: Sent) -> v1::PublishEventsRequest {
    v1::PublishEventsRequest { frame: Some(frame) }
}

fn one(session: &str, seq: u64) -> Bytes {
    let append = on(session).completes("i", "x").seq(seq).0;
    let entry = v1::PublishEntry {
        entry: Some(Entry::Append(append)),
    };
    framed(&sent(Sent::Batch(v1::PublishBatch { entries: vec![entry] })))
}

/// Takes answers until so many events are acknowledged.
async fn acknowledged(answers: &mut Messages, count: u64) {
    let mut results = 0;
    while results < count {
        let answer: v1::PublishEventsResponse = answers.next().await.unwrap().expect("the stream goes on");
        if let Some(Answer::Acknowledged(acknowledged)) = answer.frame {
            for result in &acknowledged.results {
                bellboard_tests::client::stored(result);
            }
            results += acknowledged.results.len() as u64;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_does_not_read_its_answers_is_held_back_alone() {
    const EVENTS: u64 = 6000;
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let mut bystanders = Bystanders::of(&data, &hub, 2).await;
    let before = hub.resident_bytes();
    // Two writers of one connection, as behind a proxy.
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    let (mut deaf, _) = publish(&hub, &mut raw, "deaf").await;
    let (mut hears, _) = publish(&hub, &mut raw, "hears").await;
    for seq in 1..=EVENTS {
        // As HTTP/2 has them: each a DATA frame of less than 256 bytes.
        let event = one("deaf", seq);
        assert!(event.len() < 256);
        deaf.send.send_data(event, false).expect("it is open");
    }
    let stored = |metrics: &Metrics| metrics.get("appends_total{outcome=\"stored\"}");
    let mut last = -1.0;
    let held = hub.metrics_until("the hub to hold it back", |metrics| {
        let now = stored(metrics);
        let same = now == last && now > 100.0;
        last = now;
        same
    });
    held.await;
    let answer = within("the answer", hears.answer).await.expect("an answer");
    let mut answers = Messages::new(answer.into_body());
    for seq in 1..=20 {
        hears.send.send_data(one("hears", seq), false).expect("it is open");
        acknowledged(&mut answers, 1).await;
    }
    bystanders.unharmed(&hub).await;
    assert!(!raw.is_over());
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MIB, "the hub grew by {grown} bytes");
    assert!(stored(&hub.metrics().await) < EVENTS as f64, "it was to be held back");
    // And when it reads, all of it is stored.
    let answer = within("the answer", deaf.answer).await.expect("an answer");
    acknowledged(&mut Messages::new(answer.into_body()), EVENTS).await;
}

/// The head of a message of this length.
fn head_of(length: u32) -> Bytes {
    [&[0][..], &length.to_be_bytes()].concat().into()
}

#[tokio::test]
async fn a_message_that_is_longer_than_may_be_is_refused_by_its_head() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let mut bystanders = Bystanders::of(&data, &hub, 2).await;
    let before = hub.resident_bytes();
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    for length in [4 * MIB as u32 + 1, u32::MAX] {
        let head = raw.head(APPEND);
        let mut call = raw.begin(head).await.expect("a call");
        call.send.send_data(head_of(length), false).expect("it is open");
        let refused = call.first_message().await.expect_err("it is too long");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(crate::reset::reason(&refused), v1::ErrorReason::RequestTooLarge);
        let (mut call, _) = publish(&hub, &mut raw, "w").await;
        call.send.send_data(head_of(length), false).expect("it is open");
        let answer = within("the answer", call.answer).await.expect("an answer");
        let mut answers = Messages::new(answer.into_body());
        let refused = loop {
            match answers.next::<v1::PublishEventsResponse>().await {
                Ok(answer) => assert!(answer.is_some(), "it ended as if all was well"),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(crate::reset::reason(&refused), v1::ErrorReason::RequestTooLarge);
    }
    assert!(!raw.is_over(), "the connection is still good");
    bystanders.unharmed(&hub).await;
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "nothing was kept ready for it: {grown}");
}
