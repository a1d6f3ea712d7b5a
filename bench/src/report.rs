//! What is told in the end: a table for people, JSON for programs.
//!
//! Believe this: a goal counts as reached by the median, and the spread stands beside it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::rounds::{Around, Rounds, Spread};

/// What a number should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// The ratio is at most this.
    AtMost(f64),
    /// The ratio is at least this.
    AtLeast(f64),
    /// The hub's own number is at most this.
    OwnAtMost(f64),
    /// Told for what it is worth.
    None,
}

/// One comparison of one number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Which scenario.
    pub(crate) scenario: &'static str,
    /// What was measured, with its unit.
    pub(crate) what: String,
    /// Beside what.
    pub(crate) beside: &'static str,
    /// The hub's median.
    pub(crate) own: f64,
    /// The other's median.
    pub(crate) other: f64,
    /// The hub's number by the other's, round by round.
    pub(crate) ratio: Spread,
    /// What it should be.
    pub(crate) goal: Goal,
    /// Whether it is; nothing where there is no goal.
    pub(crate) reached: Option<bool>,
    /// Under what.
    pub(crate) around: Around,
}

/// How a number is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    /// Its name in the samples.
    pub(crate) name: &'static str,
    /// What it is, with its unit.
    pub(crate) what: &'static str,
    /// From the sample's unit to that one.
    pub(crate) scale: f64,
}

impl Row {
    /// Compares a number of one side with that of another side, which has a name.
    pub(crate) fn of(
        scenario: &'static str,
        rounds: &Rounds,
        own_side: usize,
        (side, beside): (usize, &'static str),
        number: Number,
        goal: Goal,
    ) -> Row {
        let Number { name, what, scale } = number;
        let (own, other) = (rounds.median(own_side, name) * scale, rounds.median(side, name) * scale);
        let ratio = rounds.ratio(own_side, side, name);
        let reached = match goal {
            Goal::AtMost(most) => Some(ratio.median <= most),
            Goal::AtLeast(least) => Some(ratio.median >= least),
            Goal::OwnAtMost(most) => Some(own <= most),
            Goal::None => None,
        };
        Row {
            scenario,
            what: what.to_owned(),
            beside,
            own,
            other,
            ratio,
            goal,
            reached,
            around: rounds.around,
        }
    }
}

/// The table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<18}{:<44}{:<22}{:>10}{:>10}  {:>5} ({:>5} to {:>5})  {:<10} {:<8} rounds\n",
        "scenario", "what", "beside", "hub", "other", "ratio", "least", "most", "goal", ""
    );
    for row in rows {
        let Spread { median, least, most } = row.ratio;
        let (goal, reached) = (goal(row.goal), reached(row.reached));
        let around = &row.around;
        let noise = match (around.noisy, around.discarded) {
            (0, 0) => String::new(),
            (noisy, discarded) => format!(", {noisy} noisy, {discarded} discarded"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<18}{:<44}{:<22}{:>10}{:>10}  {median:>5.2} ({least:>5.2} to {most:>5.2})  {goal:<10} {reached:<8} {}{noise}",
            row.scenario,
            row.what,
            row.beside,
            short(row.own),
            short(row.other),
            around.kept,
        );
    }
    text
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::AtMost(most) => format!("<= {most}x"),
        Goal::AtLeast(least) => format!(">= {least}x"),
        Goal::OwnAtMost(most) => format!("<= {}", short(most)),
        Goal::None => String::new(),
    }
}

const fn reached(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "reached",
        Some(false) => "missed",
        None => "",
    }
}

/// Three digits that say something.
fn short(number: f64) -> String {
    match number.abs() {
        least if least < 10.0 => format!("{number:.2}"),
        few if few < 100.0 => format!("{number:.1}"),
        some if some < 1e6 => format!("{number:.0}"),
        _ => format!("{:.2}M", number / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_short() {
        let told = [0.123, 12.34, 4567.8, 2_345_678.0].map(short);
        assert_eq!(told, ["0.12", "12.3", "4568", "2.35M"]);
    }
}
