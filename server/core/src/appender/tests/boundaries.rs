//! Whatever call of the store fails, and however it says so: what is acknowledged is stored once, what is sent again is not stored again,
//! and nobody sees what is not durable.
//!
//! Believe this: every call of one story fails once, in turn. A call that the story gains fails, too, without anybody naming it.

use std::collections::BTreeMap;

use super::failures::patiently;
use crate::appender::{Append, Claim, Outcome, Wish};
use crate::event::{DedupeKey, Draft};
use crate::interest::{Detail, Interests};
use crate::offset::Offset;
use crate::store;
use crate::subscription::Subscription;
use crate::subscription::frame::{Frame, Sent};
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, append, request, seq};
use crate::testing::{draft, interests, only, within, writer};
use crate::verify::{Evidence as _, verify};

const WHOLE_WINDOW: usize = 1 << 30;
/// Readers are always behind it, so that they read from the store.
const NO_WINDOW: usize = 0;

/// How often anything is tried again. One call fails once; a commit of unknown outcome is looked after by the hub itself.
const TRIES: usize = 5;

/// A writer, somebody without one, and a subscriber that comes back.
struct Story {
    rig: Rig,
    wanted: Interests,
    acknowledged: BTreeMap<&'static str, Offset>,
    subscription: Option<Subscription>,
    token: Option<String>,
    seen: Vec<Offset>,
}

fn says(text: &'static str) -> Draft {
    Draft {
        body: text.into(),
        ..draft("a")
    }
}

impl Story {
    /// Opens the writer, as often as it takes.
    async fn open(&self) -> Claim {
        for _ in 0..TRIES {
            let opening = self
                .rig
                .appender
                .open_writer(self.rig.log.clone(), writer("w"), Wish::default());
            if let Ok(grant) = patiently(&self.rig, opening).await {
                return Claim {
                    writer: writer("w"),
                    fence: grant.fence,
                };
            }
        }
        panic!("the writer does not open");
    }

    /// Sends appends until they are answered, as the SDK does.
    async fn send(&mut self, claim: Option<&Claim>, texts: &[&'static str], appends: impl Fn() -> Vec<Append>) {
        let mut answer = None;
        for _ in 0..TRIES {
            let pending = self.rig.queue(claim, appends()).await;
            answer = patiently(&self.rig, pending).await.unwrap().ok();
            if answer.is_some() {
                break;
            }
        }
        let outcomes = answer.unwrap_or_else(|| panic!("{texts:?} are not answered"));
        for (text, outcome) in texts.iter().zip(outcomes) {
            let (Outcome::Stored { stored, .. }
            | Outcome::Duplicate {
                stored: Some(stored), ..
            }) = outcome
            else {
                panic!("{text} is answered {outcome:?}");
            };
            self.acknowledged.insert(text, stored.offset);
        }
        self.follow().await;
    }

    /// Reads until everything that was acknowledged has been seen, and comes back where the stream breaks.
    async fn follow(&mut self) {
        let tail = self.rig.row().await.tail;
        let mut dials = 0;
        while self.seen.len() < tail.0 as usize {
            let Some(mut subscription) = self.subscription.take() else {
                let start = self.token.clone().map_or(Start::Oldest, Start::Resume);
                let request = request(start, &self.wanted);
                self.subscription = self.rig.try_subscribe(request).await.ok();
                dials += 1;
                assert!(dials < TRIES, "the stream does not open");
                continue;
            };
            match within(subscription.next()).await.expect("it does not end") {
                Ok(sent) => {
                    self.take(&sent).await;
                    self.subscription = Some(subscription);
                }
                Err(_) => drop(subscription),
            }
        }
    }

    async fn take(&mut self, sent: &Sent) {
        self.token = Some(self.rig.token(sent));
        if let Frame::Events { batch, .. } = &sent.frame {
            let durable = self.rig.row().await.tail;
            for event in &batch.events {
                assert!(event.offset < durable, "{} is seen before it is durable", event.offset);
                self.seen.push(event.offset);
            }
        }
    }

    async fn tell(window: usize, failing: u32, error: &store::Error) -> bool {
        let mut story = Story {
            rig: Rig::with_window(window).await,
            wanted: interests([(only("a"), Detail::Content)]),
            acknowledged: BTreeMap::new(),
            subscription: None,
            token: None,
            seen: Vec::new(),
        };
        story.rig.watch.fail_call_after(failing, error.clone());
        let claim = story.open().await;
        let keyed = || Draft {
            dedupe: Some(DedupeKey::of_key("k")),
            ..says("keyed")
        };
        let first = || vec![seq(1, says("one")), seq(2, says("two"))];
        story.send(Some(&claim), &["one", "two"], first).await;
        // It holds nothing any more, so that somebody without a writer has a turn.
        let claim = story.open().await;
        story.send(None, &["keyed"], || vec![append(keyed())]).await;
        let again = || vec![seq(2, says("two")), seq(3, says("three"))];
        story.send(Some(&claim), &["two", "three"], again).await;
        story.send(None, &["keyed"], || vec![append(keyed())]).await;
        story.check().await;
        story.rig.watch.has_failed_a_call()
    }

    /// The log holds each text once, where it was acknowledged, and the subscriber has seen all of it once.
    async fn check(&self) {
        let log = self.rig.row().await;
        let kept = self.rig.memory.kept_events(log.key, Offset::ZERO, 100).await.unwrap();
        let texts = kept.events.iter().map(|event| (event.offset, event.stored.slice(8..)));
        let acknowledged = self.acknowledged.iter();
        let stored: BTreeMap<Offset, &[u8]> = acknowledged.map(|(text, offset)| (*offset, text.as_bytes())).collect();
        assert_eq!(stored.len(), 4, "{:?}", self.acknowledged);
        // The hub's own event opens the session.
        for (offset, text) in texts.skip(1) {
            assert_eq!(stored.get(&offset), Some(&&*text), "at {offset}");
        }
        assert_eq!(log.tail, Offset(5), "nothing is stored twice");
        assert_eq!(
            self.seen,
            (0..5).map(Offset).collect::<Vec<_>>(),
            "nothing is seen twice, or not at all"
        );
        assert_eq!(verify(&*self.rig.memory, log, &mut |_| ()).await.unwrap().findings, []);
    }
}

/// Lets every call fail once. Fails when there were fewer of them than `least`.
async fn every_call_fails_once(error: store::Error, least: u32) {
    for window in [WHOLE_WINDOW, NO_WINDOW] {
        let mut failing = 0;
        while Story::tell(window, failing, &error).await {
            failing += 1;
        }
        assert!(failing >= least, "the story made only {failing} calls");
    }
}

#[tokio::test]
async fn any_call_may_find_the_disk_full() {
    every_call_fails_once(store::Error::Full, 30).await;
}

#[tokio::test]
async fn any_call_may_find_no_database() {
    every_call_fails_once(store::Error::Unavailable("gone".into()), 30).await;
}

#[tokio::test]
async fn any_call_may_break_a_constraint_that_it_does_not_break_again() {
    every_call_fails_once(store::Error::Constraint("odd".into()), 30).await;
}

#[tokio::test]
async fn any_commit_may_be_of_unknown_outcome_whether_it_happened_or_not() {
    every_call_fails_once(store::Error::CommitUnknown, 30).await;
}
