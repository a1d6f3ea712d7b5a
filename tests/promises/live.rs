//! What is on its way past the log, and how the stream shows that it lives.

use bellboard_proto::v1::{self, delta::Fragment, item_text::State, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{Append, all, fragment, from_now, from_start, on, resume, session};
use bellboard_tests::process::DataDir;
use bellboard_tests::replica::Replica;
use bellboard_tests::within;
use tokio::sync::mpsc;

/// A writer's stream that a test drives by hand.
pub(crate) struct Publisher {
    frames: mpsc::Sender<v1::PublishEventsRequest>,
    answers: tonic::Streaming<v1::PublishEventsResponse>,
    seq: u64,
}

impl Publisher {
    pub(crate) async fn open(client: &Client, writer: &str) -> Publisher {
        use v1::publish_events_request::Frame as Sent;
        let mut events = client.events.clone();
        let open = v1::OpenWriterRequest {
            writer_id: writer.into(),
            ..v1::OpenWriterRequest::default()
        };
        let grant = events.open_writer(open).await.unwrap().into_inner();
        let (frames, queued) = mpsc::channel(64);
        let open = v1::PublishOpen {
            writer_id: writer.into(),
            fence: grant.fence,
        };
        frames
            .send(v1::PublishEventsRequest {
                frame: Some(Sent::Open(open)),
            })
            .await
            .unwrap();
        let queued = tokio_stream::wrappers::ReceiverStream::new(queued);
        let answers = within("PublishEvents", events.publish_events(queued))
            .await
            .unwrap()
            .into_inner();
        Publisher {
            frames,
            answers,
            seq: grant.last_seq,
        }
    }

    async fn send(&self, entry: v1::publish_entry::Entry) {
        let batch = v1::PublishBatch {
            entries: vec![v1::PublishEntry { entry: Some(entry) }],
        };
        let frame = Some(v1::publish_events_request::Frame::Batch(batch));
        self.frames.send(v1::PublishEventsRequest { frame }).await.unwrap();
    }

    /// Appends, and waits until it is acknowledged.
    pub(crate) async fn append(&mut self, append: Append) {
        self.seq += 1;
        self.send(v1::publish_entry::Entry::Append(append.seq(self.seq).0))
            .await;
        loop {
            let answer = within("an acknowledgement", self.answers.message())
                .await
                .unwrap()
                .expect("the stream goes on");
            if let Some(v1::publish_events_response::Frame::Acknowledged(acknowledged)) = answer.frame {
                bellboard_tests::client::stored(&acknowledged.results[0]);
                return;
            }
        }
    }

    /// Waits until the hub ends the stream: the reason of its last frame, and the status behind it.
    pub(crate) async fn ended(&mut self) -> (Option<v1::ClosingReason>, tonic::Code) {
        let mut reason = None;
        loop {
            match within("the end of a writer's stream", self.answers.message()).await {
                Ok(Some(answer)) => {
                    if let Some(v1::publish_events_response::Frame::Closing(closing)) = answer.frame {
                        reason = Some(closing.reason());
                    }
                }
                Ok(None) => return (reason, tonic::Code::Ok),
                Err(status) => return (reason, status.code()),
            }
        }
    }

    /// Passes a delta on, behind everything before it.
    pub(crate) async fn delta(&self, delta: v1::DeltaAppend) {
        self.send(v1::publish_entry::Entry::Delta(delta)).await;
    }
}

async fn fragments(stream: &mut bellboard_tests::stream::Frames, count: usize) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        if let Frame::Deltas(deltas) = stream.next().await {
            found.extend(deltas.deltas.into_iter().map(|delta| match delta.fragment {
                Some(Fragment::MessageText(text)) => (delta.at, text),
                other => panic!("expected text, got {other:?}"),
            }));
        }
    }
    found
}

