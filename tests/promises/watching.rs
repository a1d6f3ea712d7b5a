//! What a client watches changes: sessions move in and out of its interests, and it asks for others on an open stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellboard_proto::v1::{self, Answer, ErrorReason, SnapshotReason, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_now, from_snapshot, from_start, on, project, resume, session, subtree, text};
use bellboard_tests::process::{DataDir, cli};
use bellboard_tests::replica::Replica;
use bellboard_tests::stream::Frames;
use bellboard_tests::within;
use tonic::Code;

use crate::limits::expect;

const CONTENT: v1::Detail = v1::Detail::Content;

/// Takes frames until the stream has caught up. Returns the reasons of the snapshots on the way.
async fn follow(stream: &mut Frames, replica: &mut Replica) -> Vec<SnapshotReason> {
    let mut reasons = Vec::new();
    stream
        .until("caught_up", |frame| {
            replica.take(frame);
            if let Frame::SnapshotBegin(begin) = frame {
                reasons.push(begin.reason());
            }
            matches!(frame, Frame::CaughtUp(_)).then_some(())
        })
        .await;
    reasons
}

/// What two clients must agree on.
fn state(replica: &Replica, sessions: &[&str]) -> Vec<String> {
    let of = |id: &&str| format!("{id}: {} {:?}", replica.known(id), replica.items(id));
    sessions.iter().map(of).collect()
}

#[tokio::test]
async fn a_session_that_is_linked_late_is_the_same_to_who_was_there_and_to_who_replays_it() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![subtree("root", CONTENT)];
    client
        .append(vec![on("root").says("hello"), on("child").says("before")])
        .await;
    let mut live = client.subscribe(from_snapshot(wanted.clone())).await;
    let mut there = Replica::default();
    assert_eq!(follow(&mut live, &mut there).await, [SnapshotReason::Start]);
    assert_eq!(there.known("child"), 0);
    client.append(vec![on("child").moves_below("root")]).await;
    assert_eq!(follow(&mut live, &mut there).await, [SnapshotReason::SessionEntered]);
    assert_eq!(there.known("child"), 3, "with what it said before");
    client
        .append(vec![on("child").says("after"), on("root").says("bye")])
        .await;
    while there.known("root") < 3 {
        there.take(&live.next().await);
    }
    let mut replay = client.subscribe(from_start(wanted)).await;
    let mut later = Replica::default();
    assert_eq!(follow(&mut replay, &mut later).await, [SnapshotReason::SessionEntered]);
    let sessions = ["root", "child"];
    assert_eq!(state(&later, &sessions), state(&there, &sessions));
    assert_eq!(
        there.items("child").into_values().collect::<Vec<_>>(),
        ["after", "before"]
    );
}

#[tokio::test]
async fn a_session_moves_into_a_project_and_out_of_it() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.append(vec![on("s").says("before")]).await;
    let mut live = client.subscribe(from_now(vec![project("/p", CONTENT)])).await;
    let mut replica = Replica::default();
    follow(&mut live, &mut replica).await;
    client.append(vec![on("s").moves_to("/p/")]).await;
    assert_eq!(follow(&mut live, &mut replica).await, [SnapshotReason::SessionEntered]);
    let moved = client
        .append(vec![on("s").says("inside"), on("s").moves_to("/q")])
        .await;
    client
        .append(vec![on("s").says("outside"), on("t").moves_to("/p")])
        .await;
    let mut offsets = Vec::new();
    while offsets.len() < 4 {
        let frame = live.next().await;
        if let Frame::Events(batch) = &frame {
            offsets.extend(
                batch
                    .events
                    .iter()
                    .map(|event| (event.session_id.clone(), event.offset)),
            );
        }
        replica.take(&frame);
        if replica.known("t") > 0 {
            break;
        }
    }
    let of_s: Vec<u64> = offsets
        .iter()
        .filter(|(id, _)| id == "s")
        .map(|(_, offset)| *offset)
        .collect();
    assert_eq!(of_s, moved, "nothing behind the event by which it left");
}

