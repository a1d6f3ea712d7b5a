//! Every bound of the hub, each with its reason, in one place.
//!
//! Believe this: nothing in this crate grows without one of these numbers above it.

use std::time::Duration;

/// Longest identifier that a client may choose, in bytes: an id is a key, not a document.
pub const ID_BYTES_MAX: usize = 128;

/// Longest part of a session's native key (a vendor's id, a path, a repository URL), in bytes: Linux' own `PATH_MAX`.
pub const KEY_PART_BYTES_MAX: usize = 4096;

/// Largest event, in bytes as stored. Longer text keeps its beginning and its end, so that one event always fits a gRPC message
/// (4 MiB by default) sixteen times over.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Largest raw vendor record beside an event, in bytes: the same as an event, for the same reason.
pub const RAW_BYTES_MAX: usize = 256 * 1024;

/// Most events in one append call or frame. A larger batch gains nothing: a commit gathers several calls anyway.
pub const APPEND_EVENTS_MAX: usize = 1000;

/// Most events that one commit gathers, so that the first of them does not wait long for the last.
pub const COMMIT_EVENTS_MAX: usize = 4096;

/// Most calls that wait for the committer. Beyond it a caller waits to be queued, which is back-pressure.
pub const COMMIT_QUEUE_MAX: usize = 1024;

/// Most bytes that wait for the committer, over all callers: the same purpose, for large events.
pub const COMMIT_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most folded rows (sessions, writers) kept between commits, per log. They are a cache: a miss costs one read.
pub const FOLD_CACHE_ROWS_MAX: usize = 10_000;

/// Bytes of folded rows kept between commits, for all logs of the process together; a log over its fair share of it gives up first.
pub const FOLD_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most events that a duplicate's place is searched in. A retry repeats what was never acknowledged, so its first copy is near the tail.
pub const DUPLICATE_SCAN_MAX: usize = 4096;

/// Most events a writer may have sent and not yet seen acknowledged on one stream.
pub const UNACKNOWLEDGED_EVENTS_MAX: usize = 1024;

/// Most bytes of the same.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most clients of one principal that are remembered, the newest. One that comes back later is a new one; until then it is a tab that was
/// closed long ago.
pub const CLIENTS_PER_PRINCIPAL_MAX: usize = 1000;

/// Most streams of clients that are numbered in one transaction, so that it stays short.
pub const CLIENTS_TAKEN_AT_ONCE: usize = 256;

/// Most clients that are read at once to learn what other nodes numbered.
pub const CLIENTS_READ_MAX: usize = 1000;

/// Most changes of one open stream that wait to be taken by it, beside the newest credential. A client waits for one to be answered before
/// it sends the next; a stream that is not read must not gather more.
pub const CONTROLS_MAX: usize = 16;

/// Bytes of the newest events kept in memory, for all logs of the process together.
pub const WINDOW_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// What a slot of the window costs beside its event's bytes: the slot, its posting and its share of the maps.
pub const WINDOW_SLOT_OVERHEAD_BYTES: usize = 160;

/// Most batches that a window keeps beside its slots for readers who ask for the same: those who are live share the newest one or two, and
/// those who replay together stand within a few frames of one another.
pub const BATCHES_MAX: usize = 32;

/// Bytes of the same: a few full frames, each with its events and its message. They count for the window.
pub const BATCHES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of the newest deltas kept in memory, per log. A subscriber further behind is given the texts so far instead.
pub const DELTA_WINDOW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest text in flight that the hub keeps, per item, in bytes. Beyond it the text is unavailable until the item completes,
/// which could not be stored at full length either.
pub const ITEM_TEXT_BYTES_MAX: usize = EVENT_BYTES_MAX;

/// Bytes of all texts in flight of one log. Beyond it the oldest become unavailable.
pub const ITEM_TEXTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most items in flight in one log. Beyond it the oldest are forgotten: they were abandoned, or will be completed.
pub const ITEMS_IN_FLIGHT_MAX: usize = 10_000;

/// Most events, and bytes of them, that a starting process looks back at for items that were open when the last one ended.
pub const RECOVER_EVENTS_MAX: usize = 10_000;
/// See [`RECOVER_EVENTS_MAX`].
pub const RECOVER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most events in one `events` frame.
pub const FRAME_EVENTS_MAX: usize = 512;

/// Bytes after which an `events` or `deltas` frame is full. It holds at least one event, however large.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Smallest and largest frame that a subscriber may ask for. The smallest still holds a useful batch; the largest leaves room for
/// the frame's own fields in a gRPC message of 4 MiB.
pub const FRAME_BYTES_ASKED_MIN: usize = 4 * 1024;
/// See [`FRAME_BYTES_ASKED_MIN`].
pub const FRAME_BYTES_ASKED_MAX: usize = 3 * 1024 * 1024;

