//! Readers that do not read: they hold a few bytes of the hub's, and nothing of anybody else's.

use bellboard_proto::v1::{self, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{fragment, from_now, on, session};
use bellboard_tests::metrics::{Metrics, SHOWN};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::raw::{Messages, Raw, SUBSCRIBE};

use super::bystanders::Bystanders;
use crate::live::Publisher;

const MIB: usize = 1024 * 1024;
/// What one reader that stalls may hold: the buffer of its stream, and a frame on its way from the store to there, twice.
const STALLED_BYTES: usize = 64 * 1024 + 2 * 256 * 1024;
/// What the hub itself may grow by meanwhile: its window, its database's caches, and what its allocator keeps.
const SLACK_BYTES: usize = 12 * MIB;

/// The flags of a hub that keeps little in memory by itself, and soon knows who is gone.
fn flags() -> Vec<&'static str> {
    [&SHOWN[..], &["--window-bytes", "1MiB", "--keepalive=1s"]].concat()
}

/// Expects that the hub did not grow by more than this, and that its window is what it may be.
async fn assert_small(hub: &Process, before: usize, most: usize) {
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < most, "the hub grew by {grown} bytes, above {most}");
    let window = hub.metrics().await.get("window_bytes");
    assert!(window <= (2 * MIB) as f64, "the window holds {window} bytes");
}

/// A log of this many events, each of so many bytes.
async fn fill(client: &Client, events: usize, bytes: usize) {
    for number in 0..events {
        let text = "x".repeat(bytes);
        client
            .append(vec![on("long").completes(&format!("item-{number}"), &text)])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_stalled_of_two_hundred_cost_the_others_nothing() {
    let data = DataDir::new();
    let hub = data.start_with(&flags()).await;
    let client = hub.client();
    let mut bystanders = Bystanders::of(&data, &hub, 178).await;
    let request = from_now(vec![session("long", v1::Detail::Content)]);
    let mut healthy = Vec::new();
    for _ in 0..2 {
        healthy.push(hub.client().subscribe(request.clone()).await);
    }
    // Ten take nothing more of their stream, and go on answering pings; ten do not even read their socket.
    let (mut paused, mut frozen) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let mut raw = Raw::connect(&hub, 1 << 20).await;
        let stream = Messages::new(raw.stream(SUBSCRIBE, &request).await);
        paused.push((raw, stream));
        let mut raw = Raw::connect(&hub, 1 << 20).await;
        let stream = raw.stream(SUBSCRIBE, &request).await;
        raw.freeze();
        frozen.push((raw, stream));
    }
    let before = hub.resident_bytes();
    fill(&client, 100, 100_000).await;
    for stream in &mut healthy {
        assert_eq!(stream.events(101).await.len(), 101, "who reads receives everything");
    }
    bystanders.unharmed(&hub).await;
    assert_small(&hub, before, 20 * STALLED_BYTES + SLACK_BYTES).await;

    // Who does not answer is gone; who only reads nothing is still there, and loses nothing.
    let gone = |metrics: &Metrics| {
        let cut = ["stuck", "broken"].map(|why| metrics.get(&format!("connections_cut_total{{reason=\"{why}\"}}")));
        cut[0] + cut[1] == 10.0 && metrics.get("streams_open{kind=\"subscription\"}") == 190.0
    };
    hub.metrics_until("those who do not answer to be gone", gone).await;
    bystanders.unharmed(&hub).await;
    for (_, stream) in &mut paused {
        let mut events = 0;
        while events < 101 {
            let response: v1::SubscribeResponse = stream.next().await.unwrap().expect("the stream goes on");
            if let Some(Frame::Events(batch)) = response.frame {
                events += batch.events.len();
            }
        }
    }
}

/// Takes frames until all of the text has come, and returns how many frames that took, and how small they were.
async fn take_text(stream: &mut Messages, so_far: &mut String, length: usize) -> Vec<usize> {
    use prost::Message as _;
    let mut sizes = Vec::new();
    while so_far.len() < length {
        let response: v1::SubscribeResponse = stream.next().await.unwrap().expect("the stream goes on");
        sizes.push(response.encoded_len());
        match response.frame {
            Some(Frame::Deltas(deltas)) => {
                for delta in deltas.deltas {
                    let Some(v1::delta::Fragment::MessageText(text)) = delta.fragment else {
                        panic!("no text")
                    };
                    if delta.at == so_far.len() as u64 {
                        *so_far += &text;
                    }
                }
            }
            Some(Frame::ItemText(whole)) => {
                if let Some(v1::item_text::State::MessageText(text)) = whole.state {
                    *so_far = text;
                }
            }
            _ => {}
        }
    }
    sizes
}

#[tokio::test]
async fn a_paused_reader_of_small_frames_ends_neither_its_connection_nor_the_streams_beside_it() {
    // More frames than its window takes.
    const DELTAS: usize = 1000;
    let data = DataDir::new();
    let hub = data.start_with(&flags()).await;
    let client = hub.client();
    let mut writer = Publisher::open(&client, "w").await;
    writer.append(on("s").starts("item")).await;
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    let request = from_now(vec![session("s", v1::Detail::Live)]);
    let mut paused = Messages::new(raw.stream(SUBSCRIBE, &request).await);
    let mut reads = Messages::new(raw.stream(SUBSCRIBE, &request).await);
    let mut beside = client.subscribe(request.clone()).await;
    beside.caught_up().await;
    let before = hub.resident_bytes();
    let (mut so_far, mut small) = (String::new(), 0);
    for at in 0..DELTAS {
        writer.delta(fragment("s", "item", at, "x")).await;
        // One by one, so that each is a frame of its own.
        let sizes = take_text(&mut reads, &mut so_far, at + 1).await;
        small += sizes.iter().filter(|size| **size < 256 - 5).count();
    }
    assert!(
        small * 120 > 64 * 1024,
        "they were to be small, and more than fit: {small}"
    );
    assert!(!raw.is_over(), "the connection lives");
    writer.append(on("s").completes("item", &so_far)).await;
    assert_eq!(beside.events(1).await[0].item_id, "item");
    assert_small(&hub, before, SLACK_BYTES).await;
    // Who reads again has lost nothing that lasts.
    let mut completed = false;
    while !completed {
        let response: v1::SubscribeResponse = paused.next().await.unwrap().expect("the stream goes on");
        if let Some(Frame::Events(batch)) = response.frame {
            completed = batch
                .events
                .iter()
                .any(|event| bellboard_tests::events::text(event) == so_far);
        }
    }
}
