use super::*;

fn event(offset: u64) -> v1::Event {
    v1::Event {
        offset,
        session_id: "s".to_owned(),
        ..v1::Event::default()
    }
}

/// A field of a message: its number and its bytes, shorter than 128.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut field);
    field.push(u8::try_from(bytes.len()).unwrap());
    field.extend_from_slice(bytes);
    field
}

fn read(parts: &[Vec<u8>]) -> Received {
    Received::read(&Bytes::from(parts.concat())).unwrap()
}

#[test]
fn a_frame_of_a_later_hub_is_kept_and_moves_the_place() {
    let received = read(&[field(1, b"token"), field(40, b"news")]);
    assert_eq!(received.resume_token, "token");
    let Frame::Unknown(frame) = received.frame else {
        panic!("{:?}", received.frame);
    };
    assert_eq!((frame.field_number, frame.bytes.as_ref()), (40, b"news".as_slice()));
}

#[test]
fn an_empty_frame_moves_the_place_too() {
    let received = read(&[field(1, b"token")]);
    assert_eq!(received.resume_token, "token");
    assert_eq!(received.frame, Frame::Unknown(UnknownFrame::default()));
}

#[test]
fn an_event_with_a_payload_of_a_later_hub_is_delivered_without_it() {
    let mut bytes = event(7).encode_to_vec();
    bytes.extend(field(219, b"news"));
    let batch = [vec![8, 7, 16, 8], field(3, &bytes)].concat();
    let received = read(&[field(1, b"token"), field(20, &batch)]);
    let Frame::Events(events) = received.frame else {
        panic!("{:?}", received.frame);
    };
    assert_eq!(events.events, [event(7)]);
    assert!(events.undecodable.is_empty());
}

#[test]
fn an_event_that_cannot_be_read_costs_that_event_alone() {
    // Its item id is no UTF-8, and its place can be made out.
    let broken = [vec![16, 8], field(5, b"s"), field(10, &[0xff])].concat();
    let batch = [
        vec![8, 7, 16, 10],
        field(3, &event(7).encode_to_vec()),
        field(3, &broken),
        field(3, &event(9).encode_to_vec()),
    ]
    .concat();
    let received = read(&[field(1, b"token"), field(20, &batch)]);
    assert!(received.frame.lacks_something());
    let Frame::Events(events) = received.frame else {
        panic!("{:?}", received.frame);
    };
    assert_eq!((events.from, events.until), (7, 10));
    assert_eq!(events.events, [event(7), event(9)]);
    let expected = UndecodableEvent {
        offset: Some(8),
        session_id: Some("s".to_owned()),
        bytes: broken.into(),
    };
    assert_eq!(events.undecodable, [expected]);
}

#[test]
fn a_known_frame_that_cannot_be_read_moves_the_place() {
    let received = read(&[field(1, b"token"), field(27, &[0xff])]);
    assert_eq!(received.resume_token, "token");
    assert!(matches!(
        received.frame,
        Frame::Undecodable(UnknownFrame { field_number: 27, .. })
    ));
}

#[test]
fn bytes_that_are_no_message_are_told_as_such() {
    assert_eq!(Received::read(&Bytes::from_static(&[0xff, 0xff])), None);
}

#[test]
fn a_frame_goes_back_to_the_contracts_form() {
    let response = v1::SubscribeResponse {
        resume_token: "token".to_owned(),
        frame: Some(Wire::Events(v1::EventsFrame {
            from: 7,
            until: 8,
            events: vec![event(7)],
            raws: Vec::new(),
        })),
    };
    let received = Received::read(&response.encode_to_vec().into()).unwrap();
    assert_eq!(received.frame.into_response("token"), response);
}
