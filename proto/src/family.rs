//! Which family a payload belongs to, by its field number in `Event.payload`.
//!
//! The one thing to believe: ranges are reserved, so a variant that this build does not know yet still has its family.

use crate::v1::EventFamily;

/// The family of the payload with this field number in `Event.payload`; `None` for `redacted` (16), for the envelope's
/// fields and for numbers that no family has.
#[must_use]
pub const fn family_of(field_number: u32) -> Option<EventFamily> {
    Some(match field_number {
        20..=39 => EventFamily::Session,
        40..=49 => EventFamily::Connector,
        50..=59 => EventFamily::Input,
        60..=69 => EventFamily::Turn,
        70..=79 => EventFamily::Message,
        80..=89 => EventFamily::Reasoning,
        90..=99 => EventFamily::Tool,
        100..=119 => EventFamily::Ask,
        120..=129 => EventFamily::Subagent,
        130..=139 => EventFamily::Background,
        140..=159 => EventFamily::Work,
        160..=179 => EventFamily::Health,
        180..=189 => EventFamily::Attention,
        190..=209 => EventFamily::Command,
        210..=219 => EventFamily::Vendor,
        _ => return None,
    })
}