#[tokio::test]
async fn a_subtree_of_a_thousand_sessions_enters_at_once() {
    const CHILDREN: usize = 1_000;
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    for some in 0..10 {
        let child = |nth: usize| on(&format!("c{}", some * 100 + nth)).opens_below("mid");
        client.append((0..100).map(child).collect()).await;
    }
    let mut live = client.subscribe(from_snapshot(vec![subtree("root", CONTENT)])).await;
    let mut replica = Replica::default();
    follow(&mut live, &mut replica).await;
    assert_eq!(replica.sessions.len(), 0);
    client.append(vec![on("mid").moves_below("root")]).await;
    assert_eq!(follow(&mut live, &mut replica).await, [SnapshotReason::SessionEntered]);
    let children = replica.sessions.keys().filter(|id| id.starts_with('c')).count();
    assert_eq!(children, CHILDREN);
    client.say("c7", "hello").await;
    while replica.known("c7") < 2 {
        replica.take(&live.next().await);
    }
}

#[tokio::test]
async fn the_interests_of_an_open_stream_change_while_events_race() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let names = ["a", "b", "c"];
    client.append(names.map(|id| on(id).says("0")).into()).await;
    let mut stream = client.subscribe(from_snapshot(vec![session("a", CONTENT)])).await;
    let id = stream.subscribed().await.subscription_id;
    let writer = client.clone();
    let enough = Arc::new(AtomicBool::new(false));
    let stop = enough.clone();
    let racing = tokio::spawn(async move {
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            rounds += 1;
            for id in names {
                writer.say(id, &rounds.to_string()).await;
            }
        }
        rounds
    });
    let mut replica = Replica::default();
    let steps: [&[&str]; 5] = [&["a", "b"], &["b"], &["b", "c"], &["c", "a"], &["a", "b", "c"]];
    for (revision, watched) in (1..).zip(steps) {
        let wanted = watched.iter().map(|id| session(id, CONTENT)).collect();
        assert_eq!(client.update(&id, revision, wanted).await.unwrap(), revision);
        let follows = stream
            .until("the change", |frame| {
                replica.take(frame);
                match frame {
                    Frame::SubscriptionUpdated(updated) if updated.revision == revision => {
                        Some(updated.snapshot_follows)
                    }
                    _ => None,
                }
            })
            .await;
        assert_eq!(follows, watched != ["b"], "narrowing needs none");
        names
            .iter()
            .filter(|id| !watched.contains(id))
            .for_each(|id| replica.forget(id));
        for _ in 0..10 {
            replica.take(&stream.next().await);
        }
    }
    enough.store(true, Ordering::Relaxed);
    let rounds: u64 = within("the writer", racing).await.unwrap();
    let whole = |replica: &Replica| names.iter().all(|id| replica.known(id) == rounds + 2);
    while !whole(&replica) {
        replica.take(&stream.next().await);
    }
    let mut fresh = client
        .subscribe(from_snapshot(names.map(|id| session(id, CONTENT)).into()))
        .await;
    let mut truth = Replica::default();
    follow(&mut fresh, &mut truth).await;
    for id in names {
        let newest = |replica: &Replica| {
            replica
                .items(id)
                .into_values()
                .max_by_key(|text| text.parse::<u64>().ok())
        };
        assert_eq!(newest(&replica), newest(&truth));
    }
}

#[tokio::test]
async fn p_25_what_was_said_before_somebody_asked_for_it_is_told_once_it_is_asked_for() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut stream = client.subscribe(from_now(vec![session("other", CONTENT)])).await;
    let id = stream.subscribed().await.subscription_id;
    stream.caught_up().await;
    client.append(vec![on("s").moves_to("/p"), on("s").says("early")]).await;
    let wanted = vec![session("other", CONTENT), project("/p", CONTENT)];
    client.update(&id, 1, wanted).await.unwrap();
    let mut replica = Replica::default();
    assert_eq!(follow(&mut stream, &mut replica).await, [SnapshotReason::InterestAdded]);
    assert_eq!(replica.items("s").into_values().collect::<Vec<_>>(), ["early"]);
}

