//! The main job once through: a real agent's session flows in, and out to two clients, of which one is cut twice in mid-turn.

use bellboard_proto::v1::{self, event::Payload};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_now, resume, text};
use bellboard_tests::opencode::{Model, Opencode};
use bellboard_tests::process::{DataDir, connect_opencode};
use bellboard_tests::replica::Replica;
use bellboard_tests::stream::Frames;

fn wanted() -> Vec<v1::Interest> {
    vec![all(v1::Detail::Live)]
}

/// A client and what it holds.
struct Viewer {
    client: Client,
    stream: Option<Frames>,
    token: String,
    replica: Replica,
}

impl Viewer {
    async fn open(client: Client) -> Viewer {
        let mut stream = client.subscribe(from_now(wanted())).await;
        stream.caught_up().await;
        let token = stream.token.clone();
        Viewer {
            client,
            stream: Some(stream),
            token,
            replica: Replica::default(),
        }
    }

    /// Breaks the connection off.
    fn cut(&mut self) {
        self.stream = None;
    }

    /// Takes frames until the state is as wanted, dialling anew where it was cut.
    async fn until(&mut self, reached: impl Fn(&Replica) -> bool) {
        while !reached(&self.replica) {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let mut stream = self.client.subscribe(resume(&self.token, wanted())).await;
                    assert_eq!(stream.subscribed().await.answer(), v1::Answer::Resumed);
                    self.stream.insert(stream)
                }
            };
            let frame = stream.next().await;
            self.token = stream.token.clone();
            self.replica.take(&frame);
        }
    }

    /// Until the text that is being written ends with this word.
    async fn reads(&mut self, word: &str) {
        self.until(|replica| replica.texts.values().any(|text| text.trim_end().ends_with(word)))
            .await;
    }
}

fn ended(replica: &Replica) -> bool {
    replica
        .events
        .values()
        .any(|event| matches!(event.payload, Some(Payload::TurnCompleted(_))))
}

#[tokio::test]
async fn a_real_agents_turn_reaches_a_client_that_is_cut_twice_whole_and_without_a_stutter() {
    let model = Model::start().await;
    let Some(opencode) = Opencode::start(&model).await else {
        return;
    };
    let data = DataDir::new();
    let hub = data.start().await;
    let mut connector = connect_opencode(&data, &hub, &opencode.url);
    let (mut uncut, mut cut) = (Viewer::open(hub.client()).await, Viewer::open(hub.client()).await);

    let session = opencode.open("a real session").await;
    let opened = |replica: &Replica| {
        replica
            .events
            .values()
            .any(|event| matches!(event.payload, Some(Payload::SessionOpened(_))))
    };
    uncut.until(opened).await;
    opencode
        .prompt(&session, "[[gated chunks=20 gate=a]] tell me something")
        .await;
    model.release("a", "4").await;
    uncut.reads("word3").await;
    cut.reads("word3").await;
    cut.cut();
    model.release("a", "4").await;
    uncut.reads("word7").await;
    cut.reads("word7").await;
    model.release("a", "4").await;
    cut.reads("word11").await;
    cut.cut();
    model.release("a", "all").await;
    uncut.until(ended).await;
    cut.until(ended).await;

    // The agent goes on a little after its turn: both are told of it up to the same place.
    let last = *uncut.replica.events.keys().max().expect("events");
    cut.until(|replica| replica.events.contains_key(&last)).await;
    let newest = *cut.replica.events.keys().max().expect("events");
    uncut.until(|replica| replica.events.contains_key(&newest)).await;
    assert_eq!(
        uncut.replica.events, cut.replica.events,
        "both end with exactly the same events"
    );
    assert!(
        uncut.replica.texts.is_empty() && cut.replica.texts.is_empty(),
        "every item is complete"
    );
    let words: Vec<_> = (0..20).map(|number| format!("word{number}")).collect();
    let said: Vec<_> = cut.replica.events.values().map(text).collect();
    assert!(
        said.iter()
            .any(|said| said.split_whitespace().eq(words.iter().map(String::as_str))),
        "the whole text is there: {said:?}"
    );
    let turns = cut
        .replica
        .events
        .values()
        .filter(|event| matches!(event.payload, Some(Payload::TurnStarted(_))))
        .count();
    assert_eq!(turns, 1, "one prompt, one turn");
    connector.start_kill().expect("the connector ran to the end");
}
