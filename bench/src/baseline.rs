//! What the hub is measured beside, in a process of its own, over the same wire and with the same bytes.

pub(crate) mod raw;
pub(crate) mod shape;
pub(crate) mod bare;
