//! Lists of sessions and snapshots.
//!
//! Believe this: a snapshot is the log's row, session rows and newest items of one moment, within its limits; what a limit cut off
//! can be found below `more_below`.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::rows::{self, Log, Routings};
use crate::event::{Encode, ItemStep};
use crate::interest::{Detail, Interests};
use crate::offset::Offset;
use crate::session::{Lifecycle, Session};
use crate::store::{Error, Only, SessionFilter, SessionOrder, SessionSnapshot, Shown, Snapshot, SnapshotLimits};

/// One page of a list.
pub(super) fn list(
    log: &Log,
    filter: &SessionFilter,
    order: SessionOrder,
    below: Offset,
    limit: usize,
) -> Vec<Session> {
    let place = |session: &Session| match order {
        SessionOrder::Recent => session.last_offset,
        SessionOrder::Opened => session.opened_offset,
    };
    let mut found: Vec<&Session> = log
        .rows
        .sessions
        .values()
        .filter(|session| place(session) < below && passes(filter, session))
        .collect();
    found.sort_unstable_by_key(|session| Reverse(place(session)));
    found.into_iter().take(limit).cloned().collect()
}

fn passes(filter: &SessionFilter, session: &Session) -> bool {
    let SessionFilter {
        project,
        vendor,
        parent,
        roots_only,
        include_closed,
        include_archived,
    } = filter;
    let is = |wanted: &Option<Arc<str>>, fact: &Option<Arc<str>>| {
        wanted.is_none() || wanted.as_deref() == Some(fact.as_deref().unwrap_or_default())
    };
    is(project, &session.facts.project)
        && is(vendor, &session.facts.vendor)
        && (parent.is_none() || parent.as_ref() == session.parent())
        && (!roots_only || session.parent().is_none())
        && (*include_closed || session.lifecycle == Lifecycle::Live)
        && (*include_archived || !session.archived)
}

/// All that is to be shown now.
pub(super) fn take(
    log: &Log,
    encode: &dyn Encode,
    shown: Shown<'_>,
    limits: SnapshotLimits,
) -> Result<Snapshot, Error> {
    let interests = shown.interests;
    let detailed = |session| Some((session, shown.detail(&Session::routing(session))?));
    let mut selected: Vec<(&Session, Detail)> = match shown.only {
        Only::These(ids) => ids
            .iter()
            .filter_map(|id| log.rows.session_by_id(id))
            .filter_map(detailed)
            .collect(),
        Only::All | Only::SelectedBy(_) => {
            let mut selected: Vec<_> = log.rows.sessions.values().filter_map(detailed).collect();
            selected.sort_unstable_by_key(|(session, _)| Reverse(session.last_offset));
            selected
        }
    };
    let mut row_bytes = 0;
    let fit = selected.iter().take(limits.sessions).take_while(|(session, _)| {
        row_bytes += session.bytes();
        row_bytes <= limits.row_bytes || row_bytes == session.bytes()
    });
    let fit = fit.count();
    let truncated = selected.len() > fit;
    selected.truncate(fit);
    let mut bytes_left = limits.bytes;
    let mut sessions = Vec::with_capacity(selected.len());
    for (session, detail) in selected {
        sessions.push(match detail {
            Detail::Summary => SessionSnapshot {
                session: session.clone(),
                items: Vec::new(),
                more_below: None,
            },
            Detail::Content | Detail::Live => newest_items(log, encode, interests, session, limits, &mut bytes_left)?,
        });
    }
    Ok(Snapshot {
        log: log.row.clone(),
        sessions,
        truncated,
    })
}

/// Walks a session backwards. The newest completed or started event of an item is the item.
fn newest_items(
    log: &Log,
    encode: &dyn Encode,
    interests: &Interests,
    session: &Session,
    limits: SnapshotLimits,
    bytes_left: &mut usize,
) -> Result<SessionSnapshot, Error> {
    let routing = session.routing();
    let mut routings = Routings::new();
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    let mut more_below = None;
    let mut down_to = session.last_offset.next();
    let kept = log.rows.offsets(session.number).rev();
    for (looked, offset) in kept.take_while(|offset| *offset >= limits.oldest).enumerate() {
        if looked >= limits.scan || items.len() >= limits.items || *bytes_left == 0 {
            more_below = Some(down_to);
            break;
        }
        let Some(row) = log.event(offset) else { break };
        if let (Some(item), Some(ItemStep::Started | ItemStep::Completed)) = (row.item, row.item_step)
            && interests.want(&routing, rows::family(row)?)
            && seen.insert(item)
        {
            let event = log.read(&mut routings, row, encode)?;
            let Some(left) = bytes_left.checked_sub(event.bytes.len()) else {
                // Nor will a smaller one of another session be taken: older sessions do not come before newer ones.
                *bytes_left = 0;
                more_below = Some(down_to);
                break;
            };
            *bytes_left = left;
            items.push(event);
        }
        down_to = offset;
    }
    items.reverse();
    Ok(SessionSnapshot {
        session: session.clone(),
        items,
        more_below,
    })
}
