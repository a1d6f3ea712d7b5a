//! Events as lines for people: time, session, kind, words.
//!
//! Believe this: an event is one line as wide as the screen, and nothing that an agent wrote reaches it unprintable.

use anstyle::{AnsiColor, Style};
use bellboard_core::clock::{Clock, Real};
use bellboard_sdk::v1::{Event, EventRaw, Witness};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::output::Look;
use super::printable::{fit, one_line, push_lines, width};
use super::summary::words::bytes;
use super::summary::{self, Summary};

/// Columns of a session's name.
const SESSION_WIDTH: usize = 12;
/// Columns of the kind; the few longer ones move their words.
const KIND_WIDTH: usize = 20;
/// Columns before the words, with the gaps.
const LEFT_WIDTH: usize = 8 + 2 + SESSION_WIDTH + 2 + KIND_WIDTH + 2;
/// No words are fit into less, however narrow the screen: the line then wraps.
const WORDS_WIDTH_MIN: usize = 30;
/// What stands before the lines of a text that is shown as it is.
pub(super) const INDENT: &str = "  │ ";
/// Most bytes of raw content that are shown to people; programs ask for JSON.
const RAW_BYTES_MAX: usize = 4_096;

pub(super) const QUIET: Style = Style::new().dimmed();
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Writes the lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) look: Look,
    zone: TimeZone,
    /// The day of the last line: a line of another day is told on a line of its own.
    day: Date,
}

impl Lines {
    /// In the time zone of this machine, beginning today.
    pub(super) fn new(look: Look) -> Lines {
        let zone = TimeZone::system();
        let now = Timestamp::from_microsecond(Real::new().now().0).unwrap_or_default();
        let day = now.to_zoned(zone.clone()).date();
        Lines { look, zone, day }
    }

    /// One event.
    pub(super) fn event(&mut self, event: &Event, out: &mut String) {
        let summary = summary::of(event);
        self.summary(event, &summary, out);
    }

    /// One event, with other words than its own.
    pub(super) fn event_saying(&mut self, event: &Event, words: &str, out: &mut String) {
        let Summary { kind, text: _ } = summary::of(event);
        let text = words.to_owned();
        self.summary(event, &Summary { kind, text }, out);
    }

    fn summary(&mut self, event: &Event, summary: &Summary, out: &mut String) {
        let time = self.time(event.recorded_time.as_ref(), out);
        let guessed = match event.attribution.as_ref().map(|attribution| attribution.witness()) {
            Some(Witness::Heuristic) => "(guessed) ",
            Some(Witness::Unspecified | Witness::Structured | Witness::Derived) | None => "",
        };
        let room = self
            .look
            .width
            .saturating_sub(LEFT_WIDTH + guessed.len())
            .max(WORDS_WIDTH_MIN);
        let time = self.look.paint(QUIET, &time);
        let left = self.left(&event.session_id, summary.kind);
        let line = format!("{time}  {left}  {guessed}{}", fit(&summary.text, room));
        out.push_str(line.trim_end());
        out.push('\n');
    }

    /// The session's short name and a kind, each in its column.
    pub(super) fn left(&self, session_id: &str, kind: &str) -> String {
        let session = short(session_id);
        let padded = |text: &str, columns: usize| " ".repeat(columns.saturating_sub(width(text)));
        let session_pad = padded(&session, SESSION_WIDTH);
        let kind_pad = padded(kind, KIND_WIDTH);
        let session = self.look.paint(AnsiColor::Cyan.on_default(), &session);
        let kind = self.look.paint(style(kind), kind);
        format!("{session}{session_pad}  {kind}{kind_pad}")
    }

    /// The raw bytes beside an event, as text if they are text.
    pub(super) fn raw(&self, raw: &EventRaw, out: &mut String) {
        let Some(content) = &raw.raw else {
            return;
        };
        let size = bytes(content.content.len() as u64);
        let shown = &content.content[..content.content.len().min(RAW_BYTES_MAX)];
        let text = format!(
            "raw {} {size}\n{}",
            one_line(&content.media_type),
            String::from_utf8_lossy(shown)
        );
        let mut lines = INDENT.to_owned();
        push_lines(&mut lines, text.trim_end(), INDENT);
        if shown.len() < content.content.len() {
            lines.push('…');
        }
        out.push_str(&self.look.paint(QUIET, &lines));
        out.push('\n');
    }

    /// Something about the stream itself.
    pub(super) fn remark(&self, style: Style, text: &str, out: &mut String) {
        out.push_str(&self.look.paint(style, &format!("── {}", one_line(text))));
        out.push('\n');
    }

    fn time(&mut self, time: Option<&prost_types::Timestamp>, out: &mut String) -> String {
        let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
        let Some(time) = time else {
            return "        ".to_owned();
        };
        let time = time.to_zoned(self.zone.clone());
        if time.date() != self.day {
            self.day = time.date();
            self.remark(QUIET, &self.day.to_string(), out);
        }
        time.strftime("%H:%M:%S").to_string()
    }
}