/// Longest time that a subscriber may ask to gather events after it was woken: beyond it a stream looks broken.
pub const LINGER_MAX: Duration = Duration::from_secs(1);

/// Most events that one store read looks at, matching or not, so that a selective read of a long log makes progress that its
/// subscriber can see and keep.
pub const SCAN_EVENTS_MAX: usize = 4096;

/// Most matching events that a resume replays before a snapshot is the better answer.
pub const REPLAY_EVENTS_DEFAULT: u64 = 100_000;

/// Most events that `from_last` goes back.
pub const FROM_LAST_MAX: u32 = 10_000;

/// Most interests of one subscription.
pub const INTERESTS_MAX: usize = 64;

/// Most sessions in one snapshot, the most recently active first. More are listed by `ListSessions`.
pub const SNAPSHOT_SESSIONS_MAX: usize = 10_000;

/// Most items of each session in a snapshot. Older ones are read by `ListEvents`.
pub const SNAPSHOT_ITEMS_MAX: usize = 50;

/// Most events that are looked at to find those items.
pub const SNAPSHOT_SCAN_MAX: usize = 2_000;

/// Bytes of one session's items in a snapshot, and of the texts of those that are open, so that a session fits one frame; the newest
/// item is given however large.
pub const SNAPSHOT_SESSION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of items in one snapshot. Sessions past it come with their row and a page token, without items.
pub const SNAPSHOT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of one snapshot's pages, rows included. Sessions past it are left out, as those past the number are.
pub const SNAPSHOT_ENCODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a snapshot is given to others who ask for the same. Long enough that all who lost one node read it once from the next, short
/// enough that what follows it is little.
pub const SNAPSHOT_SHARED_FOR: Duration = Duration::from_secs(2);

/// How often the same snapshot is read while it is shared, because the log has grown since: who asks alone is given all that was stored
/// before, and a storm costs no more than this.
pub const SNAPSHOT_READS_MAX: u32 = 4;

/// Snapshots that are read from the store at once, by all streams of the process. Each takes a connection and memory of its own, and others
/// read too.
pub const SNAPSHOTS_TAKEN_AT_ONCE: usize = 2;

/// Bytes of all snapshots that streams hold. Beyond it the oldest are taken back, and who still reads one begins with a newer one: a
/// stalled reader holds no memory that others need.
pub const SNAPSHOTS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Most snapshots of single sessions whose contents a stream remembers until it has come past them, so that it sends nothing of them once
/// more. They are shared, and a client leaves out by itself what comes once more because an older one was forgotten.
pub const SNAPSHOTS_HELD_MAX: usize = 64;

/// Most sessions in them together: a name each, so that a stream that stops right behind one holds less than a quarter of a MiB.
pub const SNAPSHOTS_HELD_SESSIONS_MAX: usize = 2_000;

/// Most sessions that `snapshot_begin` names: it is one frame, and the pages tell them all.
pub const SNAPSHOT_NAMES_MAX: usize = 1_000;

/// Bytes of session rows in one snapshot: ten thousand usual ones are a quarter of it, but a row may hold long lists of models. Past it
/// the snapshot is truncated, as past [`SNAPSHOT_SESSIONS_MAX`].
pub const SNAPSHOT_ROW_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most sessions in one `snapshot_page` frame.
pub const SNAPSHOT_PAGE_SESSIONS_MAX: usize = 200;

/// Most parents above a session. Each row lists them, and a deeper tree of agents is a loop that nobody stopped: its links are refused.
pub const SESSION_DEPTH_MAX: usize = 256;

/// Most sessions below one that are linked anew when it gets another parent. More would hold the log's row for long; they keep
/// the lineage they have.
pub const RELINKED_SESSIONS_MAX: usize = 10_000;

/// Default and largest page of a List method.
pub const PAGE_SIZE_DEFAULT: usize = 100;
/// Larger page sizes are taken as this.
pub const PAGE_SIZE_MAX: usize = 1000;

/// Time between two heartbeats of a stream, before jitter, and the range a client may ask for. It must stay below what proxies
/// take for idle (60 s is common).
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(15);
/// Shortest heartbeat interval that may be asked for.
pub const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
/// Longest heartbeat interval that may be asked for.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(60);
/// Share of the interval by which each heartbeat is early or late, so that many streams do not beat together.
pub const HEARTBEAT_JITTER: f64 = 0.2;

/// How long before its expiry a credential's streams are warned: enough to fetch another and to retry once or twice.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(60);

