//! The door, on every wire and before every method: a web page of another site gets nothing, whatever it brings.

use std::collections::BTreeSet;

use bellboard_proto::v1::ErrorReason;
use bellboard_tests::contract::{self, methods};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::raw::Raw;
use bellboard_tests::within;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::reset::reason;

const HEALTH: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// What is nobody's.
const UNKNOWN: [&str; 3] = ["/", "/metrics", "/bellboard.v1.NoSuchService/NoSuchMethod"];

/// How a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// gRPC over HTTP/2 without TLS.
    H2c,
    /// grpc-web over HTTP/2.
    WebOverH2,
    /// grpc-web over HTTP/1.1, as browsers send it to a hub without TLS.
    Web,
    /// The same in base64.
    WebText,
    /// gRPC's own content type over HTTP/1.1, which is no gRPC.
    Http1,
}

const WIRES: [Wire; 5] = [Wire::H2c, Wire::WebOverH2, Wire::Web, Wire::WebText, Wire::Http1];

impl Wire {
    const fn content_type(self) -> &'static str {
        match self {
            Wire::H2c | Wire::Http1 => "application/grpc",
            Wire::WebOverH2 | Wire::Web => "application/grpc-web+proto",
            Wire::WebText => "application/grpc-web-text+proto",
        }
    }
}

/// What a request names, and with which key it comes.
#[derive(Clone, Debug)]
struct Caller {
    authority: String,
    host: Option<&'static str>,
    origin: Option<String>,
    key: Option<String>,
}

/// What came back, before anything of a body: the status of HTTP, and gRPC's where there is one.
async fn knock(hub: &Process, wire: Wire, path: &str, caller: &Caller) -> (u16, Option<Status>) {
    match wire {
        Wire::H2c | Wire::WebOverH2 => over_h2(hub, wire, path, caller).await,
        Wire::Web | Wire::WebText | Wire::Http1 => over_http1(hub, wire, path, caller).await,
    }
}

async fn over_h2(hub: &Process, wire: Wire, path: &str, caller: &Caller) -> (u16, Option<Status>) {
    let mut raw = Raw::connect(hub, 1 << 20).await;
    let mut head = Request::builder()
        .method("POST")
        .version(http::Version::HTTP_2)
        .uri(format!("http://{}{path}", caller.authority))
        .header("content-type", wire.content_type())
        .header("te", "trailers");
    for (name, value) in [
        ("host", caller.host.map(str::to_owned)),
        ("origin", caller.origin.clone()),
    ] {
        if let Some(value) = value {
            head = head.header(name, value);
        }
    }
    if let Some(key) = &caller.key {
        head = head.header("authorization", format!("Bearer {key}"));
    }
    let mut opened = raw.begin(head.body(()).unwrap()).await.expect("a call");
    let _ = opened.send.send_data(Bytes::from_static(&[0; 5]), true);
    let answer = within("the answer", opened.answer).await.expect("an answer");
    (answer.status().as_u16(), Status::from_header_map(answer.headers()))
}

async fn over_http1(hub: &Process, wire: Wire, path: &str, caller: &Caller) -> (u16, Option<Status>) {
    let address = hub.url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.expect("the hub's port");
    let body: &[u8] = if wire == Wire::WebText { b"AAAAAAA=" } else { &[0; 5] };
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nX-Grpc-Web: 1\r\n",
        caller.host.unwrap_or(&caller.authority),
        wire.content_type(),
        body.len()
    );
    if let Some(origin) = &caller.origin {
        head += &format!("Origin: {origin}\r\n");
    }
    if let Some(key) = &caller.key {
        head += &format!("Authorization: Bearer {key}\r\n");
    }
    head += "\r\n";
    socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut come = Vec::new();
    // A head is enough: a stream that is taken never ends by itself.
    while !come.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = within("the answer's head", socket.read_buf(&mut come)).await.unwrap();
        assert!(read > 0, "no whole head: {}", String::from_utf8_lossy(&come));
    }
    let text = String::from_utf8_lossy(&come);
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .expect("a status line");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name: http::HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    (status.parse().unwrap(), Status::from_header_map(&headers))
}

