//! What the connector still holds when it starts: what the hub says is this writer's, of that what opencode still has.
//!
//! The one thing to believe: it remembers nothing. A session that opencode lost meanwhile is not named, and so the hub lets it go and does
//! not wait for it any more.

use std::collections::HashSet;

use bellboard_proto::v1::{ListSessionsRequest, WriterSession};
use bellboard_sdk::{Client, RetryPolicy, retrying, session_id};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use tracing::warn;

use super::api::Api;
use super::frame::text;
use super::map::VENDOR;

/// A session's id at the hub, and opencode's own.
type Names = (String, String);

/// The sessions to open the writer with. The hub is waited for as long as it is away; opencode is not: what cannot be asked holds
/// nothing, and is claimed again by what it says later.
///
/// # Errors
/// When the hub refuses to tell.
pub(super) async fn sessions(
    client: &Client,
    api: &Api,
    writer_id: &str,
) -> Result<Vec<WriterSession>, bellboard_sdk::Error> {
    let own = retrying(&RetryPolicy::stream(), || own(client, writer_id)).await?;
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let listed = api.sessions().await.unwrap_or_else(|error| {
        warn!(%error, "opencode does not say which sessions it has; they are let go");
        Value::Null
    });
    Ok(both(own, &listed))
}

/// What the hub says is held by this writer.
async fn own(client: &Client, writer_id: &str) -> Result<Vec<Names>, bellboard_sdk::Error> {
    let request = ListSessionsRequest {
        vendor: VENDOR.to_owned(),
        page_size: 1000,
        include_closed: true,
        include_archived: true,
        ..ListSessionsRequest::default()
    };
    let mut sessions = client.list_sessions(request);
    let mut own = Vec::new();
    while let Some(session) = sessions.try_next().await? {
        let is_own = session.owner.is_some_and(|owner| owner.writer_id == writer_id);
        if let Some(key) = session.key.filter(|_| is_own) {
            own.push((session.session_id, key.native_id));
        }
    }
    Ok(own)
}

/// Those of them that opencode lists.
fn both(own: Vec<Names>, listed: &Value) -> Vec<WriterSession> {
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let there: HashSet<&str> = listed.iter().map(|session| text(session, "/id")).collect();
    let held = own
        .into_iter()
        .filter(|(_, native_id)| there.contains(native_id.as_str()));
    held.map(|(id, _)| WriterSession {
        session: Some(session_id(id)),
        ..WriterSession::default()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_both_sides_know_is_still_held() {
        let own = || {
            vec![
                ("s1".to_owned(), "ses_1".to_owned()),
                ("s2".to_owned(), "ses_2".to_owned()),
            ]
        };
        let named = |id: &str| WriterSession {
            session: Some(session_id(id)),
            ..WriterSession::default()
        };
        assert_eq!(
            both(own(), &json!([{ "id": "ses_2" }, { "id": "ses_3" }])),
            [named("s2")]
        );
        assert_eq!(both(own(), &Value::Null), []);
    }
}
