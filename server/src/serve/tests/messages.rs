//! What Subscribe sends by a body of its own: over grpc-web, shared by equal streams, ended by a status, given up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellboard_proto::v1::{FromStart, subscribe_request::Start};
use bytes::{Buf as _, Bytes};
use prost::Message as _;

use super::corked::append;
use super::*;

fn everything(start: Start) -> SubscribeRequest {
    SubscribeRequest {
        start: Some(start),
        interests: vec![Interest {
            selector: Some(Selector::All(AllSelector {})),
            detail: bellboard_proto::v1::Detail::Content.into(),
            ..Interest::default()
        }],
        ..SubscribeRequest::default()
    }
}

async fn open(channel: &Channel, key: &str, start: Start) -> Streaming<SubscribeResponse> {
    let mut client = SubscribeServiceClient::new(channel.clone());
    let answer = client.subscribe(with(key, everything(start)));
    soon(answer).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<SubscribeResponse>) -> SubscribeResponse {
    soon(stream.message()).await.unwrap().expect("the stream goes on")
}

/// The next frame of events, and the resume token of it.
async fn events(stream: &mut Streaming<SubscribeResponse>) -> (String, bellboard_proto::v1::EventsFrame) {
    loop {
        let SubscribeResponse { resume_token, frame } = next(stream).await;
        if let Some(subscribe_response::Frame::Events(events)) = frame {
            return (resume_token, events);
        }
    }
}

/// The pieces of an answer over HTTP/1.1 that are whole; the last one of an answer is empty.
fn pieces(answer: &[u8]) -> Vec<&[u8]> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|found| found == what);
    let mut pieces = Vec::new();
    let mut rest = find(answer, b"\r\n\r\n").map_or(&[][..], |end| &answer[end + 4..]);
    while let Some(line) = find(rest, b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(piece) = rest.get(line + 2..line + 2 + length) else {
            break;
        };
        pieces.push(piece);
        rest = rest.get(line + 2 + length + 2..).unwrap_or_default();
    }
    pieces
}

/// The messages of a grpc-web body, and the trailers behind them.
fn messages(mut body: Bytes) -> (Vec<SubscribeResponse>, String) {
    let mut messages = Vec::new();
    loop {
        let (flags, length) = (body.get_u8(), body.get_u32());
        let message = body.split_to(usize::try_from(length).unwrap());
        if flags == 0x80 {
            assert!(body.is_empty(), "nothing follows the trailers");
            return (messages, String::from_utf8(message.to_vec()).unwrap());
        }
        assert_eq!(flags, 0, "nothing is compressed");
        messages.push(SubscribeResponse::decode(message).unwrap());
    }
}

/// Subscribes as a browser does, and drains the hub once the event that is stored was sent.
async fn on_the_web(content_type: &str, encode: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let house = house().await;
    let key = house.running.local_key.clone();
    append(&house.channel().await, &key, "one").await;
    let request = everything(Start::FromStart(FromStart {})).encode_to_vec();
    let head = [&[0][..], &u32::try_from(request.len()).unwrap().to_be_bytes()].concat();
    let request = encode(&[&head[..], &request].concat());
    let post = format!(
        "POST /bellboard.v1.SubscribeService/Subscribe HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
         Accept: {content_type}\r\nX-Grpc-Web: 1\r\nAuthorization: Bearer {key}\r\nGrpc-Accept-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        request.len()
    );
    let mut stream = TcpStream::connect(house.running.local_addr).await.unwrap();
    stream.write_all(&[post.as_bytes(), &request].concat()).await.unwrap();
    let mut answer = Vec::new();
    // `subscribed`, events and `caught_up`.
    while pieces(&answer).len() < 3 {
        assert!(soon(stream.read_buf(&mut answer)).await.unwrap() > 0, "it ended early");
    }
    let rest = stream.read_to_end(&mut answer);
    let ((), read) = soon(futures_util::future::join(house.running.shutdown(), rest)).await;
    read.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    answer
}

fn check_web(body: Vec<u8>) {
    let (messages, trailers) = messages(body.into());
    let frames: Vec<_> = messages.into_iter().filter_map(|message| message.frame).collect();
    assert!(
        matches!(frames[0], subscribe_response::Frame::Subscribed(_)),
        "{frames:?}"
    );
    let stored = |frame: &subscribe_response::Frame| {
        if let subscribe_response::Frame::Events(events) = frame {
            events.events.len()
        } else {
            0
        }
    };
    assert_eq!(frames.iter().map(stored).sum::<usize>(), 2);
    assert!(
        matches!(frames.last(), Some(subscribe_response::Frame::Closing(_))),
        "{frames:?}"
    );
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
}