#[tokio::test]
async fn an_old_revision_is_answered_with_the_newest_and_changes_nothing() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut stream = client.subscribe(from_now(vec![session("a", CONTENT)])).await;
    let id = stream.subscribed().await.subscription_id;
    stream.caught_up().await;
    assert_eq!(client.update(&id, 5, vec![session("b", CONTENT)]).await.unwrap(), 5);
    assert_eq!(client.update(&id, 5, vec![session("c", CONTENT)]).await.unwrap(), 5);
    assert_eq!(client.update(&id, 4, vec![session("d", CONTENT)]).await.unwrap(), 5);
    stream.caught_up().await;
    client
        .append(["a", "c", "d", "b"].map(|id| on(id).says("x")).into())
        .await;
    let told = stream.events(2).await;
    assert!(told.iter().all(|event| event.session_id == "b"), "{told:?}");
    let zero = client.update(&id, 0, vec![session("a", CONTENT)]).await;
    expect(
        &zero.unwrap_err(),
        Code::InvalidArgument,
        ErrorReason::InvalidField,
        &[("field", "revision")],
    );
    let none = client.update(&id, 6, Vec::new()).await.unwrap_err();
    assert_eq!(crate::reset::reason(&none), ErrorReason::InvalidField);
}

#[tokio::test]
async fn a_stream_is_changed_by_its_own_principal_alone() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut stream = hub.client().subscribe(from_now(vec![session("a", CONTENT)])).await;
    let id = stream.subscribed().await.subscription_id;
    stream.caught_up().await;
    let key = |principal: &'static str, scope: &'static str| {
        let data = &data;
        async move {
            let printed = cli(data, &["key", "create", "--principal", principal, "--scope", scope]).await;
            let key = printed.split_whitespace().find(|word| word.starts_with("bbk_"));
            key.expect("the key").to_owned()
        }
    };
    let (other, writer) = (key("other", "read").await, key("writer", "publish").await);
    let other = Client::new(&hub.url, Some(&other));
    let theirs = other.update(&id, 1, vec![all(CONTENT)]).await.unwrap_err();
    let nobodys = hub
        .client()
        .update("never.was", 1, vec![all(CONTENT)])
        .await
        .unwrap_err();
    assert_eq!(
        (theirs.code(), theirs.message()),
        (nobodys.code(), nobodys.message()),
        "the same answer"
    );
    assert_eq!(crate::reset::reason(&theirs), ErrorReason::SubscriptionNotFound);
    let writer = Client::new(&hub.url, Some(&writer));
    let refused = writer.update(&id, 1, vec![all(CONTENT)]).await.unwrap_err();
    assert_eq!(crate::reset::reason(&refused), ErrorReason::ScopeMissing);
    hub.client().append(vec![on("b").says("x"), on("a").says("y")]).await;
    assert_eq!(text(&stream.events(2).await[1]), "y", "it is as it was");
}

/// A client that changes what it watches, and is cut once.
struct Follower {
    client: Client,
    replica: Replica,
    wanted: Vec<v1::Interest>,
    /// What was added and is not given yet.
    unsynced: Vec<String>,
    revision: u64,
    stream: Option<(Frames, String)>,
    token: Option<String>,
    frames: usize,
    cut: usize,
    resets: usize,
    /// Why the snapshot comes that is under way.
    reason: v1::SnapshotReason,
    /// Whether the open stream was asked for more than it was opened with.
    changed: bool,
}

impl Follower {
    /// Asks for one more session, on the open stream if there is one.
    async fn watch(&mut self, id: &str, interest: v1::Interest) {
        self.wanted.push(interest);
        self.unsynced.push(id.into());
        self.revision += 1;
        if let Some((_, id)) = &self.stream {
            let taken = self.client.update(id, self.revision, self.wanted.clone()).await;
            self.changed = true;
            assert_eq!(taken.unwrap(), self.revision);
        }
    }

    async fn until(&mut self, what: &str, reached: impl Fn(&Follower) -> bool) {
        within(what, async {
            while !reached(self) {
                self.step().await;
            }
        })
        .await;
    }

