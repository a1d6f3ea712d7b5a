//! Rows under a head.
//!
//! Believe this: columns are as wide as their widest cell on a screen, where some characters take two columns and some none. Cells are
//! fit to be printed before they come here.

use anstyle::Style;

use super::output::Look;
use super::printable::width;

/// The table, with a line's end behind each row.
pub(super) fn text<const N: usize>(look: Look, head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| width(&row[column]));
        cells.fold(width(head[column]), usize::max)
    });
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths);
        let padded = cells.map(|(cell, width_max)| format!("{cell}{}", " ".repeat(width_max - width(cell))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = look.paint(Style::new().bold(), &line(head));
    text.push('\n');
    for row in rows {
        text.push_str(&line(std::array::from_fn(|column| row[column].as_str())));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_is_in_them() {
        let rows = [["日本".to_owned(), "x".to_owned()], ["abcde".to_owned(), String::new()]];
        assert_eq!(text(Look::PLAIN, ["A", "B"], &rows), "A      B\n日本   x\nabcde\n");
    }
}