/// Shortest age at which streams may be asked to come back: below it they would do little else.
pub const MAX_AGE_MIN: Duration = Duration::from_secs(10);

/// Share of that age by which each stream ends early, so that streams which were opened together do not come back together.
pub const MAX_AGE_JITTER: f64 = 0.1;

/// How long a writer holds its lease without a sign of life.
pub const LEASE_DURATION: Duration = Duration::from_secs(30);

/// How often leases are looked at: one that ended is noticed within a sixth of its length.
pub const LEASE_TICK: Duration = Duration::from_secs(5);

/// How long the row of a writer that is heard may tell nothing of it, where other nodes look at rows: three beats in a lease. Where there
/// are several nodes, each waits so much longer than a lease: a writer that speaks to another at the last moment is told of at the next tick.
pub const LEASE_BEAT: Duration = Duration::from_secs(10);

/// Most sessions that a writer may name at once, and most that it is released from at once: what one connector of a busy machine holds in
/// years. It bounds the transaction that does it.
pub const WRITER_SESSIONS_MAX: usize = 10_000;

/// How far the fences of a log move on when it gets another epoch: beyond all that the lost history can have given out, and small
/// enough for millions of restores within the 53 bits that JavaScript counts exactly.
pub const FENCE_LEAP: u64 = 1 << 32;

/// Most events that are read at once to be checked: with the largest bodies 32 MiB.
pub const VERIFY_PAGE_EVENTS_MAX: usize = 128;

/// Most sessions' rows that are read at once to be checked; only their places are.
pub const VERIFY_PAGE_SESSIONS_MAX: usize = 1000;

/// Most events, and bytes of them, that are folded at once when rows are rebuilt: appends wait for the log that long.
pub const REBUILD_EVENTS_AT_ONCE: usize = 2048;
/// See [`REBUILD_EVENTS_AT_ONCE`].
pub const REBUILD_BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// Most rows that are compared at once.
pub const REBUILD_SESSIONS_AT_ONCE: usize = 1000;

/// Most damaged places that are told of one log; all are counted. More of them help nobody, and a log may be damaged everywhere.
pub const FINDINGS_MAX: usize = 100;

/// How often the announced tail of a followed log is compared with the store, so that a commit whose outcome nobody told is told after all.
pub const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// The same where other nodes append to the same logs and no doorbell tells of it: what one of them stores is seen at the others so much
/// later, at the cost of one small statement.
pub const COMPARE_INTERVAL_SHARED: Duration = Duration::from_millis(250);

/// How long a stream that opens waits for a look at what other nodes stored. It begins with what is known here where the store does not
/// answer in time.
pub const LOOK_MAX: Duration = Duration::from_secs(2);

/// Most events that are read at once because another node stored them: four times what it stores in one of our intervals when it is busy.
/// Beyond it subscribers read for themselves.
pub const FILL_EVENTS_MAX: usize = 4096;

/// Most bytes of the same: what it costs in memory while it is read.
pub const FILL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Time between minting a new resume token key and its first use, so that every node verifies it before any mints with it.
pub const RESUME_KEY_DELAY: Duration = Duration::from_secs(10);

/// Most resume token keys kept, retired ones included.
pub const RESUME_KEYS_MAX: usize = 64;

/// Shortest and longest advice in a DRAINING `closing`, spread so that the clients of one node do not all return at once.
pub const DRAIN_RETRY_MIN: Duration = Duration::from_millis(100);
/// See [`DRAIN_RETRY_MIN`].
pub const DRAIN_RETRY_MAX: Duration = Duration::from_secs(2);

// The door: what a peer may hold of the process, known or not. Settings of `serve` where an operator may need others.

/// Most connections at a time. Each costs some tens of KiB; beyond it new ones wait in the system's queue. It is less where the system
/// gives the process fewer open files, of which [`FILES_RESERVED`] are kept for the database and the rest.
pub const CONNECTIONS_DEFAULT: usize = 10_000;
/// Open files that connections never take: without them a flood of connections would stop the store.
pub const FILES_RESERVED: usize = 256;

/// Most connections of one address (of one /64 in IPv6, which is what one subscriber of a network is given). Not applied to loopback,
/// nor behind a proxy, where all of them come from one address.
pub const CONNECTIONS_PER_ADDRESS_DEFAULT: usize = 256;

/// How long a new connection may take to agree on TLS, and then to say its first [`FIRST_WORD_BYTES`].
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Bytes by which a connection has said what it speaks: HTTP/2's preface. No request over HTTP/1.1 is shorter.
pub const FIRST_WORD_BYTES: usize = 24;

