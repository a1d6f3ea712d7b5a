//! What no recording shows: queues, deaths, endings that never come, and texts too long to keep.

use bellboard_connectors::Out;
use bellboard_connectors::opencode::{Frame, Mapper};
use bellboard_proto::v1::content_part::Part;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{FailureClass, InputMode, ItemEnd, TurnTrigger};
use serde_json::{Value, json};

use super::replay::{completed_texts, delta_texts, events, frames, map, mapper, payload};

/// Says events of one session, each as `(kind, properties)`.
fn say(mapper: &mut Mapper, said: &[(&str, Value)]) -> Vec<Out> {
    let mut out = Vec::new();
    for (kind, properties) in said {
        let mut properties = properties.clone();
        properties["sessionID"] = json!("ses_1");
        let id = format!("evt_{}_{}", mapper.order(), kind);
        out.extend(map(
            mapper,
            &json!({ "id": id, "type": kind, "properties": properties }),
        ));
    }
    out
}

fn session() -> (&'static str, Value) {
    let info = json!({ "id": "ses_1", "directory": "/workspace/demo", "title": "t", "version": "1", "time": { "created": 1, "updated": 1 } });
    ("session.created", json!({ "info": info }))
}

/// opencode touches a session after each prompt.
fn touched() -> (&'static str, Value) {
    let (_, mut properties) = session();
    properties["info"]["time"]["updated"] = json!(2);
    ("session.updated", properties)
}

fn user(id: &str) -> (&'static str, Value) {
    (
        "message.updated",
        json!({ "info": { "id": id, "role": "user", "time": { "created": 5 } } }),
    )
}

fn user_text(id: &str, part: Value) -> (&'static str, Value) {
    let mut whole = json!({ "id": format!("prt_{id}"), "messageID": id, "type": "text" });
    for (name, field) in part.as_object().expect("fields") {
        whole[name] = field.clone();
    }
    ("message.part.updated", json!({ "part": whole }))
}

fn agent(id: &str, parent: &str, more: Value) -> (&'static str, Value) {
    let mut info = json!({ "id": id, "role": "assistant", "parentID": parent, "providerID": "p", "modelID": "m", "time": { "created": 6 } });
    for (name, field) in more.as_object().expect("fields") {
        info[name] = field.clone();
    }
    ("message.updated", json!({ "info": info }))
}

fn complete() -> Value {
    json!({ "time": { "created": 6, "completed": 9 }, "finish": "stop" })
}

fn status(kind: &str) -> (&'static str, Value) {
    ("session.status", json!({ "status": { "type": kind } }))
}

/// opencode lists nothing that runs, and the stream stays silent.
fn listed_idle(mapper: &mut Mapper) -> Vec<Out> {
    let mut out = mapper.on_status("/workspace/demo", &json!({}), mapper.order());
    out.extend((0..3).flat_map(|_| mapper.on_tick()));
    out
}

/// The payloads' names with their turn, in order.
fn told(out: &[Out]) -> Vec<String> {
    events(out)
        .into_iter()
        .map(|append| {
            let name = format!("{:?}", payload(append));
            let name = name.split('(').next().expect("a name").to_owned();
            format!("{name} {}", append.event.as_ref().expect("an event").turn_id)
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn a_prompt_in_mid_turn_waits_and_then_runs() {
    let mut mapper = mapper();
    let out = say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "one" })),
            status("busy"),
            agent("msg_2", "msg_1", json!({})),
            user("msg_3"),
            user_text("msg_3", json!({ "text": "two" })),
            touched(),
            agent("msg_2", "msg_1", complete()),
            agent("msg_4", "msg_3", json!({})),
            agent("msg_4", "msg_3", complete()),
            status("idle"),
        ],
    );
    let wanted = [
        "SessionOpened",
        "InputAdmitted",
        "TurnStarted msg_1",
        "InputAdmitted",
        "TurnCompleted msg_1",
        "InputPromoted msg_3",
        "TurnStarted msg_3",
        "TurnCompleted msg_3",
    ];
    assert_eq!(told(&out), wanted);
    let modes: Vec<_> = events(&out)
        .into_iter()
        .filter_map(|append| match payload(append) {
            Payload::InputAdmitted(input) => Some(input.mode()),
            _ => None,
        })
        .collect();
    assert_eq!(modes, [InputMode::Start, InputMode::Queue]);
    let triggers: Vec<_> = events(&out)
        .into_iter()
        .filter_map(|append| match payload(append) {
            Payload::TurnStarted(turn) => Some(turn.trigger()),
            _ => None,
        })
        .collect();
    assert_eq!(triggers, [TurnTrigger::User, TurnTrigger::Queue]);
}

