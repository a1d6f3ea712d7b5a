//! What a connector says of itself: that it follows its agent, and that it does not any more.
//!
//! The one thing to believe: only edges are told. A connector that cannot reach its agent, and tries, says nothing until it does.

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{ConnectorOffline, ConnectorOnline, Event, EventAppend};

/// Who a connector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its lasting id: that of its writer.
    pub connector_id: String,
    /// Whose agents it ties to the hub.
    pub vendor: String,
    /// The machine, as a person knows it. May be empty.
    pub host: String,
}

/// What was said last.
#[derive(Debug)]
pub struct Presence {
    identity: Identity,
    online: bool,
}

impl Presence {
    /// Of a connector that said nothing yet.
    #[must_use]
    pub const fn new(identity: Identity) -> Presence {
        Presence {
            identity,
            online: false,
        }
    }

    /// It follows its agent: what to append, if that is news.
    pub fn came(&mut self) -> Option<EventAppend> {
        if std::mem::replace(&mut self.online, true) {
            return None;
        }
        let Identity {
            connector_id,
            vendor,
            host,
        } = self.identity.clone();
        Some(append(Payload::ConnectorOnline(ConnectorOnline {
            connector_id,
            writer_id: String::new(),
            vendor,
            connector_version: env!("CARGO_PKG_VERSION").to_owned(),
            host,
            reconcile_note: String::new(),
        })))
    }

    /// It follows its agent no longer: what to append, if that is news.
    pub fn left(&mut self, reason: &str) -> Option<EventAppend> {
        if !std::mem::replace(&mut self.online, false) {
            return None;
        }
        Some(append(Payload::ConnectorOffline(ConnectorOffline {
            connector_id: self.identity.connector_id.clone(),
            writer_id: String::new(),
            reason: reason.to_owned(),
        })))
    }
}

fn append(payload: Payload) -> EventAppend {
    EventAppend {
        event: Some(Event {
            payload: Some(payload),
            ..Event::default()
        }),
        ..EventAppend::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_said() {
        let mut presence = Presence::new(Identity {
            connector_id: "c".to_owned(),
            vendor: "v".to_owned(),
            host: "h".to_owned(),
        });
        assert_eq!(presence.left("never came"), None);
        let online = presence.came().expect("it came");
        assert_eq!(online.session, None, "it is of no session");
        assert!(matches!(
            online.event.and_then(|event| event.payload),
            Some(Payload::ConnectorOnline(_))
        ));
        assert_eq!(presence.came(), None);
        let offline = presence.left("it ended").expect("it left");
        let Some(Payload::ConnectorOffline(offline)) = offline.event.and_then(|event| event.payload) else {
            panic!("another payload");
        };
        assert_eq!(
            (offline.connector_id.as_str(), offline.reason.as_str()),
            ("c", "it ended")
        );
        assert!(presence.left("again").is_none() && presence.came().is_some());
    }
}
