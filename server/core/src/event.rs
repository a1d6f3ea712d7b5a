//! What an event is to the hub: a place, a few facts, and bytes that it does not read.
//!
//! Believe this: the bytes are encoded once, when the event is placed, and never again. What the hub must know of an event (its
//! family, which item it begins or ends, what it says of its session) is parsed at the door and travels beside the bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::audience::Audience;
use crate::id::{EventId, SessionId, WriterId};
use crate::link::{Digest, Link, first_eight_bytes};
use crate::offset::{Index, Offset, Time};
use crate::session::{Life, SessionFacts, SessionKey};
use crate::subscription::frame::SnapshotEntry;

/// Which part of an agent's life an event tells of: what interests filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// The session itself.
    Session = 1,
    /// The connector that ties it to the hub.
    Connector,
    /// Prompts and the queue.
    Input,
    /// Runs on one input.
    Turn,
    /// Messages.
    Message,
    /// Reasoning blocks.
    Reasoning,
    /// Tool calls.
    Tool,
    /// Questions to a human.
    Ask,
    /// Child agents.
    Subagent,
    /// Background tasks.
    Background,
    /// Files, diffs, plans, workspaces, change requests, artifacts.
    Work,
    /// Retries, quotas, usage, compaction, notices.
    Health,
    /// Attention items.
    Attention,
    /// Commands.
    Command,
    /// Raw vendor events.
    Vendor,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 15] = [
        Family::Session,
        Family::Connector,
        Family::Input,
        Family::Turn,
        Family::Message,
        Family::Reasoning,
        Family::Tool,
        Family::Ask,
        Family::Subagent,
        Family::Background,
        Family::Work,
        Family::Health,
        Family::Attention,
        Family::Command,
        Family::Vendor,
    ];

    /// The family of this number, which is also its number in the contract.
    #[must_use]
    pub fn of_number(number: i32) -> Option<Family> {
        Self::ALL.into_iter().find(|family| *family as i32 == number)
    }
}

/// Several families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Families(u32);

impl Families {
    /// None.
    pub const NONE: Families = Families(0);
    /// All of them.
    pub const ALL: Families = Families(u32::MAX);

    /// These and one more.
    #[must_use]
    pub const fn with(self, family: Family) -> Families {
        Families(self.0 | 1 << family as u8)
    }

    /// Whether `family` is among them.
    #[must_use]
    pub const fn contain(self, family: Family) -> bool {
        self.0 & 1 << family as u8 != 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Families) -> Families {
        Families(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: Families) -> Families {
        Families(self.0 | other.0)
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub const fn contain_all(self, others: Families) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a number, for hashing.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        families.into_iter().fold(Families::NONE, Families::with)
    }
}

/// The payload's kind: its field number in the contract's `Event.payload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u16);

impl Kind {
    /// The family of this kind: the contract numbers its payloads by family. None for a number that it gives to no family.
    #[must_use]
    pub const fn family(self) -> Option<Family> {
        Some(match self.0 {
            20..=39 => Family::Session,
            40..=49 => Family::Connector,
            50..=59 => Family::Input,
            60..=69 => Family::Turn,
            70..=79 => Family::Message,
            80..=89 => Family::Reasoning,
            90..=99 => Family::Tool,
            100..=119 => Family::Ask,
            120..=129 => Family::Subagent,
            130..=139 => Family::Background,
            140..=159 => Family::Work,
            160..=179 => Family::Health,
            180..=189 => Family::Attention,
            190..=209 => Family::Command,
            210..=219 => Family::Vendor,
            _ => return None,
        })
    }
}

/// An item's name, as far as the hub needs it: the first eight bytes of the SHA-256 of the item id. Enough to pair the events of one
/// item within one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemKey(pub u64);

impl ItemKey {
    /// Of this item id.
    #[must_use]
    pub fn of(item_id: &str) -> ItemKey {
        ItemKey(first_eight_bytes(&Digest::of(item_id.as_bytes()).0))
    }
}

/// What an event does to the item it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemStep {
    /// The item begins; deltas may follow.
    Started,
    /// The item has its full value; deltas after it are refused.
    Completed,
}