#[test]
fn what_opencode_says_to_itself_begins_no_turn() {
    let mut mapper = mapper();
    let out = say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "one" })),
            status("busy"),
            agent("msg_2", "msg_1", json!({})),
            user("msg_3"),
            user_text("msg_3", json!({ "type": "compaction", "auto": true })),
            agent("msg_4", "msg_3", json!({ "summary": true })),
            agent(
                "msg_4",
                "msg_3",
                json!({ "summary": true, "finish": "stop", "time": { "created": 6, "completed": 8 } }),
            ),
            user("msg_5"),
            user_text("msg_5", json!({ "text": "go on", "synthetic": true })),
            agent("msg_6", "msg_5", complete()),
            status("idle"),
        ],
    );
    let wanted = [
        "SessionOpened",
        "InputAdmitted",
        "TurnStarted msg_1",
        "CompactionStarted",
        "CompactionCompleted msg_1",
        "TurnCompleted msg_1",
    ];
    assert_eq!(told(&out), wanted);
}

#[test]
fn a_late_part_of_an_input_edits_it() {
    let mut mapper = mapper();
    let file =
        json!({ "id": "prt_file", "type": "file", "url": "file:///a.png", "mime": "image/png", "filename": "a.png" });
    let out = say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "look" })),
            status("busy"),
            user_text("msg_1", file),
        ],
    );
    assert_eq!(
        told(&out),
        ["SessionOpened", "InputAdmitted", "TurnStarted msg_1", "InputEdited"]
    );
    let Payload::InputEdited(edited) = payload(events(&out)[3]) else {
        panic!("no edit")
    };
    assert_eq!((edited.revision, edited.content.len()), (1, 2));
}

#[test]
fn a_turn_that_never_says_its_last_word_ends_without() {
    let mut mapper = mapper();
    let out = say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "one" })),
            status("busy"),
            agent("msg_2", "msg_1", json!({})),
            (
                "session.error",
                json!({ "error": { "name": "MessageAbortedError", "data": { "message": "Aborted" } } }),
            ),
            status("idle"),
            ("session.idle", json!({})),
        ],
    );
    assert_eq!(
        told(&out).last().map(String::as_str),
        Some("TurnStarted msg_1"),
        "it waits for its message"
    );
    let late: Vec<Out> = (0..5).flat_map(|_| mapper.on_tick()).collect();
    assert_eq!(told(&late), ["TurnInterrupted msg_1"]);
}

#[test]
fn an_agent_that_died_is_not_shown_as_done() {
    let mut mapper = mapper();
    let mut out = Vec::new();
    let said = frames("abort_stream.event");
    let middle = said
        .iter()
        .position(|data| data["properties"]["delta"] == "word4 ")
        .expect("a delta");
    for data in &said[..=middle] {
        out.extend(map(&mut mapper, data));
    }
    mapper.on_stream_lost();
    let nothing = json!({});
    assert_eq!(
        mapper.on_status("/workspace/demo", &nothing, mapper.order()),
        [],
        "its record is read first"
    );
    let session = Frame::from_value(&said[1]).session().to_owned();
    out.extend(mapper.on_history_end(&session));
    out.extend(listed_idle(&mut mapper));
    let ends: Vec<_> = events(&out)
        .into_iter()
        .filter_map(|append| match payload(append) {
            Payload::MessageCompleted(message) => Some(format!("{:?}", message.end())),
            Payload::TurnFailed(failed) => Some(format!("{:?}", failed.failure_class())),
            _ => None,
        })
        .collect();
    assert_eq!(
        ends,
        [
            format!("{:?}", ItemEnd::Truncated),
            format!("{:?}", FailureClass::Process)
        ]
    );
    let heard = "word0 word1 word2 word3 word4 ";
    assert_eq!(completed_texts(&out).into_values().collect::<Vec<_>>(), [heard]);
    assert_eq!(delta_texts(&out).into_values().collect::<Vec<_>>(), [heard]);
}

