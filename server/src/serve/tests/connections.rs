//! Connections that never say anything, or never anything more.

use bellboard_core::limits;

use super::*;

/// HTTP/2's preface, and empty SETTINGS behind it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Says this and then nothing. Returns how much time had passed when the hub ended the connection.
async fn ended_after(house: &House, words: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(house.running.local_addr).await.unwrap();
    stream.write_all(words).await.unwrap();
    let begin = house.clock.elapsed();
    let mut answer = Vec::new();
    let step = Duration::from_millis(500);
    // However it ends: with its last words, or at once.
    let _ = soon(while_time_passes(&house.clock, step, stream.read_to_end(&mut answer))).await;
    house.clock.elapsed() - begin
}

#[tokio::test]
async fn a_connection_that_says_too_little_is_ended() {
    let house = house().await;
    for (words, least) in [
        (&b""[..], limits::HANDSHAKE_MAX),
        (b"P", limits::HANDSHAKE_MAX),
        (&PREFACE[..23], limits::HANDSHAKE_MAX),
        (
            b"POST /bellboard.v1.SubscribeService/Subscribe HTTP/1.1\r\nHo",
            limits::REQUEST_HEAD_MAX,
        ),
    ] {
        assert!(
            ended_after(&house, words).await >= least,
            "{words:?} was given its time"
        );
    }
    house.running.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_vanished_is_noticed_by_its_pings() {
    let house = house().await;
    let took = ended_after(&house, PREFACE).await;
    assert!(
        took >= limits::KEEPALIVE_DEFAULT * 2,
        "it was given time to answer: {took:?}"
    );
    house.running.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_does_not_agree_on_tls_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = TlsFiles {
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    std::fs::write(&tls.certificate, own.cert.pem()).unwrap();
    std::fs::write(&tls.key, own.signing_key.serialize_pem()).unwrap();
    let settings = Settings {
        tls: Some(tls),
        ..settings(&dir)
    };
    let house = house_with(settings, dir).await;
    // The head of a record of 16 KiB that never comes.
    for silent in [&b"\x16"[..], b"\x16\x03\x01\x40\x00"] {
        assert!(ended_after(&house, silent).await >= limits::HANDSHAKE_MAX);
    }
    // What is not TLS need not be waited for: time stands still.
    let mut garbage = TcpStream::connect(house.running.local_addr).await.unwrap();
    garbage.write_all(&[0xff; 100]).await.unwrap();
    let _ = soon(garbage.read_to_end(&mut Vec::new())).await;
    house.running.shutdown().await;
}
