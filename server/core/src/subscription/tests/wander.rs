//! Sessions wander in and out of interests that change, and streams are cut at any frame: whoever obeys the frames knows every event of what
//! it watches, once.
//!
//! Believe this: the mirror is what a client keeps. It demands that a session's events follow one another without a hole or a repeat,
//! from its opening or from its snapshot on, for as long as the session stays.

use std::collections::{BTreeMap, HashMap};

use crate::event::{Event, InSession};
use crate::id::SessionId;
use crate::interest::{Detail, Interests, Selector};
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::session::Session;
use crate::subscription::frame::{Answer, Frame, ResetReason, Sent, SnapshotReason, Then};
use crate::subscription::start::Start;
use crate::subscription::updating::Update;
use crate::subscription::{Request, Subscription};
use crate::testing::rig::{Rig, append, request};
use crate::testing::{draft, in_session, interests, moves, only, session, within};

/// What a client knows of one session.
#[derive(Clone, Debug)]
struct Known {
    /// How many of its events.
    events: u64,
    /// Where it stands.
    routing: crate::event::Routing,
}

/// A client's state.
#[derive(Clone, Debug)]
struct Mirror {
    /// What the stream is of.
    interests: Interests,
    /// What its newest resume token is of.
    token_of: Interests,
    asked: Option<(u64, Interests)>,
    known: BTreeMap<SessionId, Known>,
    /// Per session of a snapshot that left the place: what it is as of.
    floors: HashMap<SessionId, Offset>,
    under_way: Option<(SnapshotReason, Offset)>,
    /// What the newest snapshot is as of.
    newest: Offset,
    place: Offset,
    kind: Kind,
}

impl Mirror {
    fn new(interests: &Interests) -> Mirror {
        Mirror {
            interests: interests.clone(),
            token_of: interests.clone(),
            asked: None,
            known: BTreeMap::new(),
            floors: HashMap::new(),
            under_way: None,
            newest: Offset::ZERO,
            place: Offset::ZERO,
            kind: Kind::Complete,
        }
    }

    fn take(&mut self, rig: &Rig, sent: &Sent) {
        match &sent.frame {
            Frame::Subscribed { answer, from, .. } => {
                assert!(
                    *answer != Answer::Resumed || *from >= self.place,
                    "resumed before its place"
                );
                self.place = *from;
            }
            Frame::SnapshotBegin { reason, offset, .. } => {
                self.under_way = Some((*reason, *offset));
                self.newest = self.newest.max(*offset);
                assert!(*offset >= self.place, "a snapshot is not older than the place");
                if let SnapshotReason::Start | SnapshotReason::Reset(_) = reason {
                    (self.known, self.floors, self.place) = (BTreeMap::new(), HashMap::new(), *offset);
                }
            }
            Frame::SnapshotPage(_) => {
                let (reason, offset) = self.under_way.expect("pages come behind a beginning");
                for entry in rig.page(sent) {
                    self.replace(&entry.snapshot.session);
                    if let SnapshotReason::Entered | SnapshotReason::Added = reason {
                        self.floors.insert(entry.snapshot.session.id, offset);
                    }
                }
            }
            Frame::SnapshotEnd { .. } => {
                self.under_way = None;
                self.turn();
            }
            Frame::Updated { revision, then } => {
                let (asked, interests) = self.asked.take().expect("somebody asked");
                assert_eq!(asked, *revision);
                self.interests = interests;
                if *then == Then::Nothing {
                    self.turn();
                }
            }
            Frame::Events { from, until, batch, .. } => {
                assert_eq!(*from, self.place, "announced");
                self.place = *until;
                batch.events.iter().for_each(|event| self.event(event));
            }
            Frame::Heartbeat { from, until } => {
                assert_eq!(*from, self.place, "announced");
                self.place = *until;
            }
            Frame::CaughtUp(tail) => assert_eq!(*tail, self.place),
            Frame::FellBehind(_) => {}
            other @ (Frame::Deltas(_)
            | Frame::ItemText(_)
            | Frame::Gap { .. }
            | Frame::CredentialExpiring(_)
            | Frame::Closing { .. }) => panic!("not in this world: {other:?}"),
        }
        self.kind = sent.place.kind;
        if self.kind == Kind::Complete {
            assert_eq!(
                sent.place.interests,
                self.token_of.hash(),
                "a token is of what was said"
            );
        }
    }

    /// From here on resume tokens are of the interests: what they do not want is dropped.
    fn turn(&mut self) {
        self.token_of = self.interests.clone();
        let interests = &self.interests;
        self.known.retain(|_, known| interests.detail(&known.routing).is_some());
    }

    fn replace(&mut self, session: &Session) {
        let known = Known {
            events: session.next_index.0,
            routing: session.routing(),
        };
        self.known.insert(session.id.clone(), known);
    }