#[test]
fn a_turn_that_was_forgotten_has_failed_also_when_another_follows() {
    let mut mapper = mapper();
    let text = json!({ "id": "prt_9", "messageID": "msg_2", "type": "text", "text": "", "time": { "start": 7 } });
    let delta = json!({ "messageID": "msg_2", "partID": "prt_9", "field": "text", "delta": "half a" });
    let out = say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "one" })),
            agent("msg_2", "msg_1", json!({})),
            ("message.part.updated", json!({ "part": text })),
            ("message.part.delta", delta),
            user("msg_3"),
            user_text("msg_3", json!({ "text": "two" })),
            agent("msg_4", "msg_3", complete()),
            status("idle"),
        ],
    );
    let wanted = [
        "SessionOpened",
        "InputAdmitted",
        "TurnStarted msg_1",
        "MessageStarted msg_1",
        "TurnFailed msg_1",
        "InputAdmitted",
        "TurnStarted msg_3",
        "MessageCompleted msg_1",
        "TurnCompleted msg_3",
    ];
    assert_eq!(told(&out), wanted);
    assert_eq!(completed_texts(&out)["prt_9"], "half a");
}

#[test]
fn an_older_list_does_not_override_the_stream() {
    let mut mapper = mapper();
    say(
        &mut mapper,
        &[session(), user("msg_1"), user_text("msg_1", json!({ "text": "one" }))],
    );
    let asked = mapper.order();
    say(&mut mapper, &[status("busy"), agent("msg_2", "msg_1", json!({}))]);
    assert_eq!(
        mapper.on_status("/workspace/demo", &json!({}), asked),
        [],
        "it runs, says the stream"
    );
    assert_eq!(told(&listed_idle(&mut mapper)), ["TurnFailed msg_1"]);
}

#[test]
fn a_list_that_overtakes_the_end_in_the_stream_does_not_replace_it() {
    let mut mapper = mapper();
    say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "one" })),
            status("busy"),
        ],
    );
    say(&mut mapper, &[agent("msg_2", "msg_1", json!({}))]);
    assert_eq!(mapper.on_status("/workspace/demo", &json!({}), mapper.order()), []);
    assert_eq!(mapper.on_tick(), []);
    let out = say(&mut mapper, &[agent("msg_2", "msg_1", complete()), status("idle")]);
    assert_eq!(told(&out), ["TurnCompleted msg_1"]);
    let later: Vec<Out> = (0..9).flat_map(|_| mapper.on_tick()).collect();
    assert_eq!(later, []);
}

#[test]
fn a_delta_of_an_unknown_item_is_dropped_and_counted() {
    let mut mapper = mapper();
    let delta = json!({ "messageID": "msg_2", "partID": "prt_9", "field": "text", "delta": "lost" });
    let out = say(&mut mapper, &[session(), ("message.part.delta", delta)]);
    assert_eq!(told(&out), ["SessionOpened"]);
    assert_eq!(mapper.report().deltas_unplaced, 1);
}

