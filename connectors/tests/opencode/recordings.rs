//! Every recording maps, and says what the recorded opencode said.

use std::collections::{BTreeMap, BTreeSet};

use bellboard_connectors::Out;
use bellboard_connectors::opencode::Frame;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::session_ref::Ref;
use serde_json::Value;

use super::replay::{
    completed_texts, delta_texts, events, fixtures, frames, identities, key, lines, map, mapper, names, payload,
    replay, summary,
};

/// Kinds that become `vendor_raw`, with their count over all recordings.
const RAW: [(&str, u64); 3] = [
    ("session.next.model.switched", 2),
    ("session.next.prompt.admitted", 2),
    ("session.next.prompted", 2),
];

/// Kinds of no session, which no event of the log can carry, with their count.
const SESSIONLESS: [(&str, u64); 5] = [
    ("catalog.updated", 6),
    ("file.watcher.updated", 3),
    ("integration.updated", 3),
    ("plugin.added", 135),
    ("reference.updated", 3),
];

#[test]
fn no_kind_of_event_is_passed_over_in_silence() {
    let (mut raw, mut sessionless) = (BTreeMap::new(), BTreeMap::new());
    for name in names() {
        let mut mapper = mapper();
        replay(&mut mapper, &name);
        let report = mapper.report().clone();
        for (kind, count) in report.raw {
            *raw.entry(kind).or_insert(0) += count;
        }
        for (kind, count) in report.sessionless {
            *sessionless.entry(kind).or_insert(0) += count;
        }
    }
    let table = |rows: &[(&str, u64)]| {
        rows.iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(raw, table(&RAW));
    assert_eq!(sessionless, table(&SESSIONLESS));
}

#[test]
fn every_recording_gives_what_it_gave_before() {
    // Set BLESS to write the files anew, and read the difference before it is kept.
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    let bless = std::env::var_os("BLESS").is_some();
    for name in names() {
        let path = fixtures().join(format!("{name}.txt"));
        let now = summary(&replay(&mut mapper(), &name));
        if bless {
            std::fs::write(&path, &now).expect("written");
        }
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let first = before.lines().zip(now.lines()).find(|(before, now)| before != now);
        assert!(before == now, "{name} maps differently, first: {first:#?}");
    }
}

#[test]
fn each_turn_begins_once_and_ends_once() {
    for name in names() {
        let out = replay(&mut mapper(), &name);
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for append in events(&out) {
            let turn = append.event.as_ref().expect("an event").turn_id.clone();
            match payload(append) {
                Payload::TurnStarted(_) => begun.push(turn),
                Payload::TurnCompleted(_) | Payload::TurnFailed(_) | Payload::TurnInterrupted(_) => ended.push(turn),
                _ => {}
            }
        }
        assert_eq!(
            begun.len(),
            begun.iter().collect::<BTreeSet<_>>().len(),
            "{name}: a turn began twice"
        );
        begun.sort();
        ended.sort();
        assert_eq!(begun, ended, "{name}: a turn did not end exactly once");
        assert_eq!(begun.len(), prompts(&name), "{name}: as many turns as prompts");
    }
}

/// How many prompts ran: user messages that an answer of the agent names.
fn prompts(name: &str) -> usize {
    let parents: BTreeSet<String> = frames(name)
        .iter()
        .map(Frame::from_value)
        .filter(|frame| frame.kind == "message.updated" && frame.properties["info"]["role"] == "assistant")
        .map(|frame| {
            frame.properties["info"]["parentID"]
                .as_str()
                .expect("a parent")
                .to_owned()
        })
        .collect();
    parents.len()
}

#[test]
fn a_completed_text_is_the_vendors_last_word_on_it() {
    for name in names() {
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        for frame in frames(&name)
            .iter()
            .map(Frame::from_value)
            .filter(|frame| frame.kind == "message.part.updated")
        {
            let part = &frame.properties["part"];
            if matches!(part["type"].as_str(), Some("text" | "reasoning")) && part["time"]["end"].is_u64() {
                let id = part["id"].as_str().expect("an id").to_owned();
                last.insert(id, part["text"].as_str().expect("a text").to_owned());
            }
        }
        assert_eq!(completed_texts(&replay(&mut mapper(), &name)), last, "{name}");
    }
}

#[test]
fn deltas_add_up_to_the_completed_text() {
    for name in names() {
        let out = replay(&mut mapper(), &name);
        let whole = completed_texts(&out);
        for (item, text) in delta_texts(&out) {
            let Some(whole) = whole.get(&item) else {
                continue; // The output of a command.
            };
            // Recordings leave out the middle of long texts.
            let (kept, elided) = whole
                .split_once("...<elided")
                .map_or((whole.as_str(), false), |(kept, _)| (kept, true));
            if elided || name == "reconnect_midturn.cut" {
                let shorter = text.len().min(kept.len());
                assert_eq!(text[..shorter], kept[..shorter], "{name}");
            } else {
                assert_eq!(text, *whole, "{name}");
            }
        }
    }
}

#[test]
fn after_a_cut_an_open_text_is_silent() {
    let out = replay(&mut mapper(), "reconnect_midturn.cut");
    let texts = delta_texts(&out);
    let words: Vec<String> = (0..=10).map(|number| format!("word{number} ")).collect();
    assert_eq!(texts.into_values().collect::<Vec<_>>(), [words.concat()]);
    let completed = completed_texts(&out).into_values().next().expect("the text told whole");
    assert!(completed.starts_with(&words.concat()));
}

#[test]
fn an_ask_opens_once_and_ends_once() {
    let mut asked = 0;
    for name in names() {
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        for append in events(&replay(&mut mapper(), &name)) {
            let ask = append.event.as_ref().expect("an event").ask_id.clone();
            match payload(append) {
                Payload::AskOpened(_) => opened.push(ask),
                Payload::AskResolved(_) | Payload::AskWithdrawn(_) => ended.push(ask),
                _ => {}
            }
        }
        let asks: BTreeSet<String> = frames(&name)
            .iter()
            .map(Frame::from_value)
            .filter(|frame| frame.kind.ends_with(".asked"))
            .map(|frame| frame.properties["id"].as_str().expect("an id").to_owned())
            .collect();
        asked += asks.len();
        opened.sort();
        ended.sort();
        assert_eq!(opened, asks.iter().cloned().collect::<Vec<_>>(), "{name}");
        assert_eq!(ended, opened, "{name}");
    }
    assert!(asked >= 10, "the recordings hold asks");
}

#[test]
fn a_child_names_its_parent() {
    let out = replay(&mut mapper(), "subagent.event");
    let parents: Vec<_> = events(&out)
        .into_iter()
        .filter_map(|append| match payload(append) {
            Payload::SessionOpened(opened) => Some((key(append).clone(), opened.parent_session.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(parents.len(), 2);
    let (root, none) = &parents[0];
    assert_eq!(*none, None);
    assert_eq!(
        parents[1].1.as_ref().and_then(|parent| parent.r#ref.clone()),
        Some(Ref::Key(root.clone()))
    );
    let paths: Vec<_> = events(&out)
        .into_iter()
        .filter_map(|append| match payload(append) {
            Payload::AskOpened(opened) => Some(opened.agent_path.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, [["general"]], "the child's ask shows the way to it");
}

#[test]
fn the_same_stream_gives_the_same_identities() {
    for name in names() {
        let first = identities(&replay(&mut mapper(), &name));
        let unique: BTreeSet<_> = first.iter().cloned().collect();
        assert_eq!(unique.len(), first.len(), "{name}: two events of one identity");
        assert!(
            unique.iter().all(|(_, key)| !key.is_empty() && key.len() <= 256),
            "{name}"
        );
        assert_eq!(identities(&replay(&mut mapper(), &name)), first, "{name}");
    }
}

#[test]
fn a_stream_heard_twice_says_nothing_new() {
    for name in names() {
        let mut mapper = mapper();
        let first: BTreeSet<_> = identities(&replay(&mut mapper, &name)).into_iter().collect();
        assert_eq!(identities(&replay(&mut mapper, &name)), [], "{name}: its ids are known");
        // The same facts under other ids, as after a restart of opencode, are the same facts too.
        let mut again = Vec::new();
        for mut data in frames(&name) {
            for pointer in ["/id", "/payload/id", "/payload/syncEvent/id"] {
                if let Some(id) = data.pointer_mut(pointer) {
                    *id = Value::from(format!("{}x", id.as_str().expect("an id")));
                }
            }
            again.extend(map(&mut mapper, &data));
        }
        let news: Vec<_> = identities(&again)
            .into_iter()
            .filter(|identity| !first.contains(identity))
            .collect();
        let expected = |key: &str| ["raw:", "diff:", "plan:"].iter().any(|prefix| key.starts_with(prefix));
        assert!(news.iter().all(|(_, key)| expected(key)), "{name}: {news:?}");
    }
}

#[test]
fn events_carry_the_vendors_own_bytes() {
    for name in names() {
        let said: BTreeSet<String> = frames(&name).iter().map(Value::to_string).collect();
        for append in events(&replay(&mut mapper(), &name)) {
            if let Some(raw) = &append.raw {
                assert!(
                    said.contains(std::str::from_utf8(&raw.content).expect("text")),
                    "{name}: raw bytes were changed"
                );
            }
            if let Payload::VendorRaw(raw) = payload(append) {
                assert!(
                    said.contains(std::str::from_utf8(&raw.content).expect("text")),
                    "{name}: raw bytes were changed"
                );
            }
        }
    }
}

/// The durable events of a recording of `/event`, as the history would list them.
fn history(name: &str) -> Vec<Value> {
    let durable = [
        "session.created",
        "session.updated",
        "session.deleted",
        "message.updated",
        "message.part.updated",
    ];
    frames(name)
        .into_iter()
        .filter(|data| durable.contains(&data["type"].as_str().unwrap_or_default()))
        .enumerate()
        .map(|(seq, data)| {
            serde_json::json!({ "id": data["id"], "aggregate_id": data["properties"]["sessionID"], "seq": seq,
                "type": format!("{}.1", data["type"].as_str().unwrap_or_default()), "data": data["properties"] })
        })
        .collect()
}

#[test]
fn what_the_start_of_the_stream_lost_comes_from_the_history() {
    let whole: BTreeSet<_> = identities(&replay(&mut mapper(), "error400.event"))
        .into_iter()
        .collect();
    let mut mapper = mapper();
    let mut out: Vec<Out> = Vec::new();
    for data in frames("error400.global") {
        let frame = Frame::from_value(&data);
        if mapper.wants_record_of(&frame).is_some() {
            for row in history("error400.event") {
                out.extend(mapper.on_history(&Frame::from_history(&row)));
            }
        }
        out.extend(map(&mut mapper, &data));
    }
    let found: BTreeSet<_> = identities(&out).into_iter().collect();
    assert_eq!(found, whole);
}

#[test]
fn the_history_alone_and_the_status_give_all_but_what_was_never_kept() {
    for name in names().into_iter().filter(|name| name.ends_with(".event")) {
        if frames(&name)
            .iter()
            .filter(|data| data["type"] == "session.created")
            .count()
            != 1
        {
            continue; // More than one session, or one that began before.
        }
        let live: BTreeSet<_> = identities(&replay(&mut mapper(), &name)).into_iter().collect();
        let mut mapper = mapper();
        let mut out: Vec<Out> = Vec::new();
        for row in history(&name) {
            out.extend(mapper.on_history(&Frame::from_history(&row)));
        }
        out.extend(mapper.on_status("/workspace/demo", &serde_json::json!({}), mapper.order()));
        out.extend((0..3).flat_map(|_| mapper.on_tick()));
        let swept: BTreeSet<_> = identities(&out).into_iter().collect();
        let live_only = |key: &str| {
            ["ask:", "retry:", "diff:", "plan:", "raw:"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
                || key.ends_with(":edited")
        };
        let missing: Vec<_> = live.difference(&swept).filter(|(_, key)| !live_only(key)).collect();
        let more: Vec<_> = swept.difference(&live).collect();
        assert_eq!((missing.len(), more.len()), (0, 0), "{name}: {missing:?} {more:?}");
    }
}

#[test]
fn a_prompts_own_client_is_told_what_it_said() {
    for name in names() {
        let said: BTreeSet<String> = lines(&name)
            .iter()
            .filter(|line| {
                line["request"]["path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with("/prompt_async"))
            })
            .map(|line| {
                line["request"]["body"]["parts"][0]["text"]
                    .as_str()
                    .expect("a text")
                    .to_owned()
            })
            .collect();
        let admitted: BTreeSet<String> = events(&replay(&mut mapper(), &name))
            .into_iter()
            .filter_map(|append| match payload(append) {
                Payload::InputAdmitted(input) => match input.content.first()?.part.as_ref()? {
                    bellboard_proto::v1::content_part::Part::Text(text) => Some(text.text.clone()),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        let lost = name == "error400.global" || name == "bash_permission_once.global";
        assert!(lost || said.is_subset(&admitted), "{name}: {said:?} {admitted:?}");
    }
}
