//! One file per part of what a stream promises.

mod cost;
mod ends;
mod live;
mod resume;
mod snapshot;
mod starts;