#[test]
fn a_text_told_whole_in_mid_stream_goes_on_from_there() {
    let mut mapper = mapper();
    let part = |text: &str| {
        let part = json!({ "id": "prt_9", "messageID": "msg_2", "type": "text", "text": text, "time": { "start": 7 } });
        ("message.part.updated", json!({ "part": part }))
    };
    let delta = |text: &str| {
        (
            "message.part.delta",
            json!({ "messageID": "msg_2", "partID": "prt_9", "field": "text", "delta": text }),
        )
    };
    let begin = [
        session(),
        user("msg_1"),
        user_text("msg_1", json!({ "text": "one" })),
        agent("msg_2", "msg_1", json!({})),
    ];
    let mut out = say(&mut mapper, &begin);
    out.extend(say(&mut mapper, &[part(""), delta("é"), delta("b ")]));
    mapper.on_stream_lost();
    out.extend(say(&mut mapper, &[delta("never placed "), part("éb c "), delta("d")]));
    assert_eq!(delta_texts(&out)["prt_9"], "éb c d");
}

#[test]
fn long_texts_and_unknown_kinds_fit_into_events() {
    let mut mapper = mapper();
    let long = "é".repeat(400_000);
    let state = json!({ "status": "completed", "input": { "filePath": "/a", "content": long }, "output": long, "title": "t",
        "metadata": { "diff": long }, "time": { "start": 1, "end": 2 } });
    let tool =
        json!({ "id": "prt_9", "messageID": "msg_2", "type": "tool", "tool": "write", "callID": "c", "state": state });
    let out = say(
        &mut mapper,
        &[
            session(),
            agent("msg_2", "msg_1", json!({})),
            ("message.part.updated", json!({ "part": tool })),
            ("never.heard.of", json!({ "text": long })),
        ],
    );
    assert_eq!(
        told(&out),
        [
            "SessionOpened",
            "TurnStarted msg_1",
            "ToolStarted msg_1",
            "ToolCompleted msg_1",
            "Notice msg_1"
        ]
    );
    for append in events(&out) {
        let bytes = prost::Message::encoded_len(append.event.as_ref().expect("an event"));
        assert!(bytes <= 248 * 1024, "{bytes}");
        assert!(append.raw.as_ref().is_none_or(|raw| raw.content.len() <= 256 * 1024));
    }
    assert_eq!((mapper.report().too_large, mapper.report().raw_omitted), (1, 1));
}

#[test]
fn what_a_person_says_is_told_as_it_was() {
    let mut mapper = mapper();
    let out = say(
        &mut mapper,
        &[
            session(),
            user("msg_1"),
            user_text("msg_1", json!({ "text": "  exactly\n" })),
            status("busy"),
        ],
    );
    let Payload::InputAdmitted(input) = payload(events(&out)[1]) else {
        panic!("no input")
    };
    let Some(Part::Text(text)) = &input.content[0].part else {
        panic!("no text")
    };
    assert_eq!(text.text, "  exactly\n");
}

#[test]
fn nothing_a_vendor_says_can_stop_the_map() {
    let mut mapper = mapper();
    let junk = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!({ "sessionID": 4 }),
        json!({ "info": [], "part": 3 }),
    ];
    let kinds = [
        "",
        "session.created",
        "session.updated",
        "session.deleted",
        "session.status",
        "session.idle",
        "session.error",
        "session.diff",
        "todo.updated",
        "message.updated",
        "message.part.updated",
        "message.part.delta",
        "permission.asked",
        "permission.replied",
        "question.asked",
        "question.replied",
        "question.rejected",
        "file.edited",
        "session.next.x",
    ];
    for kind in kinds {
        for properties in &junk {
            map(&mut mapper, &json!({ "type": kind, "properties": properties }));
            let mut named = json!({ "sessionID": "ses_1", "info": properties, "part": properties, "status": properties, "error": properties });
            named["diff"] = properties.clone();
            named["todos"] = properties.clone();
            named["questions"] = json!([properties]);
            map(&mut mapper, &json!({ "type": kind, "properties": named }));
        }
    }
    mapper.on_messages("ses_1", &json!([{ "info": 1, "parts": [2, {}] }, null]));
    mapper.on_status("", &json!([]), 0);
    mapper.on_permissions("", &json!({ "a": 1 }), 0);
    mapper.on_session(&json!([]));
    mapper.on_tick();
}
