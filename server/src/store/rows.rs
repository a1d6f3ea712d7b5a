//! Many rows in one statement.
//!
//! Believe this: a statement's text depends on the number of its rows, and every text is prepared once and kept. So rows go out in
//! groups of a few sizes, and lists of values are filled up to a power of two: the number of texts stays small, and every text fits
//! the 32766 values that SQLite takes.

use bellboard_core::store::Error;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use super::error;

/// Group sizes. Fewer rows than the last of them go out together, whatever their number.
const GROUPS: [usize; 3] = [256, 128, 64];

/// Longest list of values in one statement.
pub(super) const LIST_MAX: usize = 256;

/// A statement over rows of values: `before (..),(..) after`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Up to the rows, ending in `VALUES`.
    pub(super) before: &'static str,
    /// How many values a row has.
    pub(super) columns: usize,
    /// Behind the rows.
    pub(super) after: &'static str,
}

impl Rows {
    /// Runs it for all rows, given one after the other; nothing for none. Gives how many rows were written.
    pub(super) async fn execute(self, connection: &impl ConnectionTrait, values: Vec<Value>) -> Result<u64, Error> {
        let mut written = 0;
        for statement in self.statements(connection, values) {
            let done = connection.execute_raw(statement).await.map_err(error::of)?;
            written += done.rows_affected();
        }
        Ok(written)
    }

    /// Runs it for all rows and gathers what it returns.
    pub(super) async fn query(
        self,
        connection: &impl ConnectionTrait,
        values: Vec<Value>,
    ) -> Result<Vec<QueryResult>, Error> {
        let mut found = Vec::new();
        for statement in self.statements(connection, values) {
            found.extend(connection.query_all_raw(statement).await.map_err(error::of)?);
        }
        Ok(found)
    }

    fn statements(self, connection: &impl ConnectionTrait, values: Vec<Value>) -> impl Iterator<Item = Statement> {
        let backend = connection.get_database_backend();
        let mut left = values.len() / self.columns;
        let mut values = values.into_iter();
        std::iter::from_fn(move || {
            let rows = group(left)?;
            left -= rows;
            let group: Vec<Value> = values.by_ref().take(rows * self.columns).collect();
            Some(Statement::from_sql_and_values(backend, self.text(backend, rows), group))
        })
    }

    /// SQLite takes numbered places for values, too, but looks for each of them in a list of all.
    fn text(self, backend: DbBackend, rows: usize) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(self.before.len() + self.after.len() + rows * self.columns * 6);
        text.push_str(self.before);
        for row in 0..rows {
            text.push_str(if row == 0 { " (" } else { "),(" });
            for column in 0..self.columns {
                if column > 0 {
                    text.push(',');
                }
                if backend == DbBackend::Sqlite {
                    text.push('?');
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "${}", row * self.columns + column + 1);
                }
            }
        }
        text.push_str(") ");
        text.push_str(self.after);
        text
    }
}

/// How many of the rows that are left go out next.
fn group(left: usize) -> Option<usize> {
    if left == 0 {
        return None;
    }
    Some(GROUPS.into_iter().find(|size| *size <= left).unwrap_or(left))
}

/// Cuts a list into lists of at most [`LIST_MAX`], each filled up to a power of two with repetitions of its last value.
pub(super) fn lists<T: Clone>(values: &[T]) -> impl Iterator<Item = Vec<T>> {
    values.chunks(LIST_MAX).map(filled)
}

/// One list, filled up to a power of two with repetitions of its last value.
pub(super) fn filled<T: Clone>(values: &[T]) -> Vec<T> {
    let mut filled = values.to_vec();
    if let Some(last) = values.last() {
        filled.resize(values.len().next_power_of_two(), last.clone());
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_out_in_few_sizes() {
        let sizes = |mut left: usize| {
            std::iter::from_fn(move || {
                let rows = group(left)?;
                left -= rows;
                Some(rows)
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(sizes(0), [0usize; 0]);
        assert_eq!(sizes(63), [63]);
        assert_eq!(sizes(255), [128, 64, 63]);
        assert_eq!(sizes(600), [256, 256, 64, 24]);
    }

    #[test]
    fn a_text_has_a_place_for_every_value() {
        let rows = Rows {
            before: "INSERT INTO t VALUES",
            columns: 2,
            after: "",
        };
        assert_eq!(rows.text(DbBackend::Sqlite, 2), "INSERT INTO t VALUES (?,?),(?,?) ");
        assert_eq!(
            rows.text(DbBackend::Postgres, 2),
            "INSERT INTO t VALUES ($1,$2),($3,$4) "
        );
    }

    #[test]
    fn lists_are_filled_with_what_they_hold() {
        assert_eq!(filled(&[1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(filled::<u8>(&[]), [0u8; 0]);
        assert_eq!(lists(&[7; 257]).map(|list| list.len()).collect::<Vec<_>>(), [256, 1]);
    }
}