/// What an event says of its session.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SessionStep {
    /// Nothing.
    #[default]
    None,
    /// It begins, with these facts.
    Opened(Box<SessionFacts>),
    /// These facts changed.
    Changed(Box<SessionFacts>),
    /// A new life of it begins (resume, compact, clear, process restart): this one, or the next one where the event names none.
    Renewed(Option<Life>),
    /// It ended.
    Closed,
    /// It was put aside.
    Archived,
    /// It was taken back.
    Unarchived,
}

/// What makes an append recognisable when it is sent again: sixteen bytes of a hash over what its writer calls it, unique within
/// its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DedupeKey(pub [u8; 16]);

impl DedupeKey {
    /// From the writer's own key.
    #[must_use]
    pub fn of_key(key: &str) -> DedupeKey {
        Self::hash("key", key)
    }

    /// From an event id, which serves where no key is given and no writer counts.
    #[must_use]
    pub fn of_event_id(id: &EventId) -> DedupeKey {
        Self::hash("event", id.as_str())
    }

    fn hash(domain: &str, text: &str) -> DedupeKey {
        let digest = Digest::of(format!("{domain}\0{text}").as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest.0[..16]);
        DedupeKey(first)
    }
}

/// The vendor's own bytes beside an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// What they are, for example `application/json`.
    pub media_type: Arc<str>,
    /// The bytes, untouched.
    pub content: Bytes,
}

/// Which session an append names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionRef {
    /// By its id.
    Id(SessionId),
    /// By the vendor's key.
    Key(SessionKey),
}

/// What an event says of the connector that its writer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectorStep {
    /// The connector of this id is there.
    Online(Arc<str>),
    /// It leaves.
    Offline,
}

/// Why a connector counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its lease ended without a word.
    LeaseEnded {
        /// The last seq that it published.
        last_seq: u64,
    },
    /// The hub lost appends that the connector knows as acknowledged.
    AcknowledgedLost {
        /// The last seq that the hub has.
        last_seq: u64,
        /// The last seq that the connector knows as acknowledged, which is greater.
        acknowledged: u64,
    },
}

/// An event on its way in: checked, not yet placed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its session, opened by this event if it is new; none where it is of the tenant as a whole.
    pub session: Option<SessionRef>,
    /// The vendor's key that the session gets if this event opens it by id.
    pub opens: Option<SessionKey>,
    /// Its name, where the writer gave it one; the hub gives it one when it is placed.
    pub event_id: Option<EventId>,
    /// What makes it recognisable when sent again.
    pub dedupe: Option<DedupeKey>,
    /// The payload's kind.
    pub kind: Kind,
    /// The payload's family.
    pub family: Family,
    /// The session's life that the writer means; none takes the current one.
    pub life: Option<Life>,
    /// The item it names.
    pub item: Option<ItemKey>,
    /// What it does to that item.
    pub item_step: Option<ItemStep>,
    /// What it says of its session.
    pub session_step: SessionStep,
    /// What it says of its writer's connector.
    pub connector_step: Option<ConnectorStep>,
    /// Everything of the event that is not the hub's to write, encoded: envelope fields and payload.
    pub body: Bytes,
    /// The vendor's bytes beside it.
    pub raw: Option<Raw>,
}

/// What the hub writes into an event when it is placed.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// When the hub stored it.
    pub recorded: Time,
    /// Its name.
    pub event_id: &'a EventId,
    /// Its place in a session; none where it is of the tenant as a whole.
    pub session: Option<PlacedIn<'a>>,
}

/// What the hub writes into an event of a session when it is placed.
#[derive(Clone, Copy, Debug)]
pub struct PlacedIn<'a> {
    /// Its place in its session.
    pub index: Index,
    /// Its session.
    pub session: &'a SessionId,
    /// The session's root; itself when it has no parent.
    pub root: &'a SessionId,
    /// The session's parent.
    pub parent: Option<&'a SessionId>,
    /// The session's life.
    pub life: Life,
}

/// What stored bytes say.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// When they were stored.
    pub recorded: Time,
    /// What they say of their session; none where they are of the tenant as a whole.
    pub session: Option<ToldOf>,
}

