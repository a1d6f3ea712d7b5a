//! Text of agents, made fit for a terminal.
//!
//! Believe this: what agents say is hostile. No control character, no escape sequence and no mark that turns the direction of writing
//! gets through; each becomes one visible character, so nothing hidden stays hidden and nothing printed moves the cursor.

use unicode_width::UnicodeWidthChar as _;

/// Stands for a character that has no picture of its own.
const UNPRINTABLE: char = '\u{fffd}';

/// Most characters looked at for each column: a text of marks without width must not be walked to its end.
const CHARS_PER_COLUMN_MAX: usize = 8;

/// The character itself, or what is shown for it.
#[must_use]
fn shown(c: char) -> char {
    match c {
        // The control pictures stand in the order of the controls.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(UNPRINTABLE),
        '\u{7f}' => '\u{2421}',
        // C1 controls; marks and overrides of the writing's direction; what has no width; line separators; tags; private notes.
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => UNPRINTABLE,
        c => c,
    }
}

/// The text on one line: white space of any kind and length is one space.
#[must_use]
pub(super) fn one_line(text: &str) -> String {
    fit(text, usize::MAX)
}

/// The text on one line of at most so many columns, with `…` at its end where something was left out.
#[must_use]
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut line = String::new();
    let (mut width, mut gap) = (0, false);
    // Where to cut if it turns out too long: before the last column.
    let mut cut = 0;
    for (count, c) in text.chars().enumerate() {
        if c.is_whitespace() {
            gap = !line.is_empty();
            continue;
        }
        let c = shown(c);
        let more = c.width().unwrap_or(0) + usize::from(gap);
        if width + more > columns || count > columns.saturating_mul(CHARS_PER_COLUMN_MAX) {
            line.truncate(cut);
            line.push('…');
            break;
        }
        if gap {
            line.push(' ');
            gap = false;
        }
        line.push(c);
        width += more;
        if width < columns {
            cut = line.len();
        }
    }
    line
}

/// How many columns the text takes.
#[must_use]
pub(super) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The text with its lines, each begun with `indent`; for a text that comes in pieces, which need not be whole lines.
pub(super) fn push_lines(out: &mut String, text: &str, indent: &str) {
    for c in text.chars() {
        match c {
            '\n' => {
                out.push('\n');
                out.push_str(indent);
            }
            '\t' => out.push_str("    "),
            // The other half of a line's end.
            '\r' => {}
            c => out.push(shown(c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_gets_through() {
        let hostile = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{8}\u{7f}\u{202e}gnp.exe\u{2066}\u{feff}\0";
        let line = one_line(hostile);
        assert_eq!(line, "␛[2J␛]0;title␇\u{fffd}31m␈␡\u{fffd}gnp.exe\u{fffd}\u{fffd}␀");
        let mut lines = String::new();
        push_lines(&mut lines, hostile, "| ");
        assert_eq!(lines, line);
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        for c in one_line(&all).chars() {
            assert!(!c.is_control(), "{c:?}");
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(one_line("  a\r\n\tb\u{2028}c \u{3000} d\n"), "a b c d");
        let mut lines = String::new();
        push_lines(&mut lines, "a\r\n\tb\nc", "| ");
        assert_eq!(lines, "a\n|     b\n| c");
    }

    #[test]
    fn what_is_too_wide_is_cut_and_says_so() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("ab cd ef", 5), "ab c…");
        // Two columns each.
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(width("日本…"), 5);
    }

    #[test]
    fn marks_without_width_do_not_make_a_line_endless() {
        let zalgo = "\u{301}".repeat(100_000);
        assert!(fit(&zalgo, 10).len() < 1_000);
    }

    #[test]
    fn other_writing_is_left_as_it_is() {
        for text in ["žluťoučký kůň", "שלום", "👩\u{200d}💻", "नमस्ते"] {
            assert_eq!(one_line(text), text);
        }
    }
}
