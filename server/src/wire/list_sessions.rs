//! `ListSessions`: the sessions of a tenant in pages.
//!
//! Believe this: a page says where the next one begins by the place of its last session, so that a session that is opened meanwhile
//! moves no other one.

use bellboard_core::log::Log;
use bellboard_core::offset::Offset;
use bellboard_core::session::{Session, normal_project, normal_vendor};
use bellboard_core::store::{SessionFilter, SessionOrder};
use bellboard_proto::v1;
use prost::Message;
use tonic::Status;

use crate::wire::fault::Fault;
use crate::wire::page_token::{PAGE_BYTES_MAX, PageToken, page_len, request_hash};
use crate::wire::session::{parse_id, row};
use crate::wire::status::stored;

/// A ListSessions, understood.
#[derive(Debug)]
pub struct List {
    filter: SessionFilter,
    order: SessionOrder,
    below: Offset,
    size: usize,
    request: u64,
}

impl List {
    /// Reads the request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with the field at fault.
    pub fn parse(request: v1::ListSessionsRequest) -> Result<List, Status> {
        let v1::ListSessionsRequest {
            page_size,
            page_token,
            project,
            vendor,
            parent_session_id,
            roots_only,
            include_closed,
            include_archived,
            order,
        } = request;
        let order = match v1::SessionOrder::try_from(order) {
            Ok(v1::SessionOrder::Unspecified | v1::SessionOrder::UpdateTimeDescending) => SessionOrder::Recent,
            Ok(v1::SessionOrder::CreateTimeDescending) => SessionOrder::Opened,
            Err(_) => return Err(Fault::new("order", "is of no known value; leave it out").into()),
        };
        let flags = format!("{roots_only}{include_closed}{include_archived}{order:?}");
        let request = request_hash(&["sessions", &project, &vendor, &parent_session_id, &flags]);
        let parent = (!parent_session_id.is_empty()).then(|| parse_id("parent_session_id", &parent_session_id));
        let below = match page_token.as_str() {
            "" => Offset(u64::MAX),
            token => PageToken::parse(token, request)?.at,
        };
        let filter = SessionFilter {
            project: (!project.is_empty()).then(|| normal_project(&project).into()),
            vendor: (!vendor.is_empty()).then(|| normal_vendor(&vendor).into()),
            parent: parent.transpose()?,
            roots_only,
            include_closed,
            include_archived,
        };
        Ok(List {
            filter,
            order,
            below,
            size: page_len(page_size)?,
            request,
        })
    }

    /// Reads the page. It ends early where a message would not take all of it, since a row may hold long lists of models.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn page(self, log: &Log) -> Result<v1::ListSessionsResponse, Status> {
        let page = log
            .store()
            .list_sessions(log.row().key, &self.filter, self.order, self.below, self.size + 1)
            .await;
        let found = page.map_err(|error| stored(&error))?;
        let mut bytes = 0;
        let sessions: Vec<v1::Session> = found
            .iter()
            .take(self.size)
            .map(row)
            .enumerate()
            .take_while(|(number, row)| {
                bytes += row.encoded_len();
                *number == 0 || bytes <= PAGE_BYTES_MAX
            })
            .map(|(_, row)| row)
            .collect();
        let more = sessions.len() < found.len();
        let last = sessions.len().checked_sub(1).and_then(|last| found.get(last));
        let next_page_token = last.filter(|_| more).map(|last| self.next(last));
        Ok(v1::ListSessionsResponse {
            sessions,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    fn next(&self, last: &Session) -> String {
        let at = match self.order {
            SessionOrder::Recent => last.last_offset,
            SessionOrder::Opened => last.opened_offset,
        };
        PageToken {
            at,
            tail: at,
            request: self.request,
        }
        .encode()
    }
}
