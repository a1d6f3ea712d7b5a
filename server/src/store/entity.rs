//! The tables, as types.
//!
//! Believe this: numbers that are unsigned in the domain lie here as `i64` of the same bits, because neither database has unsigned
//! columns. Nothing outside this room sees these types.
//!
//! An event's key is its *place*: the log's number above 44 bits of offset. The table is one tree ordered by it, so that a log's
//! events lie side by side, an append goes to the end of its log, and a place needs no index of its own. 2^44 offsets are 500 years
//! at a thousand events a second; 2^19 logs fit above them.
#![expect(
    unreachable_pub,
    reason = "sea-orm's derives write `pub` for what they add, and demand it of the model"
)]

/// One row per tenant.
pub(super) mod log {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "logs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub key: i64,
        pub tenant: String,
        pub epoch: i64,
        pub link_key: Vec<u8>,
        pub oldest: i64,
        pub tail: i64,
        pub link: i64,
        pub recorded: i64,
        pub fence: i64,
        pub sessions: i64,
        /// The link before `oldest`. Null in a log that was made before there was such a column: the genesis of its epoch.
        pub base_link: Option<i64>,
        pub oldest_recorded: i64,
        pub bytes: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Every event, without what is rarely wanted with it.
pub(super) mod event {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub session: i64,
        pub idx: i64,
        pub kind: i16,
        pub item: Option<i64>,
        pub item_step: Option<i16>,
        pub writer: Option<i64>,
        pub seq: Option<i64>,
        pub has_raw: bool,
        pub link: i64,
        /// Last, so that the columns before it are read without it.
        pub stored: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The vendor's bytes beside an event.
pub(super) mod raw {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "raws")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        pub media_type: String,
        pub content: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// One row per session.
pub(super) mod session {
    use sea_orm::entity::prelude::*;

    // A base holds one as JSON; a column that an older base lacks has its type's default there.
    #[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel, serde::Serialize, serde::Deserialize)]
    #[serde(default)]
    #[sea_orm(table_name = "sessions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub log: i64,
        pub id: String,
        /// SHA-256 over the parts of the native key, which are too long to be indexed themselves.
        #[serde(skip)]
        pub key_hash: Option<Vec<u8>>,
        pub key_vendor: Option<String>,
        pub key_installation: Option<String>,
        pub key_project: Option<String>,
        pub key_native: Option<String>,
        /// Ids, nearest first, as a JSON array.
        pub ancestors: String,
        pub life: i64,
        pub lifecycle: i16,
        pub archived: bool,
        pub title: Option<String>,
        pub project: Option<String>,
        pub vendor: Option<String>,
        /// All other facts, as a JSON array of pairs.
        pub facts: String,
        pub next_index: i64,
        pub opened_offset: i64,
        pub last_offset: i64,
        /// The offset of the event that brought it to where it stands; 0 while it never stood elsewhere.
        pub stands_from: i64,
        pub created: i64,
        pub updated: i64,
        pub closed: Option<i64>,
        pub trimmed_index: i64,
        /// Behind the newest event of it that was trimmed.
        pub trimmed_offset: i64,
        /// The same per family, as a JSON array of pairs of numbers.
        pub trimmed_families: String,
        /// The writer that holds it.
        #[serde(skip)]
        pub owner: Option<String>,
        /// The fence under which it is held, or was last; 0 while nobody ever held it.
        #[serde(skip)]
        pub owner_fence: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Sessions as they were at their log's oldest offset, those of which events were trimmed.
pub(super) mod base {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "session_bases")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub log: i64,
        /// Its parent, if it has one.
        pub parent: Option<String>,
        /// The session's row as JSON, whose members are the columns of `sessions`.
        pub session: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The links before events that were trimmed, as many in a row as one piece of a trim took away.
pub(super) mod trimmed_links {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "trimmed_links")]
    pub struct Model {
        /// That of the first of them.
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        /// Eight bytes each, big endian.
        pub links: Vec<u8>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Which sessions lie below which: what `session.ancestors` says, the other way round.
pub(super) mod ancestor {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "session_ancestors")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub log: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub ancestor: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub session: i64,
        /// 0 for a parent.
        pub depth: i16,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Where sessions stood before they were moved: one row per session and move.
pub(super) mod stood {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "stood")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session: i64,
        /// The place of the event that moved it on.
        #[sea_orm(primary_key, auto_increment = false, column_name = "until_place")]
        pub until: i64,
        /// The place of the event that had brought it there; that of offset 0 where it began.
        #[sea_orm(column_name = "from_place")]
        pub from: i64,
        pub id: String,
        pub project: String,
        pub vendor: String,
        /// Ids, nearest first, as a JSON array.
        pub ancestors: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// What `stood.ancestors` says, one by one.
pub(super) mod stood_below {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "stood_below")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session: i64,
        #[sea_orm(primary_key, auto_increment = false, column_name = "until_place")]
        pub until: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub ancestor: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Events without a session, those included that were trimmed a while ago.
pub(super) mod tenant_event {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tenant_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub place: i64,
        /// Whose sessions' subscribers it is for.
        pub writer: i64,
        pub kind: i16,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// What can be named of the sessions that a writer held, from one of its events without a session until another.
pub(super) mod audience {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audiences")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub writer: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub key: i64,
        /// The place of the first event without it; the last place of the log while there is none.
        #[sea_orm(primary_key, auto_increment = false, column_name = "until_place")]
        pub until: i64,
        /// The place of the first event with it.
        #[sea_orm(column_name = "from_place")]
        pub from: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// One row per writer.
pub(super) mod writer {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "writers")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub log: i64,
        pub id: String,
        /// Null while a writer is only named by events.
        pub fence: Option<i64>,
        pub last_seq: Option<i64>,
        /// Counted on by the node that hears it, where there are several.
        pub beat: i64,
        /// The id of its connector, once it told it.
        pub connector: Option<String>,
        /// Whether its connector is there, as far as it or the hub said.
        pub online: bool,
        /// The last seq that the hub had when it told what the writer lost; and the last that the writer had.
        pub lost_after: Option<i64>,
        pub lost_until: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Clients, each with the number of its newest stream.
pub(super) mod client {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "clients")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub log: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub principal: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub incarnation: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The highest number that a stream of a client was given: one row.
pub(super) mod incarnation {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "incarnations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub newest: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The keys that sign resume tokens.
pub(super) mod resume_key {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "resume_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub secret: Option<Vec<u8>>,
        pub mints_from: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The keys that clients come with, as hashes.
pub(super) mod api_key {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub hash: Vec<u8>,
        pub tenant: String,
        pub principal: String,
        /// Names, with a blank between two.
        pub scopes: String,
        pub label: String,
        pub created: i64,
        pub expires: Option<i64>,
        pub revoked: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
