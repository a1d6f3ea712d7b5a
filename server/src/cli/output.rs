//! Standard output, as the commands that print a lot use it.
//!
//! Believe this: colours are on only where somebody sees them and nobody forbade them (`NO_COLOR`, `TERM=dumb`), and what was written is
//! out after [`Output::flush`], which every command calls when it has said something whole.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::Style;

/// How wide a line may be where there is no terminal to ask.
const WIDTH_DEFAULT: usize = 200;
/// No line is made shorter than this, however narrow the terminal: it would say nothing.
const WIDTH_MIN: usize = 60;

/// How it looks where it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether there are colours.
    pub(super) colours: bool,
    /// Whether somebody watches: text may then grow while it is said.
    pub(super) terminal: bool,
    /// How many columns a line has.
    pub(super) width: usize,
}

impl Look {
    /// A file or another program reads it.
    #[cfg(test)]
    pub(super) const PLAIN: Look = Look {
        colours: false,
        terminal: false,
        width: WIDTH_DEFAULT,
    };

    fn of_stdout() -> Look {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let size = if terminal { terminal_size::terminal_size() } else { None };
        Look {
            colours: anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never,
            terminal,
            width: size.map_or(WIDTH_DEFAULT, |(columns, _)| usize::from(columns.0).max(WIDTH_MIN)),
        }
    }

    /// The text in this style, where there are styles.
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Where a command prints.
pub(super) struct Output {
    sink: Box<dyn Write + Send>,
    look: Look,
}

impl Output {
    /// The standard output of this process.
    pub(super) fn stdout() -> Output {
        Output {
            sink: Box::new(BufWriter::new(io::stdout())),
            look: Look::of_stdout(),
        }
    }

    /// Another place, for tests.
    #[cfg(test)]
    pub(super) fn to(sink: impl Write + Send + 'static, look: Look) -> Output {
        let sink = Box::new(sink);
        Output { sink, look }
    }

    /// How it looks there.
    pub(super) const fn look(&self) -> Look {
        self.look
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("look", &self.look)
            .finish_non_exhaustive()
    }
}

/// Says something beside the output, on standard error.
pub(super) fn note(text: &str) {
    // When standard error is gone there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}