/// A session's name where there is little room: ids made from the time differ at their ends.
fn short(session_id: &str) -> String {
    let name = one_line(session_id);
    let chars = name.chars().count();
    if name.is_empty() {
        "-".to_owned()
    } else if chars <= SESSION_WIDTH {
        name
    } else {
        let end: String = name.chars().skip(chars + 1 - SESSION_WIDTH).collect();
        format!("…{end}")
    }
}

/// What catches the eye: what waits for a human, then what failed.
fn style(kind: &str) -> Style {
    let (family, what) = kind.split_once('.').unwrap_or((kind, ""));
    match (family, what) {
        ("turn", "failed")
        | ("command", "failed" | "rejected" | "unknown")
        | ("connector", "lost")
        | ("health", "quota_blocked") => AnsiColor::Red.on_default().bold(),
        ("ask" | "attention", _) => AnsiColor::Yellow.on_default().bold(),
        ("message", _) => AnsiColor::Green.on_default(),
        ("input" | "command", _) => AnsiColor::Magenta.on_default(),
        ("tool" | "background" | "subagent" | "work", _) => AnsiColor::Blue.on_default(),
        ("turn" | "session", _) => Style::new().bold(),
        (_, _) => QUIET,
    }
}

#[cfg(test)]
impl Lines {
    /// In UTC, on the first day of 1970.
    pub(super) fn fixed(look: Look) -> Lines {
        let (zone, day) = (TimeZone::UTC, Date::constant(1970, 1, 1));
        Lines { look, zone, day }
    }
}

#[cfg(test)]
mod tests {
    use bellboard_sdk::v1::event::Payload;
    use bellboard_sdk::v1::{Attribution, Notice, RawContent};

    use super::*;

    fn notice(text: &str, seconds: i64) -> Event {
        Event {
            session_id: "01234567-89ab-7def-8123-456789abcdef".into(),
            recorded_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            payload: Some(Payload::Notice(Notice {
                text: text.into(),
                ..Notice::default()
            })),
            ..Event::default()
        }
    }

    fn lines(look: Look, events: &[Event]) -> String {
        let mut lines = Lines::fixed(look);
        let mut out = String::new();
        events.iter().for_each(|event| lines.event(event, &mut out));
        out
    }

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let hostile = notice("a\n\u{1b}[2J\r\nb\u{9b}", 61);
        assert_eq!(
            lines(Look::PLAIN, &[hostile]),
            "00:01:01  …56789abcdef  health.notice         a ␛[2J b\u{fffd}\n"
        );
        let mut session = notice("x", 0);
        session.session_id = "\u{1b}[1m\n".into();
        assert!(lines(Look::PLAIN, &[session]).starts_with("00:00:00  ␛[1m "));
    }

    #[test]
    fn a_line_is_as_wide_as_the_screen() {
        let look = Look {
            width: 80,
            ..Look::PLAIN
        };
        let line = lines(look, &[notice(&"日本".repeat(100), 0)]);
        assert!(
            line.ends_with("…\n") && (79..=80).contains(&width(line.trim_end())),
            "{line}"
        );
    }

    #[test]
    fn another_day_is_told() {
        let told = lines(Look::PLAIN, &[notice("a", 0), notice("b", 86_400), notice("c", 86_401)]);
        let told: Vec<_> = told.lines().collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[1], "── 1970-01-02");
    }

    #[test]
    fn a_guess_is_told_as_such_and_an_event_of_the_tenant_has_no_session() {
        let mut event = notice("x", 0);
        event.session_id = String::new();
        let mut attribution = Attribution::default();
        attribution.set_witness(Witness::Heuristic);
        event.attribution = Some(attribution);
        let line = lines(Look::PLAIN, &[event]);
        assert!(
            line.starts_with("00:00:00  -  ") && line.ends_with("  (guessed) x\n"),
            "{line}"
        );
    }

    #[test]
    fn colours_are_there_only_where_they_are_wanted() {
        let coloured = Look {
            colours: true,
            ..Look::PLAIN
        };
        let event = notice("x", 0);
        let plain = lines(Look::PLAIN, std::slice::from_ref(&event));
        assert!(!plain.contains('\u{1b}'));
        let coloured = lines(coloured, &[event]);
        assert!(coloured.contains('\u{1b}'));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn raw_bytes_are_shown_as_text_and_cut() {
        let raw = |content: Vec<u8>| {
            let raw = RawContent {
                media_type: "application/json".into(),
                content: content.into(),
            };
            let mut out = String::new();
            Lines::fixed(Look::PLAIN).raw(
                &EventRaw {
                    offset: 0,
                    raw: Some(raw),
                },
                &mut out,
            );
            out
        };
        assert_eq!(
            raw(b"{\"a\":\x1b}\n".to_vec()),
            "  │ raw application/json 8 B\n  │ {\"a\":␛}\n"
        );
        let long = raw(vec![b'x'; 10_000]);
        assert!(long.ends_with("x…\n") && long.len() < 5_000);
    }
}
