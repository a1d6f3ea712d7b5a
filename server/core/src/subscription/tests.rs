//! One file per part of what a stream promises.

mod clients;
mod controls;
mod cost;
mod ends;
mod entering;
mod gone;
mod live;
mod resume;
mod shared;
mod snapshot;
mod starts;
mod updating;
mod wander;
