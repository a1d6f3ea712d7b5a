use bellboard_sdk::UnknownFrame;
use bellboard_sdk::v1::{
    self, CaughtUp, ClosingReason, ContentPart, Delta, DeltasFrame, Event, FellBehind, GapReason, ItemText, LongText,
    MessageCompleted, ResetReason, ToolStarted, content_part, delta, event, item_text,
};

use super::*;

const TERMINAL: Look = Look {
    colours: false,
    terminal: true,
    width: 100,
};

fn shown(look: Look, frames: impl IntoIterator<Item = Frame>) -> String {
    let mut view = View::of(Lines::fixed(look));
    let mut out = String::new();
    frames.into_iter().for_each(|frame| view.frame(&frame, &mut out));
    view.end(&mut out);
    out
}

fn delta(item_id: &str, at: u64, text: &str) -> Frame {
    delta_of("s", item_id, at, text)
}

fn delta_of(session_id: &str, item_id: &str, at: u64, text: &str) -> Frame {
    let delta = Delta {
        session_id: session_id.into(),
        item_id: item_id.into(),
        at,
        fragment: Some(delta::Fragment::MessageText(text.into())),
        ..Delta::default()
    };
    Frame::Deltas(DeltasFrame { deltas: vec![delta] })
}

fn so_far(item_id: &str, text: &str) -> Frame {
    let mut so_far = ItemText {
        session_id: "s".into(),
        item_id: item_id.into(),
        at: text.len() as u64,
        state: Some(item_text::State::MessageText(text.into())),
        ..ItemText::default()
    };
    so_far.set_channel(v1::DeltaChannel::MessageText);
    Frame::ItemText(so_far)
}

fn event(item_id: &str, payload: event::Payload) -> Frame {
    let event = Event {
        session_id: "s".into(),
        item_id: item_id.into(),
        payload: Some(payload),
        ..Event::default()
    };
    Frame::Events(Events {
        events: vec![event],
        ..Events::default()
    })
}

fn completed(item_id: &str, text: &str) -> Frame {
    let text = LongText {
        text: text.into(),
        ..LongText::default()
    };
    let part = ContentPart {
        part: Some(content_part::Part::Text(text)),
    };
    let completed = MessageCompleted {
        content: vec![part],
        ..MessageCompleted::default()
    };
    event(item_id, event::Payload::MessageCompleted(completed))
}

fn tool() -> Frame {
    let started = ToolStarted {
        tool: "bash".into(),
        ..ToolStarted::default()
    };
    event("t", event::Payload::ToolStarted(started))
}

const LEFT: &str = "          s             ";

#[test]
fn a_message_grows_on_a_terminal_and_is_not_said_twice() {
    let frames = [
        delta("m", 0, "Hel"),
        delta("m", 3, "lo\nyou"),
        completed("m", "Hello\nyou"),
        tool(),
    ];
    let expected = format!(
        "{LEFT}message\n  │ Hello\n  │ you\n{LEFT}message.completed     (as above)\n{LEFT}tool.started          bash\n"
    );
    assert_eq!(shown(TERMINAL, frames), expected);
}

#[test]
fn without_a_terminal_only_what_is_complete_is_shown() {
    let frames = [delta("m", 0, "Hel"), delta("m", 3, "lo"), completed("m", "Hello")];
    assert_eq!(
        shown(Look::PLAIN, frames),
        format!("{LEFT}message.completed     Hello\n")
    );
}

#[test]
fn an_event_in_between_stands_on_its_own_line() {
    let frames = [
        delta("m", 0, "one "),
        tool(),
        delta("m", 4, "two"),
        completed("m", "one two"),
    ];
    let expected = format!(
        "{LEFT}message\n  │ one \n{LEFT}tool.started          bash\n  │ two\n{LEFT}message.completed     (as above)\n"
    );
    assert_eq!(shown(TERMINAL, frames), expected);
}

#[test]
fn what_did_not_grow_whole_is_said_by_its_event() {
    let lost = [
        delta("m", 0, "one "),
        delta("m", 8, "three"),
        completed("m", "one two three"),
    ];
    assert!(shown(TERMINAL, lost).ends_with("message.completed     one two three\n"));
    let truncated = [delta("m", 0, "one "), completed("m", "one two")];
    assert!(shown(TERMINAL, truncated).ends_with("message.completed     one two\n"));
}