    fn event(&mut self, event: &Event) {
        let InSession {
            index,
            routing,
            moved_from,
        } = in_session(event);
        let id = &routing.session;
        if self.floors.get(id).is_some_and(|offset| event.offset < *offset) {
            return;
        }
        let detail = |routing| self.interests.detail(routing);
        let before = moved_from.as_deref();
        let enters = before.is_some_and(|before| detail(before).is_none());
        let is_whole = detail(before.unwrap_or(routing)) > Some(Detail::Summary);
        // Before what was added is passed, only what was wanted before comes of what left again; another stream does not know of that.
        let is_loose = event.offset < self.newest;
        let expected = self.known.get(id).map_or(0, |known| known.events);
        if !enters && !is_loose && is_whole {
            assert_eq!(index.0, expected, "{id} at {}: no hole, no repeat", event.offset);
        }
        assert!(index.0 >= expected, "{id} at {}: no repeat", event.offset);
        let known = Known {
            events: index.0 + 1,
            routing: (**routing).clone(),
        };
        self.known.insert(id.clone(), known);
        if before.is_some() {
            for (below, known) in &mut self.known {
                let passed = self.floors.get(below).is_none_or(|offset| event.offset >= *offset);
                if passed && let Some(routing) = known.routing.below(routing) {
                    known.routing = routing;
                }
            }
        }
        let interests = &self.interests;
        self.known.retain(|_, known| interests.detail(&known.routing).is_some());
    }

    /// Whether it may still know of a session that left: one above it moved, and the event that said so was left out because a newer
    /// snapshot of that one had been given. The README tells of it.
    fn may_linger(&self, id: &SessionId) -> bool {
        let ancestors = &self.known[id].routing.ancestors;
        ancestors.iter().any(|above| self.floors.contains_key(above))
    }

    /// Once everything was told, it knows of what it watches all, and of nothing else anything that [`Mirror::may_linger`] does not explain.
    fn check(&self, sessions: &[Session], what: &str) {
        let watched = |session: &&Session| self.interests.detail(&session.routing()).is_some();
        let names = |sessions: Vec<&SessionId>| sessions.iter().map(|id| id.to_string()).collect::<Vec<_>>();
        let mut expected: Vec<_> = sessions.iter().filter(watched).map(|session| &session.id).collect();
        expected.sort_unstable();
        let known = self.known.keys();
        let known = known
            .filter(|id| expected.contains(id) || !self.may_linger(id))
            .collect();
        assert_eq!(names(known), names(expected), "{what}");
        for session in sessions.iter().filter(watched) {
            let known = self.known[&session.id].events;
            if self.interests.detail(&session.routing()) > Some(Detail::Summary) {
                assert_eq!(known, session.next_index.0, "{what}: all of {}", session.id);
            }
        }
    }
}

fn all_interests() -> Vec<Interests> {
    let project = |name: &str| Selector::Project(name.into());
    let below = |id| Selector::Subtree(session(id));
    vec![
        interests([(below("a"), Detail::Content)]),
        interests([(project("/p"), Detail::Content)]),
        interests([(project("/p"), Detail::Content), (below("b"), Detail::Live)]),
        interests([(Selector::All, Detail::Summary), (below("a"), Detail::Content)]),
        interests([(only("c"), Detail::Content)]),
        interests([(only("c"), Detail::Content), (only("d"), Detail::Live)]),
        interests([(Selector::All, Detail::Content)]),
        interests([
            (Selector::All, Detail::Summary),
            (project("/q"), Detail::Live),
            (only("b"), Detail::Content),
        ]),
    ]
}

struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.throw(of.len())]
    }
}

/// A client with its stream.
struct Client {
    mirror: Mirror,
    stream: Subscription,
    revision: u64,
    /// What it was after each frame, and the resume token of that.
    saved: Vec<(Mirror, String)>,
    answers: BTreeMap<String, u32>,
}

