//! What is told to the tenant as a whole: that a writer's connector came, left or was lost.
//!
//! Believe this: such an event has an offset and a link like any other, and no session. It is for those who look at a session that the
//! writer holds at this very place of the log, be it that the event before it in the same batch gave it that session.

use std::sync::Arc;

use super::Decision;
use crate::appender::{Claim, Outcome, Refusal, Rejection};
use crate::audience::Audience;
use crate::event::{ConnectorStep, Draft, Family, Lost, Of, Placement, Routing, SessionStep};
use crate::id::{EventId, WriterId};
use crate::offset::SessionNumber;
use crate::session::Session;
use crate::store::{Presence, RowOf, Stored, WriterRow};

impl Decision<'_> {
    /// Decides an append without a session.
    pub(super) fn store_of_tenant(
        &mut self,
        claim: Option<&Claim>,
        seq: u64,
        draft: &Draft,
    ) -> Result<Outcome, Rejection> {
        let Some(Claim { writer, .. }) = claim else {
            return Err(Rejection {
                refusal: Refusal::InvalidField,
                message: "session is missing; only a writer speaks without one".to_owned(),
                field: "session".to_owned(),
                metadata: Vec::new(),
            });
        };
        let tenant = SessionNumber::of_tenant(self.log.key);
        if let Some(stored) = draft.dedupe.and_then(|key| self.dedupes.get(&(tenant, key))) {
            return Ok(Outcome::Duplicate {
                session: None,
                stored: Some(*stored),
            });
        }
        let by = Some((writer.clone(), seq));
        let (event_id, stored) = self.place_of_tenant(writer, draft, by.clone());
        self.remember(draft, tenant, by, stored);
        match &draft.connector_step {
            Some(ConnectorStep::Online(connector)) => self.note(writer, |presence| {
                presence.connector = Some(connector.clone());
                presence.online = true;
            }),
            Some(ConnectorStep::Offline) => self.note(writer, |presence| presence.online = false),
            None => {}
        }
        Ok(Outcome::Stored {
            event_id,
            session: None,
            stored,
        })
    }

    /// A writer's lease ended without a word: its connector is lost, if it was there. To be called before what it holds is let go.
    pub(super) fn lease_ended(&mut self, writer: &WriterId) {
        let Some(row) = self.writer(writer).filter(|row| row.presence.online) else {
            return;
        };
        let lost = Lost::LeaseEnded { last_seq: row.last_seq };
        self.tell_lost(&row.clone(), lost);
        self.note(writer, |presence| presence.online = false);
    }

    /// A writer that was opened knows its appends acknowledged up to this one. Where the hub does not have them, it tells so, once. To be
    /// called after the writer was given what it holds.
    pub(in crate::appender) fn settle_acknowledged(&mut self, writer: &WriterId, acknowledged: u64) {
        let Some(row) = self.writer(writer).cloned() else {
            return;
        };
        let lost = (row.last_seq, acknowledged);
        if acknowledged <= row.last_seq || row.presence.lost == Some(lost) {
            return;
        }
        let last_seq = row.last_seq;
        self.tell_lost(&row, Lost::AcknowledgedLost { last_seq, acknowledged });
        self.note(writer, |presence| presence.lost = Some(lost));
    }

    /// Changes what is known of a writer's connector.
    fn note(&mut self, writer: &WriterId, change: impl FnOnce(&mut Presence)) {
        if let Some(mut row) = self.writer(writer).cloned() {
            change(&mut row.presence);
            self.changed.writers.insert(writer.clone(), row);
        }
    }

    /// Tells that a writer's connector was lost.
    fn tell_lost(&mut self, row: &WriterRow, lost: Lost) {
        let connector = row.presence.connector.as_deref().unwrap_or_default();
        let (kind, body) = self.encode.lost(&row.id, connector, lost, self.now);
        let draft = Draft {
            session: None,
            opens: None,
            event_id: None,
            dedupe: None,
            kind,
            family: Family::Connector,
            life: None,
            item: None,
            item_step: None,
            session_step: SessionStep::None,
            connector_step: None,
            body,
            raw: None,
        };
        self.place_of_tenant(&row.id, &draft, None);
    }

    fn place_of_tenant(&mut self, writer: &WriterId, draft: &Draft, by: Option<(WriterId, u64)>) -> (EventId, Stored) {
        let event_id = draft.event_id.clone().unwrap_or_else(EventId::random);
        let placement = Placement {
            offset: self.log.tail,
            recorded: self.now,
            event_id: &event_id,
            session: None,
        };
        let bytes = self.encode.event(&placement, &draft.body);
        let audience = self.audience(writer);
        let (of, row_of) = (Of::Tenant(Arc::clone(&audience)), RowOf::Tenant(audience));
        let stored = self.put(draft, bytes, of, row_of, by);
        (event_id, stored)
    }

    /// Whom it concerns what is told of this writer now.
    fn audience(&mut self, writer: &WriterId) -> Arc<Audience> {
        if let Some(audience) = self.audiences.get(writer) {
            return Arc::clone(audience);
        }
        let before = self.standing.get(writer).into_iter().flatten();
        let unchanged = before.filter(|routing| !self.changed.sessions.contains_key(&routing.session));
        let changed = self.changed.sessions.values().filter(|row| row.hold.is_of(writer));
        let changed: Vec<Routing> = changed.map(Session::routing).collect();
        let held = unchanged.chain(&changed);
        let audience = Arc::new(Audience::holding(writer.clone(), held));
        self.audiences.insert(writer.clone(), Arc::clone(&audience));
        audience
    }
}
