//! Heads without end, and frames that cost nothing to send: refused or ended, in a few KiB.

use bellboard_tests::bare::{Bare, END_HEADERS, Kind, frame, lines};
use bellboard_tests::metrics::{Metrics, SHOWN};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::raw::{APPEND, Raw};
use bellboard_tests::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::bystanders::Bystanders;

const MIB: usize = 1024 * 1024;
/// Far more than any of it may be.
const ENDLESS: usize = 32 * MIB;

/// The head of a call, but for what comes last.
fn head(hub: &Process) -> Vec<u8> {
    lines(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", hub.url.trim_start_matches("http://")),
        (":path", APPEND),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_its_connection_goes_on() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let mut bystanders = Bystanders::of(&data, &hub, 2).await;
    let before = hub.resident_bytes();
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    for number in 0..20 {
        let mut head = raw.head(APPEND);
        let large = "x".repeat(17 * 1024).parse().unwrap();
        head.headers_mut().insert("x-large", large);
        let call = raw
            .begin(head)
            .await
            .unwrap_or_else(|error| panic!("{number}: {error}"));
        let answer = within("the answer", call.answer).await.expect("an answer");
        assert_eq!(answer.status(), 431, "{answer:?}");
    }
    let listed = raw.ask("/bellboard.v1.SessionEventsService/ListSessions", &[]).await;
    listed.expect("the same connection is still good");
    bystanders.unharmed(&hub).await;
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "the hub grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_cost_nothing_to_send_cost_the_hub_a_few_kib() {
    let data = DataDir::new();
    let flags = [&SHOWN[..], &["--keepalive=1s"]].concat();
    let hub = data.start_with(&flags).await;
    let mut bystanders = Bystanders::of(&data, &hub, 2).await;
    let block = head(&hub);
    let line = lines(&[("x-more", &"x".repeat(1000))]);
    let begun = frame(Kind::Headers, END_HEADERS, 1, &block);
    let headless = frame(Kind::Headers, 0, 1, &block);
    let many = |one: Vec<u8>| one.repeat(16 * 1024 / one.len());
    for (name, first, again) in [
        (
            "questions that nobody waits for",
            vec![],
            many(frame(Kind::Ping, 0, 0, b"whatsay?")),
        ),
        ("wishes", vec![], many(frame(Kind::Settings, 0, 0, &[]))),
        (
            "a head that never ends",
            headless.clone(),
            many(frame(Kind::Continuation, 0, 1, &line)),
        ),
        (
            "a head that never ends, of nothing",
            headless,
            many(frame(Kind::Continuation, 0, 1, &[])),
        ),
        (
            "empty pieces of a request",
            begun.clone(),
            many(frame(Kind::Data, 0, 1, &[])),
        ),
        (
            "no room at all",
            begun.clone(),
            many(frame(Kind::WindowUpdate, 0, 1, &[0; 4])),
        ),
        (
            "the end of calls that never were",
            vec![],
            many(frame(Kind::Reset, 0, 7, &[0, 0, 0, 8])),
        ),
    ] {
        let before = hub.resident_bytes();
        let mut bare = Bare::connect(&hub).await;
        bare.send(&first).await.expect("the hub takes it");
        let taken = bare.flood(&again, ENDLESS).await;
        let grown = hub.resident_bytes().saturating_sub(before);
        println!("{name}: {taken} bytes taken, grown by {grown}");
        assert!(taken < ENDLESS, "{name}: the hub takes it for ever");
        assert!(grown < 8 * MIB, "{name}: the hub grew by {grown} bytes");
        bare.over().await;
        bystanders.unharmed(&hub).await;
    }
    let gone = |metrics: &Metrics| metrics.get("connections_open") <= 3.0;
    hub.metrics_until("their connections to be gone", gone).await;
}

#[tokio::test]
async fn a_head_over_http_1_has_an_end_too() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let mut bystanders = Bystanders::of(&data, &hub, 2).await;
    let address = hub.url.trim_start_matches("http://");
    let begin = format!("POST {APPEND} HTTP/1.1\r\nHost: localhost\r\n");
    let long = format!("X-Long: {}\r\n", "x".repeat(100 * 1024));
    let many: String = (0..200).map(|number| format!("X-{number}: x\r\n")).collect();
    for (name, rest) in [("a long line", long), ("many lines", many)] {
        let before = hub.resident_bytes();
        let mut socket = TcpStream::connect(address).await.unwrap();
        // The hub may end it before all is said.
        let _ = socket.write_all(format!("{begin}{rest}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = within("the end", socket.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{name}: {answer}"
        );
        let grown = hub.resident_bytes().saturating_sub(before);
        assert!(grown < 4 * MIB, "{name}: the hub grew by {grown} bytes");
    }
    bystanders.unharmed(&hub).await;
}
