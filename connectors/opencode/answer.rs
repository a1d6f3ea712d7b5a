//! One list of opencode, read.
//!
//! The one thing to believe: an answer knows after how many live frames it was asked for, so that older news never overrides
//! newer.

use serde_json::Value;

use super::api::{self, Api};
use super::reconcile::Read;

/// What a read gave, and after how many live frames it was asked for.
pub(super) struct Answer {
    pub(super) read: Read,
    pub(super) asked_order: u64,
    pub(super) told: Result<Told, api::Error>,
}

/// A record is told as the history has it, or else as facts and messages.
pub(super) enum Told {
    List(Value),
    History(Value),
    Messages { info: Value, messages: Value },
}

/// Reads one list.
pub(super) async fn ask(api: Api, read: Read, history_request: Value, asked_order: u64) -> Answer {
    let told = match &read {
        Read::Home => api.home().await.map(Told::List),
        Read::Sessions => api.sessions().await.map(Told::List),
        Read::Lists => Ok(Told::List(Value::Null)),
        Read::Status(directory) => api.status(directory).await.map(Told::List),
        Read::Permissions(directory) => api.permissions(directory).await.map(Told::List),
        Read::Questions(directory) => api.questions(directory).await.map(Told::List),
        Read::Record(session) => match api.history(&history_request).await {
            Ok(rows) => Ok(Told::History(rows)),
            // An older server without a history, or a history too long to take.
            Err(_) => messages(&api, session).await,
        },
    };
    Answer {
        read,
        asked_order,
        told,
    }
}

/// A session as it is now, with its newest messages.
pub(super) async fn messages(api: &Api, session: &str) -> Result<Told, api::Error> {
    let info = api.session(session).await?;
    let messages = match api.messages(session).await {
        // What it says from now on is heard; what it said is too much to take.
        Err(api::Error::TooLong) => Value::Array(Vec::new()),
        messages => messages?,
    };
    Ok(Told::Messages { info, messages })
}
