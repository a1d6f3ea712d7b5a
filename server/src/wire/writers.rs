//! Writers between the wire and the core: who appends, and what a writer is given.

use bellboard_core::appender::{Claim, Grant};
use bellboard_core::event::SessionRef;
use bellboard_core::id::{SessionId, WriterId};
use bellboard_core::limits;
use bellboard_proto::v1;

use crate::wire::fault::Fault;
use crate::wire::session::parse_ref;

/// Most sessions that a writer may name at once, as the contract says.
const WRITER_SESSIONS_MAX: usize = 10_000;

/// Reads who appends; none without a writer.
///
/// # Errors
/// When the writer's id is none, or a fence is given without a writer.
pub fn claim(writer_id: &str, fence: u64) -> Result<Option<Claim>, Fault> {
    match (writer_id, fence) {
        ("", 0) => Ok(None),
        ("", _) => Err(Fault::new(
            "fence",
            "is set without a writer_id; leave it 0, or name the writer",
        )),
        (id, fence) => Ok(Some(Claim {
            writer: parse_id("writer_id", id)?,
            fence,
        })),
    }
}

/// Reads who appends, where a writer must be named.
///
/// # Errors
/// Names the field that is empty or no writer's id.
pub fn named_claim(field: &str, writer_id: &str, fence: u64) -> Result<Claim, Fault> {
    match writer_id {
        "" => Err(Fault::new(field, "is empty; name the writer")),
        id => Ok(Claim {
            writer: parse_id(field, id)?,
            fence,
        }),
    }
}

/// Reads a writer's id.
///
/// # Errors
/// Names the field and what is wrong.
pub fn parse_id(field: &str, id: &str) -> Result<WriterId, Fault> {
    WriterId::parse(id).map_err(|error| Fault::id(field, &error))
}

/// Reads the sessions that a writer wants.
///
/// # Errors
/// When they are too many; names the one at fault.
pub fn parse_sessions(sessions: &[v1::WriterSession]) -> Result<Vec<SessionRef>, Fault> {
    if sessions.len() > WRITER_SESSIONS_MAX {
        return Err(Fault::entries("sessions", sessions.len(), 0, WRITER_SESSIONS_MAX));
    }
    let parsed = sessions
        .iter()
        .enumerate()
        .map(|(at, each)| parse_ref(&format!("sessions[{at}].session"), each.session.as_ref()));
    parsed.collect()
}

/// What a writer that opens is given.
#[must_use]
pub fn opened(grant: &Grant) -> v1::OpenWriterResponse {
    let Grant {
        fence,
        last_seq,
        sessions,
    } = grant;
    v1::OpenWriterResponse {
        fence: *fence,
        last_seq: *last_seq,
        lease_duration: lease(),
        results: sessions.iter().map(held).collect(),
    }
}

/// What a writer that goes on is given.
#[must_use]
pub fn renewed(grant: &Grant) -> v1::RenewWriterResponse {
    let Grant {
        fence: _,
        last_seq,
        sessions,
    } = grant;
    v1::RenewWriterResponse {
        last_seq: *last_seq,
        lease_duration: lease(),
        results: sessions.iter().map(held).collect(),
    }
}

/// How long a lease lives, as the contract has it.
#[must_use]
pub fn lease() -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(limits::LEASE_DURATION).ok()
}

fn held(session: &SessionId) -> v1::WriterSessionResult {
    v1::WriterSessionResult {
        session_id: session.to_string(),
        status: v1::WriterSessionStatus::Held.into(),
        owner_writer_id: String::new(),
        reason: v1::ErrorReason::Unspecified.into(),
    }
}
