//! What became of appends, as the contract has it.
//!
//! Believe this: there is one result for each append, in the order in which they came, whatever happened to its neighbours.

use bellboard_core::appender::{Append, Claim, Outcome};
use bellboard_core::limits;
use bellboard_core::offset::Time;
use bellboard_proto::hub::v1 as hub;
use bellboard_proto::v1::{self, append_result::Outcome as Sent};
use tonic::Status;

use crate::wire::fault::Fault;
use crate::wire::{draft, status, writers};

/// What an append goes by before it is known what becomes of it: its seq and its event's id.
pub type Name = (u64, String);

/// An AppendEvents, understood.
#[derive(Debug)]
pub struct Batch {
    /// Who appends; none without a writer.
    pub claim: Option<Claim>,
    /// The appends.
    pub appends: Vec<Append>,
}

impl Batch {
    /// Reads the request. `now` is the time of events that have none.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there are no appends or too many, or no writer of that name can be. A bad append is answered for itself.
    pub fn parse(request: hub::AppendEventsRequest, now: Time) -> Result<Batch, Status> {
        let hub::AppendEventsRequest {
            writer_id,
            fence,
            appends,
        } = request;
        if appends.is_empty() || appends.len() > limits::APPEND_EVENTS_MAX {
            return Err(Fault::entries("appends", appends.len(), 1, limits::APPEND_EVENTS_MAX).into());
        }
        let claim = writers::claim(&writer_id, fence)?;
        let writer = claim.as_ref().map(|claim| &claim.writer);
        let appends = appends.iter().map(|append| draft::append(append, writer, now));
        Ok(Batch {
            appends: appends.collect(),
            claim,
        })
    }
}

/// The names of appends.
#[must_use]
pub fn names(appends: &[Append]) -> Vec<Name> {
    let id = |append: &Append| append.draft.as_ref().ok()?.event_id.as_ref().map(ToString::to_string);
    appends
        .iter()
        .map(|append| (append.seq, id(append).unwrap_or_default()))
        .collect()
}

/// The results of appends, by their names.
pub fn results(names: Vec<Name>, outcomes: Vec<Outcome>) -> impl Iterator<Item = v1::AppendResult> {
    names.into_iter().zip(outcomes).map(result)
}

fn result(((seq, event_id), outcome): (Name, Outcome)) -> v1::AppendResult {
    let (event_id, session_id, outcome) = match outcome {
        Outcome::Stored {
            event_id,
            session,
            stored,
        } => {
            let stored = v1::EventStored {
                offset: stored.offset.0,
                index: stored.index.unwrap_or_default().0,
            };
            let session = session.map(|session| session.to_string()).unwrap_or_default();
            (event_id.to_string(), session, Sent::Stored(stored))
        }
        Outcome::Duplicate { session, stored } => {
            let offset = stored.map(|stored| stored.offset.0);
            let index = stored.and_then(|stored| stored.index).map(|index| index.0);
            let session = session.map(|session| session.to_string()).unwrap_or_default();
            (event_id, session, Sent::Duplicate(v1::EventDuplicate { offset, index }))
        }
        Outcome::Unchanged { session } => {
            let nowhere = v1::EventDuplicate {
                offset: None,
                index: None,
            };
            (event_id, session.to_string(), Sent::Duplicate(nowhere))
        }
        Outcome::Rejected(rejection) => {
            let rejected = v1::EventRejected {
                reason: status::refused(rejection.refusal).into(),
                message: rejection.message,
                field: rejection.field,
                metadata: rejection
                    .metadata
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            };
            (event_id, String::new(), Sent::Rejected(rejected))
        }
    };
    v1::AppendResult {
        seq,
        event_id,
        session_id,
        outcome: Some(outcome),
    }
}
