//! What the core's tests build their worlds from.
//!
//! Believe this: every wait of a test goes through [`within`], so a hang is a failure and not a timeout of the whole run.

pub(crate) mod explorer;
pub(crate) mod kept;
pub(crate) mod rig;
pub(crate) mod telling;
pub(crate) mod watch;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::audience::Audience;
use crate::event::{Draft, Event, Family, InSession, ItemKey, ItemStep, Kind, Of, Routing, SessionRef, SessionStep};
use crate::hold::Claim;
use crate::id::{EventId, PrincipalId, SessionId, TenantId, WriterId};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::link::Link;
use crate::offset::{Index, Offset};
use crate::session::SessionFacts;

/// Kinds of the contract, one of each family that the tests speak of.
pub(crate) const OPENED: Kind = Kind(20);
pub(crate) const ONLINE: Kind = Kind(40);
pub(crate) const MESSAGE: Kind = Kind(70);
pub(crate) const TOOL: Kind = Kind(90);
pub(crate) const ASK: Kind = Kind(100);

/// Longer than any test takes; real time, so that it ends a hang whatever the test's own clock says.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not hang")
}

thread_local! {
    static AT_EVERY_LOCK: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Runs `body`, and `hook` whenever this thread is about to take a lock of a log in it; not within the hook itself.
pub(crate) fn at_every_lock<T>(hook: Rc<dyn Fn()>, body: impl FnOnce() -> T) -> T {
    AT_EVERY_LOCK.set(Some(hook));
    let result = body();
    AT_EVERY_LOCK.set(None);
    result
}

/// A log is about to take one of its locks.
pub(crate) fn point() {
    if let Some(hook) = AT_EVERY_LOCK.take() {
        hook();
        AT_EVERY_LOCK.set(Some(hook));
    }
}

pub(crate) fn tenant(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

pub(crate) fn principal(text: &str) -> PrincipalId {
    PrincipalId::parse(text).unwrap()
}

pub(crate) fn session(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

pub(crate) fn writer(text: &str) -> WriterId {
    WriterId::parse(text).unwrap()
}

pub(crate) fn claim(id: &str, fence: u64) -> Claim {
    Claim {
        writer: writer(id),
        fence,
    }
}

/// One session, and nothing below it.
pub(crate) fn only(id: &str) -> Selector {
    Selector::Session(session(id))
}

/// Interests without a family filter.
pub(crate) fn interests<const N: usize>(list: [(Selector, Detail); N]) -> Interests {
    let list = list
        .into_iter()
        .map(|(selector, detail)| Interest::new(selector, detail));
    Interests::new(list.collect()).unwrap()
}

/// An event that moves a session to this project, or below this parent.
pub(crate) fn moves(id: &str, project: Option<&str>, parent: Option<&str>) -> Draft {
    let facts = SessionFacts {
        project: project.map(Into::into),
        parent: parent.map(|parent| SessionRef::Id(session(parent))),
        ..SessionFacts::default()
    };
    Draft {
        session_step: SessionStep::Changed(Box::new(facts)),
        ..draft_of(SessionRef::Id(session(id)), OPENED)
    }
}

/// The link before an offset in the logs that [`event`] makes.
pub(crate) fn link_before(offset: Offset) -> Link {
    Link(offset.0 * 7 + 1000)
}

/// Where a session stands: project `/p` of vendor `v`, without parents.
pub(crate) fn routing(id: &str) -> Arc<Routing> {
    Arc::new(Routing {
        session: session(id),
        project: "/p".into(),
        vendor: "v".into(),
        ancestors: Box::default(),
    })
}

/// An event of a log whose links are [`link_before`].
pub(crate) fn event(offset: u64, routing: &Arc<Routing>, kind: Kind) -> Event {
    let offset = Offset(offset);
    Event {
        offset,
        of: Of::Session(InSession {
            index: Index(offset.0),
            routing: routing.clone(),
            moved_from: None,
        }),
        kind,
        family: kind.family().unwrap(),
        item: None,
        item_step: None,
        has_raw: false,
        link: link_before(offset.next()),
        bytes: Bytes::from(format!("{}@{offset}", routing.session)),
    }
}

/// The event moved its session: to here, if it is not there yet, and away from there.
pub(crate) fn moved_to(event: &mut Event, to: Option<Arc<Routing>>, from: Arc<Routing>) {
    let Of::Session(of) = &mut event.of else {
        panic!("{event:?} has no session")
    };
    of.routing = to.unwrap_or_else(|| of.routing.clone());
    of.moved_from = Some(from);
}

/// The event, as one that moved its session to where it stands now.
pub(crate) fn moved(mut event: Event, from: Arc<Routing>) -> Event {
    moved_to(&mut event, None, from);
    event
}

/// The part in its session of an event that has one.
pub(crate) fn in_session(event: &Event) -> &InSession {
    event.in_session().unwrap()
}

/// An event without a session, of a writer that holds these.
pub(crate) fn of_tenant(offset: u64, held: &[&str]) -> Event {
    let held: Vec<_> = held.iter().map(|id| routing(id)).collect();
    let audience = Audience::holding(writer("w"), held.iter().map(Arc::as_ref));
    Event {
        of: Of::Tenant(Arc::new(audience)),
        ..event(offset, &routing("none"), ONLINE)
    }
}

/// The same, naming an item.
pub(crate) fn item_event(offset: u64, routing: &Arc<Routing>, item: &str, step: ItemStep) -> Event {
    Event {
        item: Some(ItemKey::of(item)),
        item_step: Some(step),
        ..event(offset, routing, MESSAGE)
    }
}

/// A plain message event of a session, with a body that is its own.
pub(crate) fn draft(id: &str) -> Draft {
    draft_of(SessionRef::Id(session(id)), MESSAGE)
}

/// An event of this kind.
pub(crate) fn draft_of(session: SessionRef, kind: Kind) -> Draft {
    let event_id = EventId::random();
    Draft {
        session: Some(session),
        opens: None,
        body: Bytes::copy_from_slice(event_id.as_str().as_bytes()),
        event_id: Some(event_id),
        dedupe: None,
        kind,
        family: kind.family().unwrap_or(Family::Vendor),
        life: None,
        item: None,
        item_step: None,
        session_step: SessionStep::None,
        connector_step: None,
        raw: None,
    }
}