#[tokio::test]
async fn p_20_who_joins_in_mid_sentence_gets_the_text_so_far_first() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![session("s", v1::Detail::Live)];
    let mut writer = Publisher::open(&client, "w").await;
    let mut early = client.subscribe(from_now(wanted.clone())).await;
    early.caught_up().await;
    writer.append(on("s").starts("item")).await;
    writer.delta(fragment("s", "item", 0, "Grüß")).await;
    writer.delta(fragment("s", "item", 6, " Gott")).await;
    assert_eq!(
        fragments(&mut early, 2).await,
        [(0, "Grüß".to_owned()), (6, " Gott".to_owned())]
    );
    let cut = early.token.clone();

    let mut joining = client.subscribe(from_now(wanted.clone())).await;
    let so_far = joining.until("item_text", |frame| match frame {
        Frame::ItemText(text) => Some(text.clone()),
        Frame::Deltas(_) => panic!("a fragment came before the text that it follows"),
        _ => None,
    });
    let so_far = so_far.await;
    assert_eq!(
        (so_far.at, so_far.state),
        (11, Some(State::MessageText("Grüß Gott".into())))
    );

    drop(early);
    writer.delta(fragment("s", "item", 11, "!")).await;
    assert_eq!(fragments(&mut joining, 1).await, [(11, "!".to_owned())]);
    let mut resumed = client.subscribe(resume(&cut, wanted.clone())).await;
    let text = resumed.until("item_text after the cut", |frame| match frame {
        Frame::ItemText(text) => Some(text.state.clone()),
        _ => None,
    });
    assert_eq!(
        text.await,
        Some(State::MessageText("Grüß Gott!".into())),
        "no half a message"
    );

    writer.append(on("s").completes("item", "Grüß Gott!")).await;
    writer.delta(fragment("s", "item", 12, "too late")).await;
    writer.append(on("s").says("end")).await;
    let mut replica = Replica::default();
    while replica.events.len() < 2 {
        let frame = joining.next().await;
        assert!(
            !matches!(frame, Frame::Deltas(_)),
            "a fragment came after its item was complete"
        );
        replica.take(&frame);
    }
}

#[tokio::test]
async fn a_restart_in_mid_sentence_leaves_nobody_with_a_wrong_text() {
    let data = DataDir::new();
    let hub = data.start().await;
    let wanted = vec![session("s", v1::Detail::Live)];
    let client = hub.client();
    let mut writer = Publisher::open(&client, "w").await;
    let mut stream = client.subscribe(from_now(wanted.clone())).await;
    let mut replica = Replica::default();
    writer.append(on("s").starts("item")).await;
    writer.delta(fragment("s", "item", 0, "half")).await;
    while replica.texts.values().all(|text| text != "half") {
        replica.take(&stream.next().await);
    }
    let token = stream.token.clone();
    hub.kill().await;

    let hub = data.start().await;
    let client = hub.client();
    let mut writer = Publisher::open(&client, "w").await;
    let mut stream = client.subscribe(resume(&token, wanted)).await;
    writer.delta(fragment("s", "item", 4, " done")).await;
    let unavailable = |frame: &Frame| match frame {
        Frame::ItemText(text) => matches!(text.state, Some(State::Unavailable(_))).then_some(()),
        Frame::Deltas(_) => panic!("a fragment of a text that nobody has"),
        _ => None,
    };
    stream.until("word that the text is not to be had", unavailable).await;
    writer.append(on("s").completes("item", "half done")).await;
    while !replica.texts.is_empty() {
        replica.take(&stream.next().await);
    }
    assert_eq!(replica.events.len(), 3, "opened, started, completed");
}

#[tokio::test]
async fn k_15_ten_thousand_updates_while_a_client_is_slow_cost_no_memory_and_lose_nothing() {
    let data = DataDir::new();
    let hub = data.start_with(&["--window-bytes", "1MiB"]).await;
    let client = hub.client();
    let wanted = vec![session("s", v1::Detail::Live)];
    let mut slow = client.subscribe(from_now(wanted.clone())).await;
    slow.caught_up().await;
    let before = resident_kib(hub.id());
    for batch in 0..20 {
        let said = (0..500)
            .map(|number| on("s").completes(&format!("i{number}"), &format!("{batch}-{number} {}", "x".repeat(500))));
        client.append(said.collect()).await;
    }
    let grown = resident_kib(hub.id()).saturating_sub(before);
    assert!(grown < 64 * 1024, "the hub grew by {grown} KiB for one slow client");
    let events = slow.events(10_001).await;
    assert_eq!(events.len(), 10_001);
    assert!(
        bellboard_tests::events::text(events.last().unwrap()).starts_with("19-499"),
        "the last state is right"
    );
}

fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the hub's status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn p_37_a_heartbeat_covers_what_was_sent_and_nothing_after() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![session("s", v1::Detail::Content)];
    client.say("s", "0").await;
    let second = prost_types::Duration { seconds: 1, nanos: 0 };
    let request = v1::SubscribeRequest {
        heartbeat_interval: Some(second),
        ..from_start(wanted.clone())
    };
    let mut stream = client.subscribe(request).await;
    stream.caught_up().await;
    // Events of others move the log, but bring this stream nothing: the heartbeat accounts for them.
    let tail = client.say("noise", "n").await + 1;
    let heartbeat = stream.until("a heartbeat at the tail", |frame| match frame {
        Frame::Heartbeat(heartbeat) if heartbeat.until == tail => Some(*heartbeat),
        Frame::Events(_) => panic!("an event that was not asked for"),
        _ => None,
    });
    heartbeat.await;
    let token = stream.token.clone();
    client.say("s", "1").await;
    let mut resumed = client.subscribe(resume(&token, wanted)).await;
    assert_eq!(resumed.subscribed().await.from, tail);
    assert_eq!(
        resumed.caught_up().await.len(),
        1,
        "nothing after the heartbeat is lost"
    );
}

#[tokio::test]
async fn a_stream_of_closed_sessions_ends_when_all_is_told() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client
        .append(vec![on("s").says("a"), on("t").says("b"), on("t").closes()])
        .await;
    let wanted = vec![session("s", v1::Detail::Content), session("t", v1::Detail::Content)];
    let request = v1::SubscribeRequest {
        stop_when_closed: true,
        ..from_start(wanted)
    };
    let mut stream = client.subscribe(request).await;
    stream.caught_up().await;
    client.append(vec![on("s").says("last"), on("s").closes()]).await;
    assert_eq!(stream.events(2).await.len(), 2);
    let Frame::Closing(closing) = stream.next().await else {
        panic!("no closing")
    };
    assert_eq!(closing.reason(), v1::ClosingReason::Complete);
    assert_eq!(stream.try_next().await.unwrap(), None, "and then the end");

    let wrong = v1::SubscribeRequest {
        stop_when_closed: true,
        ..from_start(vec![all(v1::Detail::Content)])
    };
    let refused = client
        .try_subscribe(wrong)
        .await
        .expect_err("all sessions are never all closed");
    assert_eq!(crate::reset::reason(&refused), v1::ErrorReason::InvalidField);
}

#[tokio::test]
async fn sigterm_closes_streams_politely_and_their_places_stay_good() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.say("s", "0").await;
    let wanted = vec![all(v1::Detail::Content)];
    let mut stream = client.subscribe(from_start(wanted.clone())).await;
    stream.caught_up().await;
    let ending = tokio::spawn(hub.terminate());
    let Frame::Closing(closing) = stream.next().await else {
        panic!("no closing")
    };
    assert_eq!(closing.reason(), v1::ClosingReason::Draining);
    assert!(closing.retry_after.is_some(), "with advice when to come back");
    assert_eq!(stream.try_next().await.unwrap(), None);
    let token = stream.token.clone();
    drop((stream, client));
    assert!(ending.await.unwrap().success(), "the hub ends well");

    let hub = data.start().await;
    let mut again = hub.client().subscribe(resume(&token, wanted)).await;
    assert_eq!(again.subscribed().await.answer(), v1::Answer::Resumed);
}

#[tokio::test]
async fn a_resume_token_of_any_frame_leaves_no_offset_unaccounted_for() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![session("s", v1::Detail::Live)];
    let mut writer = Publisher::open(&client, "w").await;
    writer.append(on("s").starts("item")).await;
    let mut stream = client.subscribe(from_start(wanted.clone())).await;
    stream.caught_up().await;
    let told = client
        .append((0..5).map(|number| on("noise").says(&number.to_string())).collect())
        .await;
    writer.delta(fragment("s", "item", 0, "hello")).await;
    fragments(&mut stream, 1).await;
    let token = stream.token.clone();
    let from = client.subscribe(resume(&token, wanted)).await.subscribed().await.from;
    assert!(
        from <= told[0],
        "[.., {from}) was in no frame, and {} is before it",
        told[0]
    );
}

#[tokio::test]
async fn a_text_that_becomes_too_long_is_said_to_be_so() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut writer = Publisher::open(&client, "w").await;
    let mut stream = client.subscribe(from_now(vec![session("s", v1::Detail::Live)])).await;
    stream.caught_up().await;
    writer.append(on("s").starts("item")).await;
    let piece = "x".repeat(100 * 1024);
    for at in 0..3 {
        writer.delta(fragment("s", "item", at * piece.len(), &piece)).await;
    }
    let unavailable = |frame: &Frame| match frame {
        Frame::ItemText(text) => matches!(text.state, Some(State::Unavailable(_))).then_some(()),
        _ => None,
    };
    stream.until("word that the text is too long", unavailable).await;
}
