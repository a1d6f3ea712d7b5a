//! A client may be cut after any frame: it ends up with the same state.

use bellboard_proto::v1::{self, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, fragment, from_snapshot, on, resume, session};
use bellboard_tests::process::DataDir;
use bellboard_tests::replica::Replica;
use bellboard_tests::within;

use crate::live::Publisher;

fn wanted() -> Vec<v1::Interest> {
    vec![
        all(v1::Detail::Summary),
        session("s", v1::Detail::Live),
        session("t", v1::Detail::Content),
    ]
}

/// One run: snapshot, replay, live events, deltas. The client is cut after frame `cut` and comes back by its resume token. Returns
/// what it ends up with, and how many frames it took.
async fn run(client: &Client, cut: usize) -> (Replica, usize) {
    let (s, t) = ("s", "t");
    let mut writer = Publisher::open(client, "w").await;
    writer.append(on(s).says("before")).await;
    writer.append(on(t).says("before")).await;
    let mut follower = Follower {
        client: client.clone(),
        replica: Replica::default(),
        frames: 0,
        cut,
        stream: None,
        token: None,
    };
    within("the snapshot", follower.until(|replica| replica.sessions.len() == 2)).await;
    // Appended while the client may be gone: replayed to it.
    writer.append(on(s).says("one")).await;
    writer.append(on("other").says("only its opening is wanted")).await;
    writer.append(on(t).says("two")).await;
    within(
        "the replay",
        follower.until(|replica| replica.known(s) >= 3 && replica.known(t) >= 3 && replica.known("other") >= 1),
    )
    .await;
    // Live, with fragments between.
    writer.append(on(s).starts("item")).await;
    writer.delta(fragment(s, "item", 0, "Grüß ")).await;
    writer.delta(fragment(s, "item", 7, "Gott")).await;
    within(
        "the text",
        follower.until(|replica| replica.texts.values().any(|text| text == "Grüß Gott")),
    )
    .await;
    writer.append(on(s).completes("item", "Grüß Gott!")).await;
    writer.append(on(s).closes()).await;
    within("the end", follower.until(|replica| replica.known(s) >= 6)).await;
    (follower.replica, follower.frames)
}

struct Follower {
    client: Client,
    replica: Replica,
    frames: usize,
    cut: usize,
    stream: Option<bellboard_tests::stream::Frames>,
    token: Option<String>,
}

impl Follower {
    /// Takes frames, and is cut once on the way, until the state is as wanted.
    async fn until(&mut self, reached: impl Fn(&Replica) -> bool) {
        while !reached(&self.replica) {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let request = match &self.token {
                        None => from_snapshot(wanted()),
                        Some(token) => resume(token, wanted()),
                    };
                    self.stream.insert(self.client.subscribe(request).await)
                }
            };
            let frame = stream.next().await;
            self.replica.take(&frame);
            self.frames += 1;
            self.token = Some(stream.token.clone());
            if self.frames == self.cut {
                self.stream = None;
            }
            if let Frame::Subscribed(subscribed) = &frame
                && subscribed.answer() == v1::Answer::Reset
            {
                assert_eq!(
                    subscribed.reason(),
                    v1::ResetReason::SnapshotIncomplete,
                    "no other reset is due here"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_is_cut_after_any_frame_ends_up_with_the_same_state() {
    let uncut = {
        let data = DataDir::new();
        let hub = data.start().await;
        run(&hub.client(), usize::MAX).await
    };
    assert!(
        uncut.1 >= 10,
        "the run has snapshot, replay and deltas: {} frames",
        uncut.1
    );
    for cut in 1..=uncut.1 {
        let data = DataDir::new();
        let hub = data.start().await;
        let (replica, _) = run(&hub.client(), cut).await;
        assert_eq!(state(&replica), state(&uncut.0), "cut after frame {cut}");
    }
}

/// What a client must end up with, whether it came by snapshot or by event.
fn state(replica: &Replica) -> String {
    let session = |id: &str| format!("{id}: {} {:?}", replica.known(id), replica.items(id));
    format!(
        "{} {} other: {} open: {:?}",
        session("s"),
        session("t"),
        replica.known("other") > 0,
        replica.texts
    )
}
