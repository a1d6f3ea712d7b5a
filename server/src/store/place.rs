//! Where an event lies: its log and its offset in one number.
//!
//! Believe this: places of one log are in the order of its offsets, and no other log's place lies between them. See `entity` for why.

use bellboard_core::offset::{LogKey, Offset};
use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Condition, Order};

use super::entity::event;

/// Bits of an offset in a place.
const OFFSET_BITS: u32 = 44;
/// The largest offset.
pub(super) const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
/// How many logs have a place.
pub(super) const LOGS_MAX: i64 = 1 << (63 - OFFSET_BITS);

/// The place of an offset. One that is out of range takes the last.
pub(super) fn place(log: LogKey, offset: Offset) -> i64 {
    i64::from(log.0) << OFFSET_BITS | std::cmp::min(offset.0, OFFSET_MAX).cast_signed()
}

/// The offset of a place.
pub(super) fn offset(place: i64) -> Offset {
    Offset(place.cast_unsigned() & OFFSET_MAX)
}

/// An offset as the columns hold it.
pub(super) fn signed(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Back,
}

impl Direction {
    pub(super) fn order(self) -> Order {
        match self {
            Direction::Forward => Order::Asc,
            Direction::Back => Order::Desc,
        }
    }
}

/// Offsets of `[from, until)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) log: LogKey,
    pub(super) from: Offset,
    pub(super) until: Offset,
}

impl Range {
    pub(super) fn is_empty(self) -> bool {
        self.from >= self.until
    }

    /// The part of it that comes first, of at most `events`.
    pub(super) fn beginning(self, direction: Direction, events: usize) -> Range {
        let events = events as u64;
        match direction {
            Direction::Forward => Range {
                until: self.until.min(Offset(self.from.0.saturating_add(events))),
                ..self
            },
            Direction::Back => Range {
                from: self.from.max(Offset(self.until.0.saturating_sub(events))),
                ..self
            },
        }
    }

    pub(super) fn condition(self) -> Condition {
        Condition::all()
            .add(event::Column::Place.gte(place(self.log, self.from)))
            .add(event::Column::Place.lt(place(self.log, self.until)))
    }
}