#[test]
fn a_text_never_stutters_when_it_is_told_again() {
    let frames = [
        delta("m", 0, "one "),
        so_far("m", "one two "),
        delta("m", 8, "three"),
        completed("m", "one two three"),
    ];
    let expected = format!("{LEFT}message\n  │ one two three\n{LEFT}message.completed     (as above)\n");
    assert_eq!(shown(TERMINAL, frames), expected);
    let other = [delta("m", 0, "one "), so_far("m", "other"), completed("m", "other")];
    assert_eq!(
        shown(TERMINAL, other),
        format!("{LEFT}message\n  │ one \n{LEFT}message\n  │ other\n{LEFT}message.completed     (as above)\n")
    );
}

#[test]
fn one_text_grows_at_a_time() {
    let frames = [
        delta("m", 0, "one"),
        delta_of("other", "n", 0, "hidden"),
        delta("m", 3, "!"),
        delta("m2", 0, "next"),
    ];
    let expected = format!("{LEFT}message\n  │ one!\n{LEFT}message\n  │ next\n");
    assert_eq!(shown(TERMINAL, frames), expected);
}

#[test]
fn growing_text_cannot_move_the_cursor() {
    // Cut within the sequence.
    let frames = [delta("m", 0, "\u{1b}"), delta("m", 1, "[2J\u{202e}")];
    let text = shown(TERMINAL, frames);
    assert!(text.ends_with("  │ ␛[2J\u{fffd}\n"), "{text:?}");
}

#[test]
fn what_the_reader_must_know_has_a_line() {
    let mut reset = Subscribed::default();
    reset.set_answer(Answer::Reset);
    reset.set_reason(ResetReason::TooFarBehind);
    let mut gap = Gap {
        from: 3,
        until: 7,
        ..Gap::default()
    };
    gap.set_reason(GapReason::Trimmed);
    let mut draining = Closing::default();
    draining.set_reason(ClosingReason::Draining);
    for (frame, line) in [
        (
            Frame::Subscribed(reset),
            "── reset (too far behind): the place is lost, what follows starts anew\n",
        ),
        (
            Frame::Gap(gap),
            "── gap (trimmed): what lies from 3 to before 7 will not come\n",
        ),
        (
            Frame::FellBehind(FellBehind { by: 5 }),
            "── fell behind by 5 events: growing text is left out until caught up\n",
        ),
        (
            Frame::Closing(draining),
            "── the hub closes the stream (draining); dialling again\n",
        ),
        (Frame::CaughtUp(CaughtUp { tail: 9 }), "── live from 9\n"),
        (
            Frame::Unknown(UnknownFrame {
                field_number: 99,
                ..UnknownFrame::default()
            }),
            "── a frame that this program does not know yet (field 99)\n",
        ),
    ] {
        assert_eq!(shown(Look::PLAIN, [frame.clone()]), line);
        assert!(shown(TERMINAL, [delta("m", 0, "x"), frame]).ends_with(&format!("  │ x\n{line}")));
    }
    assert_eq!(shown(Look::PLAIN, [Frame::Heartbeat(v1::Heartbeat::default())]), "");
}

#[test]
fn a_snapshot_shows_its_sessions_with_what_they_said() {
    let Frame::Events(events) = completed("m", "hello") else {
        unreachable!()
    };
    let session = SessionSnapshot {
        session: Some(Session {
            session_id: "s".into(),
            event_count: 4,
            ..Session::default()
        }),
        items: events.events,
        ..SessionSnapshot::default()
    };
    let page = SnapshotPage {
        sessions: vec![session],
        ..SnapshotPage::default()
    };
    let text = shown(Look::PLAIN, [Frame::SnapshotPage(page)]);
    assert_eq!(
        text,
        format!("── session s (4 events)\n{LEFT}message.completed     hello\n")
    );
}

#[test]
fn a_session_that_enters_is_announced_in_words() {
    let entered = |session_ids: &[&str]| {
        let mut begin = SnapshotBegin {
            offset: 20,
            session_ids: session_ids.iter().map(|id| (*id).to_owned()).collect(),
            ..SnapshotBegin::default()
        };
        begin.set_reason(SnapshotReason::SessionEntered);
        Frame::SnapshotBegin(begin)
    };
    for (frame, line) in [
        (
            entered(&["child"]),
            "── session child enters here, having begun elsewhere; this is how it stands at 20\n",
        ),
        (
            entered(&["child", "a", "b"]),
            "── session child enters with 2 below it here, having begun elsewhere; this is how it stands at 20\n",
        ),
    ] {
        assert_eq!(shown(Look::PLAIN, [frame]), line);
    }
}
