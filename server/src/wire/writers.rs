//! Writers between the wire and the core: who appends, and what a writer is given.

use bellboard_core::appender::{Claim, Claimed, Grant, Wish};
use bellboard_core::clock::Clock;
use bellboard_core::hold::{Barred, Take};
use bellboard_core::id::WriterId;
use bellboard_core::limits;
use bellboard_core::log::Log;
use bellboard_proto::v1;

use crate::wire::encode::timestamp;
use crate::wire::fault::Fault;
use crate::wire::session::parse_ref;

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

/// Reads all that a writer holds. Whether a run is active and which life is held matter to the fold of a session's state, which is not
/// built yet.
///
/// # Errors
/// When the sessions are too many; names the one at fault.
pub fn parse_wish(sessions: &[v1::WriterSession], take_over: bool) -> Result<Wish, Fault> {
    if sessions.len() > limits::WRITER_SESSIONS_MAX {
        return Err(Fault::entries(
            "sessions",
            sessions.len(),
            0,
            limits::WRITER_SESSIONS_MAX,
        ));
    }
    let parsed = sessions
        .iter()
        .enumerate()
        .map(|(at, each)| parse_ref(&format!("sessions[{at}].session"), each.session.as_ref()));
    Ok(Wish {
        sessions: parsed.collect::<Result<_, _>>()?,
        take: if take_over { Take::Over } else { Take::Free },
        acknowledged: 0,
    })
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
        results: sessions.iter().map(claimed).collect(),
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
        results: sessions.iter().map(claimed).collect(),
    }
}

/// How long a lease lives, as the contract has it.
#[must_use]
pub fn lease() -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(limits::LEASE_DURATION).ok()
}

/// When a writer's lease ends unless it is renewed; none where this node does not know.
#[must_use]
pub fn lease_expires(log: &Log, clock: &dyn Clock, writer_id: &str) -> Option<prost_types::Timestamp> {
    let writer = WriterId::parse(writer_id).ok()?;
    let left = log.leases().left(&writer, clock.elapsed())?;
    Some(timestamp(clock.now().plus(left)))
}

fn claimed(claimed: &Claimed) -> v1::WriterSessionResult {
    use v1::{ErrorReason, WriterSessionStatus as Status};
    let Claimed { session, barred } = claimed;
    let (status, owner, reason) = match barred {
        None => (Status::Held, String::new(), ErrorReason::Unspecified),
        Some(Barred::Owned(owner)) => (Status::OwnedElsewhere, owner.to_string(), ErrorReason::SessionOwned),
        Some(Barred::Fenced(_)) => (Status::Refused, String::new(), ErrorReason::Fenced),
    };
    v1::WriterSessionResult {
        session_id: session.to_string(),
        status: status.into(),
        owner_writer_id: owner,
        reason: reason.into(),
    }
}