    async fn step(&mut self) {
        let Some((stream, id)) = &mut self.stream else {
            let mut request = match &self.token {
                None => from_snapshot(self.wanted.clone()),
                Some(token) => resume(token, self.wanted.clone()),
            };
            if self.token.is_some() {
                request.unsynced_session_ids.clone_from(&self.unsynced);
            }
            self.stream = Some((self.client.subscribe(request).await, String::new()));
            self.changed = false;
            return;
        };
        let frame = stream.next().await;
        self.replica.take(&frame);
        self.frames += 1;
        self.token = Some(stream.token.clone());
        match &frame {
            Frame::Subscribed(subscribed) => {
                id.clone_from(&subscribed.subscription_id);
                if subscribed.answer() == Answer::Reset {
                    assert_eq!(
                        subscribed.reason(),
                        v1::ResetReason::SnapshotIncomplete,
                        "no other is due here, cut after frame {}",
                        self.cut
                    );
                    self.resets += 1;
                }
            }
            Frame::SnapshotBegin(begin) => self.reason = begin.reason(),
            Frame::SnapshotEnd(_) => match self.reason {
                v1::SnapshotReason::InterestAdded => self.unsynced.clear(),
                // It is of what the stream was opened with.
                v1::SnapshotReason::Start | v1::SnapshotReason::Reset if !self.changed => self.unsynced.clear(),
                // A session that entered by itself says nothing of what was added.
                _ => {}
            },
            Frame::SubscriptionUpdated(updated) if !updated.snapshot_follows => self.unsynced.clear(),
            _ => {}
        }
        if self.frames == self.cut {
            self.stream = None;
        }
    }
}

/// One run, cut after so many frames.
async fn run(client: &Client, cut: usize) -> Follower {
    let mut follower = Follower {
        client: client.clone(),
        replica: Replica::default(),
        wanted: vec![session("s", CONTENT)],
        unsynced: Vec::new(),
        revision: 0,
        stream: None,
        token: None,
        frames: 0,
        cut,
        resets: 0,
        reason: v1::SnapshotReason::Unspecified,
        changed: false,
    };
    client
        .append(["s", "t", "child", "root"].map(|id| on(id).says("one")).into())
        .await;
    follower
        .until("the snapshot", |follower| follower.replica.known("s") >= 2)
        .await;
    follower.watch("t", session("t", CONTENT)).await;
    client.append(vec![on("t").says("two"), on("s").says("two")]).await;
    let both = |follower: &Follower| follower.replica.known("s") >= 3 && follower.replica.known("t") >= 3;
    follower
        .until("what was added", |follower| {
            both(follower) && follower.unsynced.is_empty()
        })
        .await;
    follower.watch("root", subtree("root", CONTENT)).await;
    client
        .append(vec![on("child").moves_below("root"), on("child").says("two")])
        .await;
    client
        .append(vec![on("s").says("three"), on("child").says("three")])
        .await;
    let all = |follower: &Follower| follower.replica.known("s") >= 4 && follower.replica.known("child") >= 5;
    follower
        .until("what entered", |follower| {
            all(follower) && follower.replica.known("root") >= 2
        })
        .await;
    client
        .append(["s", "t", "child", "root"].map(|id| on(id).says("end")).into())
        .await;
    follower
        .until("the end", |follower| follower.replica.known("root") >= 3)
        .await;
    follower
}

#[tokio::test]
async fn a_client_that_is_cut_after_any_frame_while_what_it_watches_changes_ends_up_with_the_same_state() {
    let sessions = ["s", "t", "child", "root"];
    let (uncut, frames) = {
        let data = DataDir::new();
        let hub = data.start().await;
        let follower = run(&hub.client(), usize::MAX).await;
        (state(&follower.replica, &sessions), follower.frames)
    };
    assert!(frames >= 12, "snapshots of what was added are cut too: {frames} frames");
    for cut in 1..=frames {
        let data = DataDir::new();
        let hub = data.start().await;
        let follower = run(&hub.client(), cut).await;
        assert_eq!(state(&follower.replica, &sessions), uncut, "cut after frame {cut}");
    }
}
