use super::*;

fn appended(event: Vec<u8>) -> hub::EventAppend {
    hub::EventAppend {
        session: Some(v1::SessionRef {
            r#ref: Some(v1::session_ref::Ref::SessionId("s".into())),
        }),
        event: event.into(),
        ..hub::EventAppend::default()
    }
}

fn check(event: Vec<u8>) -> Result<Draft, Rejection> {
    append(&appended(event), None, Time(1)).draft.map(|draft| *draft)
}

fn with(payload: Payload) -> Vec<u8> {
    v1::Event {
        payload: Some(payload),
        ..v1::Event::default()
    }
    .encode_to_vec()
}

#[test]
fn payload_bytes_are_copied_with_what_this_hub_does_not_know() {
    // message_completed (71) with a field 9999 that no version of the contract has.
    let mut unknown = BytesMut::new();
    prost::encoding::string::encode(9999, &"from the future".to_owned(), &mut unknown);
    let mut event = BytesMut::new();
    prost::encoding::bytes::encode(71, &unknown.to_vec(), &mut event);
    let sent = event.to_vec();
    let draft = check(sent.clone()).unwrap();
    assert_eq!(draft.kind, Kind(71));
    assert!(draft.body.ends_with(&sent), "the payload is not as it was sent");
}

#[test]
fn a_payload_that_is_unknown_missing_doubled_or_reserved_is_refused_by_name() {
    let mut unknown = BytesMut::new();
    prost::encoding::bytes::encode(150, &Vec::new(), &mut unknown);
    assert_eq!(check(unknown.to_vec()).unwrap_err().refusal, Refusal::PayloadUnknown);
    assert_eq!(check(Vec::new()).unwrap_err().refusal, Refusal::PayloadMissing);
    let envelope_only = v1::Event {
        turn_id: "t".into(),
        ..v1::Event::default()
    }
    .encode_to_vec();
    assert_eq!(check(envelope_only).unwrap_err().refusal, Refusal::PayloadMissing);
    let mut doubled = with(Payload::MessageStarted(v1::MessageStarted::default()));
    doubled.extend(with(Payload::ToolStarted(v1::ToolStarted::default())));
    assert_eq!(check(doubled).unwrap_err().field, "event.payload");
    for reserved in [
        Payload::Redacted(v1::Redacted::default()),
        Payload::SessionStateChanged(v1::SessionStateChanged::default()),
        Payload::AttentionRaised(v1::AttentionRaised::default()),
        Payload::CommandApplied(v1::CommandApplied::default()),
    ] {
        assert_eq!(check(with(reserved)).unwrap_err().refusal, Refusal::PayloadReserved);
    }
}

#[test]
fn garbage_is_refused_and_never_a_panic() {
    let valid = with(Payload::MessageStarted(v1::MessageStarted {
        message_id: "m".into(),
        ..v1::MessageStarted::default()
    }));
    for cut in 1..valid.len() {
        assert!(check(valid[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    for byte in 0..=255u8 {
        let _ = check(vec![byte]);
        let _ = check(vec![byte; 40]);
    }
}

#[test]
fn the_hubs_own_fields_are_not_taken_from_a_writer() {
    let event = v1::Event {
        offset: 99,
        index: 98,
        link: 97,
        root_session_id: "other".into(),
        attribution: Some(v1::Attribution {
            writer_id: "somebody else".into(),
            audience: "nobody".into(),
            witness: v1::Witness::Derived.into(),
            native: None,
        }),
        payload: Some(Payload::MessageStarted(v1::MessageStarted::default())),
        ..v1::Event::default()
    };
    let stored = v1::Event::decode(check(event.encode_to_vec()).unwrap().body).unwrap();
    assert_eq!(
        (
            stored.offset,
            stored.index,
            stored.link,
            stored.root_session_id.as_str()
        ),
        (0, 0, 0, "")
    );
    let attribution = stored.attribution.unwrap();
    assert_eq!(
        (attribution.writer_id.as_str(), attribution.audience.as_str()),
        ("", "")
    );
    assert_eq!(attribution.witness(), v1::Witness::Derived);
    assert!(stored.occurred_time.is_some(), "a missing time is filled in");
}

#[test]
fn a_dedupe_key_is_the_writers_own_or_without_a_writer_the_event_id() {
    let event = v1::Event {
        event_id: "e".into(),
        payload: Some(Payload::MessageStarted(v1::MessageStarted::default())),
        ..v1::Event::default()
    }
    .encode_to_vec();
    let writer = WriterId::parse("w").unwrap();
    let of = |append_: &hub::EventAppend, writer| append(append_, writer, Time(1)).draft.unwrap().dedupe;
    let by_id = of(&appended(event.clone()), None);
    assert!(by_id.is_some());
    assert_eq!(
        of(
            &hub::EventAppend {
                seq: 1,
                ..appended(event.clone())
            },
            Some(&writer)
        ),
        None
    );
    let by_key = of(
        &hub::EventAppend {
            dedupe_key: "e".into(),
            ..appended(event)
        },
        None,
    );
    assert!(
        by_key.is_some() && by_key != by_id,
        "a key and an id of the same text are different things"
    );
}

#[test]
fn sizes_are_bounded_and_named() {
    let long = with(Payload::VendorRaw(v1::VendorRaw {
        content: vec![0; limits::EVENT_BYTES_MAX].into(),
        ..v1::VendorRaw::default()
    }));
    assert_eq!(check(long).unwrap_err().refusal, Refusal::TooLarge);
    let named = v1::Event {
        item_id: "x".repeat(257),
        payload: Some(Payload::MessageStarted(v1::MessageStarted::default())),
        ..v1::Event::default()
    };
    assert_eq!(check(named.encode_to_vec()).unwrap_err().field, "event.item_id");
}

#[test]
fn what_opens_a_session_by_key_says_so_in_the_log() {
    let key = v1::SessionKey {
        vendor: "v".into(),
        project: "/p/".into(),
        native_id: "n".into(),
        ..v1::SessionKey::default()
    };
    let opened = v1::SessionOpened {
        facts: Some(v1::SessionFacts {
            title: "t".into(),
            ..v1::SessionFacts::default()
        }),
        ..v1::SessionOpened::default()
    };
    let sent = with(Payload::SessionOpened(opened.clone()));
    let by_key = hub::EventAppend {
        session: Some(v1::SessionRef {
            r#ref: Some(v1::session_ref::Ref::Key(key.clone())),
        }),
        event: sent.clone().into(),
        ..hub::EventAppend::default()
    };
    let draft = append(&by_key, None, Time(1)).draft.unwrap();
    assert!(
        draft.body.windows(sent.len()).any(|bytes| bytes == sent),
        "as it was sent"
    );
    let normal = v1::SessionKey {
        project: "/p".into(),
        ..key
    };
    let expected = v1::SessionOpened {
        key: Some(normal),
        ..opened
    };
    let stored = v1::Event::decode(draft.body.clone()).unwrap();
    assert_eq!(stored.payload, Some(Payload::SessionOpened(expected)));
    assert_eq!(&*draft.opens.unwrap().project, "/p");
    assert_eq!(check(sent).unwrap().opens, None, "by id there is no key to say");
}