/// What stored bytes say of their session: what the fold took from the draft, once more.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldOf {
    /// The session.
    pub session: SessionId,
    /// Its parent, once this event is folded.
    pub parent: Option<SessionId>,
    /// The life that the event belongs to.
    pub life: Life,
    /// The key that it brings its session.
    pub opens: Option<SessionKey>,
    /// What it says of its session.
    pub session_step: SessionStep,
}

/// Turns drafts into an event's stored bytes, and says what they mean. The wire brings it; the core does not know protobuf.
pub trait Encode: Send + Sync + std::fmt::Debug + 'static {
    /// The stored bytes: all of the event but its link.
    fn event(&self, placement: &Placement<'_>, body: &Bytes) -> Bytes;

    /// The stored bytes with the link behind them: what is sent.
    fn linked(&self, stored: &Bytes, link: Link) -> Bytes;

    /// Kind and body of the event that opens a session, at this time, which its first event did not open.
    fn opened(&self, key: Option<&SessionKey>, now: Time) -> (Kind, Bytes);

    /// Kind and body of the event that tells, at this time, that the connector of a writer was lost. Its id is empty where the writer
    /// never told it.
    fn lost(&self, writer: &WriterId, connector: &str, lost: Lost, now: Time) -> (Kind, Bytes);

    /// The id of the item that an event names; empty where it names none.
    fn item_id(&self, sent: &Bytes) -> Arc<str>;

    /// The message that is sent for a page of a snapshot as of this offset.
    fn snapshot_page(&self, sessions: Vec<SnapshotEntry>, offset: Offset) -> Bytes;

    /// When an event was stored, out of its bytes with or without the link; none where they cannot be read.
    fn recorded(&self, bytes: &Bytes) -> Option<Time>;

    /// What stored bytes say; none where they cannot be read.
    fn told(&self, stored: &Bytes) -> Option<Told>;

    /// The message that is sent for a fragment: its body with the session's id.
    fn delta(&self, session: &SessionId, body: &Bytes) -> Bytes;
}

/// Where an event's session stands among the others: what selectors look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Routing {
    /// The session.
    pub session: SessionId,
    /// Its project, empty when unknown.
    pub project: Arc<str>,
    /// Its vendor, empty when unknown.
    pub vendor: Arc<str>,
    /// Its parent, the parent's parent and so on, nearest first.
    pub ancestors: Box<[SessionId]>,
}

impl Routing {
    /// The same for a session above it that stands where `parent` says; none when it does not lie below that one.
    #[must_use]
    pub fn below(&self, parent: &Routing) -> Option<Routing> {
        let depth = self.ancestors.iter().position(|id| *id == parent.session)?;
        let kept = self.ancestors.iter().take(depth + 1);
        Some(Routing {
            ancestors: kept.chain(&parent.ancestors).cloned().collect(),
            ..self.clone()
        })
    }
}

/// What an event is of: what selectors look at.
#[derive(Clone, Debug)]
pub enum Of {
    /// A session.
    Session(InSession),
    /// The tenant as a whole. It concerns those who look at one of its writer's sessions.
    Tenant(Arc<Audience>),
}

/// An event's part in its session.
#[derive(Clone, Debug)]
pub struct InSession {
    /// Its place in its session.
    pub index: Index,
    /// Where its session stood once it was stored.
    pub routing: Arc<Routing>,
    /// Where its session stood before, if this event moved it. What lies below that session moved with it.
    pub moved_from: Option<Arc<Routing>>,
}

/// An event as it is read and sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the log.
    pub offset: Offset,
    /// What it is of.
    pub of: Of,
    /// The payload's kind.
    pub kind: Kind,
    /// The payload's family.
    pub family: Family,
    /// The item it names.
    pub item: Option<ItemKey>,
    /// What it does to that item.
    pub item_step: Option<ItemStep>,
    /// Whether a raw record lies beside it.
    pub has_raw: bool,
    /// The chain after it.
    pub link: Link,
    /// The bytes that are sent, link included.
    pub bytes: Bytes,
}

impl Event {
    /// Its part in its session; none where it is of the tenant as a whole.
    #[must_use]
    pub const fn in_session(&self) -> Option<&InSession> {
        match &self.of {
            Of::Session(of) => Some(of),
            Of::Tenant(_) => None,
        }
    }
}