#[tokio::test]
async fn a_browser_follows_a_stream_to_its_end() {
    let answer = on_the_web("application/grpc-web+proto", <[u8]>::to_vec).await;
    check_web(pieces(&answer).concat());
}

#[tokio::test]
async fn a_browser_that_takes_only_text_follows_it_too() {
    let encode = |bytes: &[u8]| STANDARD.encode(bytes).into_bytes();
    let answer = on_the_web("application/grpc-web-text+proto", encode).await;
    // Each piece is padded by itself.
    let mut decoded = Vec::new();
    for four in pieces(&answer).concat().chunks(4) {
        decoded.extend(STANDARD.decode(four).unwrap());
    }
    check_web(decoded);
}

#[tokio::test]
async fn equal_streams_are_told_the_same_and_each_place_can_be_resumed() {
    let house = house().await;
    let (key, channel) = (house.running.local_key.clone(), house.channel().await);
    append(&channel, &key, "one").await;
    let from_start = || Start::FromStart(FromStart {});
    let mut equal = Vec::new();
    for _ in 0..3 {
        equal.push(open(&channel, &key, from_start()).await);
    }
    let mut told = Vec::new();
    for stream in &mut equal {
        told.push(events(stream).await);
    }
    assert!(told.iter().all(|frame| *frame == told[0]));
    let mut late = open(&channel, &key, Start::ResumeToken(told[0].0.clone())).await;
    for item in ["two", "three"] {
        append(&channel, &key, item).await;
        let (token, frame) = events(&mut equal[0]).await;
        assert_eq!(frame.events.last().unwrap().item_id, item);
        for stream in equal[1..].iter_mut().chain([&mut late]) {
            assert_eq!(events(stream).await, (token.clone(), frame.clone()), "{item}");
        }
    }
    // What one was given is another's to go on from.
    let mut again = open(&channel, &key, Start::ResumeToken(told[1].0.clone())).await;
    let (_, frame) = events(&mut again).await;
    let items: Vec<_> = frame.events.iter().map(|event| event.item_id.as_str()).collect();
    assert_eq!(items, ["two", "three"]);
    assert_eq!(frame.from, told[1].1.until);
    drop((equal, late, again, channel));
    soon(house.running.shutdown()).await;
}

#[tokio::test]
async fn a_stream_that_is_given_up_leaves_nothing_behind() {
    let house = house().await;
    let (key, channel) = (house.running.local_key.clone(), house.channel().await);
    let open_streams = || house.running.hub().registry().len();
    let mut given_up = open(&channel, &key, Start::FromNow(FromNow {})).await;
    let mut kept = open(&channel, &key, Start::FromNow(FromNow {})).await;
    next(&mut given_up).await;
    assert_eq!(open_streams(), 2);
    drop(given_up);
    soon(async {
        while open_streams() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    append(&channel, &key, "one").await;
    assert_eq!(events(&mut kept).await.1.events.len(), 2, "its neighbour goes on");
    drop((kept, channel));
    soon(house.running.shutdown()).await;
}

#[tokio::test]
async fn an_end_that_is_an_error_tells_its_reason_in_the_trailers() {
    let house = house().await;
    let api_keys = house.running.store.api_keys();
    let principal = Principal {
        tenant: TenantId::parse("default").unwrap(),
        id: PrincipalId::parse("ada").unwrap(),
        scopes: Scopes::from_iter([Scope::Read]),
    };
    let wish = stored::Wish {
        principal,
        label: String::new(),
        expire_time: None,
    };
    let now = house.clock.now();
    let key = stored::create(&api_keys, wish, now).await.unwrap();
    let channel = house.channel().await;
    let mut stream = open(&channel, &key.text, Start::FromNow(FromNow {})).await;
    assert!(api_keys.revoke(&key.id, now).await.unwrap());
    house.clock.advance(Duration::from_millis(999));
    let ended = loop {
        match soon(stream.message()).await {
            Ok(message) => assert!(message.is_some(), "it ends with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert!(ended.message().contains("was revoked"), "{ended:?}");
    let details = String::from_utf8_lossy(ended.details()).into_owned();
    assert!(details.contains("CREDENTIAL_INVALID"), "{details}");
    // Refused before it began, it is told the same way.
    let refused = SubscribeServiceClient::new(channel.clone())
        .subscribe(with(&house.running.local_key, SubscribeRequest::default()))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    drop((stream, channel));
    soon(house.running.shutdown()).await;
}