impl Client {
    async fn open(rig: &Rig, start: Start, interests: &Interests) -> Client {
        Client {
            mirror: Mirror::new(interests),
            stream: rig.subscribe(asked(start, interests)).await,
            revision: 0,
            saved: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Takes a frame if there is one.
    async fn frame(&mut self, rig: &Rig) -> bool {
        let mut next = Box::pin(self.stream.next());
        for _ in 0..40 {
            if let std::task::Poll::Ready(sent) = futures_util::poll!(&mut next) {
                drop(next);
                let sent = sent.expect("there is no end").unwrap();
                self.mirror.take(rig, &sent);
                if let Frame::Subscribed { answer, .. } = &sent.frame {
                    *self.answers.entry(format!("{answer:?}")).or_default() += 1;
                }
                self.saved.push((self.mirror.clone(), rig.token(&sent)));
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    fn update(&mut self, interests: &Interests) {
        self.revision += 1;
        let update = Update {
            revision: self.revision,
            interests: interests.clone(),
        };
        self.mirror.asked = Some((self.revision, interests.clone()));
        assert_eq!(
            self.stream.around.registered.mailbox().update(update),
            Ok(self.revision)
        );
    }

    /// Comes back with what it had at some frame: with the interests of that resume token, or with newer ones and what they added.
    async fn cut(&mut self, rig: &Rig, dice: &mut Dice) {
        if self.saved.is_empty() {
            return;
        }
        let (mut mirror, token) = dice.pick(&self.saved).clone();
        let newest = self
            .mirror
            .asked
            .take()
            .map_or_else(|| self.mirror.interests.clone(), |(_, asked)| asked);
        let mut unsynced = Vec::new();
        if dice.throw(2) == 0 {
            mirror.interests = mirror.token_of.clone();
        } else {
            mirror.interests = newest;
            let old = &mirror.token_of;
            for interest in mirror
                .interests
                .iter()
                .filter(|interest| old.iter().all(|old| old != *interest))
            {
                if let Selector::Session(id) | Selector::Subtree(id) = &interest.selector {
                    unsynced.push(id.clone());
                }
            }
        }
        let (pending, explained) = (
            mirror.kind == Kind::SnapshotPending,
            mirror.interests == mirror.token_of
                || mirror.interests.without(&unsynced).as_ref() == Some(&mirror.token_of),
        );
        mirror.asked = None;
        mirror.under_way = None;
        let mut asked = asked(Start::Resume(token), &mirror.interests);
        asked.unsynced = unsynced;
        self.stream = rig.subscribe(asked).await;
        self.saved.clear();
        self.revision = 0;
        if mirror.interests == mirror.token_of {
            mirror.turn();
        }
        if pending || !explained {
            mirror.token_of = mirror.interests.clone();
        }
        self.mirror = mirror;
        assert!(self.frame(rig).await);
        let reset = |reason| format!("{:?}", Answer::Reset(reason));
        let expected = match (pending, explained) {
            (true, _) => reset(ResetReason::SnapshotIncomplete),
            (false, false) => reset(ResetReason::InterestsChanged),
            (false, true) => format!("{:?}", Answer::Resumed),
        };
        assert!(self.answers.contains_key(&expected), "{expected}: {:?}", self.answers);
    }
}

fn asked(start: Start, interests: &Interests) -> Request {
    Request {
        frame_bytes: 60,
        replay_events: 1 << 40,
        ..request(start, interests)
    }
}

fn batch(dice: &mut Dice) -> Vec<crate::appender::Append> {
    let names = ["a", "b", "c", "d", "e"];
    let events = 1 + dice.throw(3);
    let mut one = || {
        let id = *dice.pick(&names);
        append(match dice.throw(5) {
            0 => moves(id, Some(*dice.pick(&["/p", "/q", ""])), None),
            // Refused where it would be a circle: then there is one event less.
            1 => moves(id, None, Some(*dice.pick(&names))),
            _ => draft(id),
        })
    };
    (0..events).map(|_| one()).collect()
}

async fn wander(seed: u64, totals: &mut BTreeMap<String, u32>) {
    let mut dice = Dice(seed);
    let rig = Rig::with_window([1 << 30, 1_000][dice.throw(2)]).await;
    let choices = all_interests();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let interests = dice.pick(&choices);
        clients.push(Client::open(&rig, Start::Oldest, interests).await);
    }
    for _ in 0..120 {
        let client = dice.throw(clients.len());
        match dice.throw(20) {
            0..4 => drop(rig.append(None, batch(&mut dice)).await.unwrap()),
            4 => clients[client].update(dice.pick(&choices)),
            5 => clients[client].cut(&rig, &mut dice).await,
            _ => drop(clients[client].frame(&rig).await),
        }
    }
    // And one that reads it all afterwards.
    let late = dice.pick(&choices).clone();
    clients.push(Client::open(&rig, Start::Oldest, &late).await);
    let row = rig.row().await;
    let sessions = crate::store::SessionFilter {
        include_closed: true,
        include_archived: true,
        ..crate::store::SessionFilter::default()
    };
    let order = crate::store::SessionOrder::Opened;
    let store = rig.log.store();
    let sessions = store
        .list_sessions(row.key, &sessions, order, row.tail, 100)
        .await
        .unwrap();
    for (nth, client) in clients.iter_mut().enumerate() {
        while client.frame(&rig).await {}
        client.mirror.check(
            &sessions,
            &format!("client {nth} of {seed}: {:?}", client.mirror.interests),
        );
        for (answer, count) in &client.answers {
            *totals.entry(answer.clone()).or_default() += count;
        }
    }
}

#[tokio::test]
async fn whoever_obeys_the_frames_knows_all_of_what_it_watches_once() {
    let mut answers = BTreeMap::new();
    for seed in 0..400 {
        within(wander(seed, &mut answers)).await;
    }
    println!("{answers:?}");
    for answer in [
        Answer::Resumed,
        Answer::Reset(ResetReason::InterestsChanged),
        Answer::Reset(ResetReason::SnapshotIncomplete),
    ] {
        assert!(answers[&format!("{answer:?}")] > 50, "{answers:?}");
    }
}