/// Every path that there is.
fn paths() -> Vec<String> {
    let known = methods().iter().map(contract::path).collect::<Vec<_>>();
    assert!(known.len() >= 30, "the contract has more methods: {}", known.len());
    let beside = [&HEALTH[..], &REFLECTION, &UNKNOWN].concat();
    known.into_iter().chain(beside.into_iter().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_rebound_name_and_a_foreign_page_are_refused_on_every_wire_before_every_method() {
    let data = DataDir::new();
    let hub = data.start().await;
    let own = hub.url.trim_start_matches("http://").to_owned();
    let port = own.rsplit(':').next().unwrap().to_owned();
    let good = Caller {
        authority: own,
        host: None,
        origin: None,
        key: Some(hub.key()),
    };
    let host = |name: &'static str| Caller {
        authority: name.to_owned(),
        ..good.clone()
    };
    let origin = |origin: String| Caller {
        origin: Some(origin),
        ..good.clone()
    };
    // The page's own name was pointed at this machine after it was loaded; or it calls this machine from where it is.
    let callers = [
        (host("evil.example"), ErrorReason::HostRefused),
        (host("localhost.evil.example"), ErrorReason::HostRefused),
        (
            Caller {
                host: Some("evil.example"),
                ..good.clone()
            },
            ErrorReason::HostRefused,
        ),
        (origin("https://evil.example".into()), ErrorReason::OriginRefused),
        (origin("null".into()), ErrorReason::OriginRefused),
        (
            origin(format!("http://evil.example:{port}")),
            ErrorReason::OriginRefused,
        ),
        (origin("http://localhost:1".into()), ErrorReason::OriginRefused),
    ];
    let mut words = BTreeSet::new();
    for path in paths() {
        for wire in WIRES {
            for (caller, why) in &callers {
                let (http, status) = knock(&hub, wire, &path, caller).await;
                let named = format!("{path} over {wire:?} by {caller:?}: {http} {status:?}");
                match status {
                    Some(status) => {
                        assert_eq!(
                            (status.code(), reason(&status)),
                            (Code::PermissionDenied, *why),
                            "{named}"
                        );
                        words.insert((format!("{why:?}"), status.message().to_owned()));
                    }
                    // What is no gRPC at all is not even looked at.
                    None => assert!((400..500).contains(&http) && wire == Wire::Http1, "{named}"),
                }
            }
        }
    }
    assert_eq!(words.len(), 6, "the words depend on the caller alone: {words:?}");
    // Whoever comes from here is let in on the same wires.
    for wire in WIRES.into_iter().filter(|wire| *wire != Wire::Http1) {
        for page in [None, Some(hub.url.clone()), Some(format!("http://localhost:{port}"))] {
            let caller = Caller {
                origin: page,
                ..good.clone()
            };
            let (http, status) = knock(&hub, wire, "/bellboard.v1.SessionEventsService/ListSessions", &caller).await;
            assert!(
                http == 200 && status.is_none_or(|status| status.code() == Code::Ok),
                "{wire:?} {caller:?}"
            );
        }
    }
}

#[tokio::test]
async fn health_needs_no_key_reflection_needs_none_here_and_all_else_does() {
    let data = DataDir::new();
    let hub = data.start().await;
    let nobody = Caller {
        authority: hub.url.trim_start_matches("http://").to_owned(),
        host: None,
        origin: None,
        key: None,
    };
    for wire in WIRES.into_iter().filter(|wire| *wire != Wire::Http1) {
        for path in paths() {
            let open = HEALTH.contains(&path.as_str()) || REFLECTION.contains(&path.as_str());
            let (http, status) = knock(&hub, wire, &path, &nobody).await;
            let refused = status.filter(|status| status.code() != Code::Ok);
            let named = format!("{path} over {wire:?}: {http} {refused:?}");
            match refused {
                None => assert!(open && http == 200, "{named}"),
                Some(status) => {
                    assert!(!open, "{named}");
                    let expected = (Code::Unauthenticated, ErrorReason::CredentialMissing);
                    assert_eq!((status.code(), reason(&status)), expected, "{named}");
                }
            }
        }
    }
}