/// How long a connection of HTTP/1.1 may take to send a request's head, and may wait between two requests.
pub const REQUEST_HEAD_MAX: Duration = Duration::from_secs(10);

/// Time between two pings of a connection, and how long an answer may take: a peer that vanished is noticed within both. Below what
/// network gear takes for idle.
pub const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(20);
/// Shortest keepalive that may be chosen: shorter ones cost a phone its battery.
pub const KEEPALIVE_MIN: Duration = Duration::from_secs(1);
/// Longest keepalive that may be chosen.
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(600);

/// Most open calls of one connection: a proxy puts many subscribers on one. More calls come on more connections.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1024;

/// Calls of one connection that its peer may give up at once: all it can have open, four times over.
pub const ABANDONED_CALLS_BURST: u32 = 4 * STREAMS_PER_CONNECTION_MAX;
/// Such calls that are forgotten each second. Who gives up more for longer than the burst only makes work, and is cut.
pub const ABANDONED_CALLS_PER_SECOND: u32 = 64;

/// Calls of one connection that may be given up before the hub has even seen them; more at once end it. A proxy that loses a client gives
/// up several.
pub const RESETS_BEFORE_ACCEPTED_MAX: usize = 100;

/// Most open subscriptions of one principal: a service that stands for many people has one for each of those who look, a person a
/// handful. At 64 KiB and a frame each when all stall, one principal cannot take the memory of the others.
pub const SUBSCRIPTIONS_PER_PRINCIPAL_DEFAULT: usize = 1024;
/// Most open writers' streams of one principal: one for each connector or program.
pub const PUBLISHERS_PER_PRINCIPAL_DEFAULT: usize = 256;
/// Most other calls of one principal in flight. They last milliseconds.
pub const CALLS_PER_PRINCIPAL_DEFAULT: usize = 256;
/// Bytes of one principal's requests that arrived and are not answered, and of its writers' messages that are not whole yet: sixteen of
/// the largest.
pub const REQUEST_BYTES_PER_PRINCIPAL_MAX: usize = 64 * 1024 * 1024;
/// Most calls in flight, of one address, that need no key (health, and reflection on loopback).
pub const STRANGER_CALLS_MAX: usize = 64;
/// How long a request may take to arrive: the largest one at 70 KiB/s.
pub const REQUEST_ARRIVAL_MAX: Duration = Duration::from_secs(60);
/// Most connections at a time that ask for metrics.
pub const METRICS_CONNECTIONS_MAX: usize = 8;
/// After this time a stream whose peer has not taken what it was given counts as stalled. Nothing is done to it: it costs only its buffer.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Most bytes that wait to be sent on one stream before the stream is asked for more: a reader that stalls holds this and one frame.
pub const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of one call that a peer may send ahead of their being read.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same of one connection. HTTP/2 ends a connection whose unread small frames outgrow half of this, so it is many times
/// [`STREAM_WINDOW_BYTES`]: a writer that is held back must not end the others on its connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Largest head of a request, in bytes: a key, a path and what proxies add take 2 KiB.
pub const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Most header lines of a request over HTTP/1.1.
pub const HEAD_LINES_MAX: usize = 100;
/// Most bytes of an HTTP/1.1 connection that are read ahead, its request's head included.
pub const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of one connection that wait for others to leave with: what a few hundred streams have to say of one event.
pub const CORK_BYTES_MAX: usize = 64 * 1024;
/// Bytes from which a write passes by where nothing waits before it: a whole HTTP/2 frame gains nothing by being gathered.
pub const CORK_PASSES_BYTES: usize = 16 * 1024;
/// Most events, and bytes of them, that one piece of a trim takes away: an append that comes meanwhile waits for one piece.
pub const TRIM_EVENTS_MAX: usize = 512;
/// See [`TRIM_EVENTS_MAX`].
pub const TRIM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many trimmed events keep their links, per log, at eight bytes each: 32 MiB. A resume token from before them cannot be shown to
/// belong to this log any more.
pub const TRIMMED_LINKS_MAX: u64 = 4 * 1024 * 1024;

/// How often logs are looked through for what is to be trimmed. What is too old is given out no more in any case.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// From how much more than the time that went by the wall clock counts as having leapt.
pub const LEAP_MIN: Duration = Duration::from_secs(60);

/// How long a wall clock that leapt must stay where it is before what it calls too old is trimmed: time to set it right.
pub const LEAP_GRACE: Duration = Duration::from_secs(600);

/// Most sessions that a `gap` names. Beyond it the frame says that it is not known which they are.
pub const GAP_SESSIONS_MAX: usize = 1000;
