//! Keys as tables, for people.
//!
//! Believe this: columns are as wide as their widest cell, and nothing secret has a column.

use std::io::{self, Write};

use super::{ApiKey, ResumeKey, Time};

/// All API keys, oldest first.
pub(super) fn api_keys(out: &mut impl Write, rows: &[ApiKey], now: Time) -> io::Result<()> {
    let head = [
        "KEY",
        "STATE",
        "PRINCIPAL",
        "TENANT",
        "SCOPES",
        "MADE",
        "EXPIRES",
        "LABEL",
    ];
    let cells = rows.iter().map(|row| {
        let expired = row.expires.is_some_and(|time| time <= now);
        let state = match (row.revoked, expired) {
            (Some(_), _) => "revoked",
            (None, true) => "expired",
            (None, false) => "good",
        };
        [
            row.id.clone(),
            state.to_owned(),
            row.principal.clone(),
            row.tenant.clone(),
            row.scopes.join(","),
            date(row.created),
            row.expires.map_or_else(|| "never".to_owned(), date),
            row.label.clone(),
        ]
    });
    print(out, head, &cells.collect::<Vec<_>>())
}

/// All resume token keys, oldest first.
pub(super) fn resume_keys(out: &mut impl Write, keys: &[ResumeKey], now: Time) -> io::Result<()> {
    let newest = keys
        .iter()
        .filter(|key| key.secret.is_some() && key.mints_from <= now)
        .map(|key| key.id)
        .max();
    let cells = keys.iter().map(|key| {
        let state = match &key.secret {
            None => "removed",
            Some(_) if Some(key.id) == newest => "makes tokens",
            Some(_) if key.mints_from > now => "coming",
            Some(_) => "checks tokens",
        };
        [key.id.0.to_string(), state.to_owned(), date(key.mints_from)]
    });
    print(out, ["RESUME KEY", "STATE", "USED FROM"], &cells.collect::<Vec<_>>())
}

fn print<const N: usize>(out: &mut impl Write, head: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let strong = anstyle::Style::new().bold();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.fold(head[column].len(), usize::max)
    });
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    writeln!(out, "{strong}{}{strong:#}", line(head))?;
    for row in rows {
        writeln!(out, "{}", line(std::array::from_fn(|column| row[column].as_str())))?;
    }
    Ok(())
}

/// To the second, in UTC.
fn date(time: Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.0.to_string(), |time| format!("{time:.0}"))
}
