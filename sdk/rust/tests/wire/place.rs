//! The stored place is the application's, not the transport's.

use std::io;
use std::sync::Arc;

use bellboard_sdk::v1::Answer;
use bellboard_sdk::v1::subscribe_request::Start as Asked;
use bellboard_sdk::{Error, FileResumeTokenStore, MemoryResumeTokenStore, ResumeTokenStore, Start, SubscribeOptions};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::frames::{events, subscribed};
use crate::hub::Hub;
use crate::subscription::{dial, error_of, frame_of, next, offsets, options};

fn storing(store: &Arc<MemoryResumeTokenStore>) -> SubscribeOptions {
    SubscribeOptions {
        store: Some(store.clone()),
        ..options()
    }
}

#[tokio::test]
async fn p_34_a_place_is_saved_when_the_application_asks_for_what_follows() {
    let mut hub = Hub::start().await;
    let store = Arc::new(MemoryResumeTokenStore::new());
    let mut frames = hub.client().subscribe(storing(&store));
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    assert_eq!(
        store.resume_token(),
        None,
        "the first frame may still be lost with the application"
    );
    stream.send(events("b", 0, 1)).await;
    stream.send(events("c", 1, 2)).await;
    assert_eq!(offsets(&mut frames).await, [0]);
    assert_eq!(store.resume_token().as_deref(), Some("a"));
    assert_eq!(offsets(&mut frames).await, [1]);
    assert_eq!(
        store.resume_token().as_deref(),
        Some("b"),
        "although the transport has c"
    );
    // Being asked is enough; a frame need not come.
    assert!(futures_util::StreamExt::next(&mut frames).now_or_never().is_none());
    assert_eq!(store.resume_token().as_deref(), Some("c"));
}

#[tokio::test]
async fn p_35_a_restarted_bot_does_not_act_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = || FileResumeTokenStore::new(dir.path().join("bot/place"));
    let mut hub = Hub::start().await;

    let mut frames = hub.client().subscribe(options().with_store(store()));
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 3)).await;
    assert_eq!(offsets(&mut frames).await, [0, 1, 2]);
    // It rather skips than repeats: the place is saved before it acts.
    frames.acknowledge().await.unwrap();
    drop((frames, stream));

    let mut frames = hub
        .client()
        .subscribe(options().starting(Start::Now).with_store(store()));
    let stream = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 3)).await;
    assert!(matches!(&stream.request.start, Some(Asked::ResumeToken(token)) if token == "b"));
    stream.send(events("c", 3, 4)).await;
    assert_eq!(offsets(&mut frames).await, [3]);
}

#[tokio::test]
async fn p_34_what_a_crash_interrupts_comes_again() {
    let store = Arc::new(MemoryResumeTokenStore::new());
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(storing(&store));
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 1)).await;
    assert_eq!(offsets(&mut frames).await, [0]);
    // The application dies while it handles the batch.
    drop((frames, stream));

    let mut frames = hub.client().subscribe(storing(&store));
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Resumed, 0)).await;
    assert!(matches!(&stream.request.start, Some(Asked::ResumeToken(token)) if token == "a"));
}

/// Fails to save one resume token, and to load at all when told so.
#[derive(Debug)]
struct Failing {
    loads: bool,
}

impl ResumeTokenStore for Failing {
    fn load(&self) -> BoxFuture<'_, io::Result<Option<String>>> {
        let loaded = if self.loads {
            Ok(None)
        } else {
            Err(io::Error::other("no disk"))
        };
        Box::pin(async { loaded })
    }

    fn save(&self, resume_token: String) -> BoxFuture<'_, io::Result<()>> {
        let saved = if resume_token == "b" {
            Err(io::Error::other("disk full"))
        } else {
            Ok(())
        };
        Box::pin(async { saved })
    }
}

#[tokio::test]
async fn a_store_that_fails_to_save_is_told_once_and_the_stream_goes_on() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options().with_store(Failing { loads: true }));
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 1)).await;
    stream.send(events("c", 1, 2)).await;
    assert_eq!(offsets(&mut frames).await, [0]);
    let error = error_of(&mut frames).await;
    assert!(matches!(error, Error::ResumeTokenStore(_)), "{error}");
    assert_eq!(offsets(&mut frames).await, [1]);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_starts_nothing_at_the_wrong_place() {
    let hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options().with_store(Failing { loads: false }));
    assert!(matches!(error_of(&mut frames).await, Error::ResumeTokenStore(_)));
    assert!(next(&mut frames).await.is_none());
}

#[tokio::test]
async fn the_last_place_is_saved_at_the_end_however_seldom_it_is_saved() {
    let mut hub = Hub::start().await;
    let store = Arc::new(MemoryResumeTokenStore::new());
    let seldom = SubscribeOptions {
        save_interval: std::time::Duration::from_secs(3600),
        ..storing(&store)
    };
    let mut frames = hub.client().subscribe(seldom);
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 1)).await;
    let complete = bellboard_sdk::v1::ClosingReason::Complete;
    stream.send(crate::frames::closing("c", complete, None)).await;
    offsets(&mut frames).await;
    frame_of(&mut frames).await;
    assert_eq!(
        store.resume_token().as_deref(),
        Some("a"),
        "the first at once, the next an hour later"
    );
    assert!(next(&mut frames).await.is_none());
    assert_eq!(store.resume_token().as_deref(), Some("c"));
}
