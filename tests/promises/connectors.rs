//! What is told of connectors: once, without a session, to whoever looks at one of their sessions.

use bellboard_proto::v1::{self, Answer, ErrorReason, EventFamily, append_result::Outcome, event::Payload};
use bellboard_sdk::{Client as Sdk, Options, Spool, Writer, WriterOptions};
use bellboard_tests::client::{Client, stored};
use bellboard_tests::events::{
    Append, all, by_id, connector_offline, connector_online, from_now, from_start, on, project, resume, session,
    subtree, text, vendor,
};
use bellboard_tests::postgres::is_sqlites_own;
use bellboard_tests::process::{DataDir, cli};
use bellboard_tests::proxy::Proxy;
use bellboard_tests::within;

/// A writer of the bare client, which counts for itself.
struct Connector {
    client: Client,
    id: &'static str,
    fence: u64,
    seq: u64,
}

impl Connector {
    /// Opened with these sessions.
    async fn open(client: &Client, id: &'static str, sessions: &[&str]) -> Connector {
        let opened = open(client, id, sessions, 0).await;
        Connector {
            client: client.clone(),
            id,
            fence: opened.fence,
            seq: opened.last_seq,
        }
    }

    async fn try_append(&mut self, append: Append) -> v1::AppendResult {
        self.seq += 1;
        let request = v1::AppendEventsRequest {
            writer_id: self.id.into(),
            fence: self.fence,
            appends: vec![v1::EventAppend {
                seq: self.seq,
                ..append.0
            }],
        };
        let mut events = self.client.events.clone();
        let answer = within("the answer to AppendEvents", events.append_events(request)).await;
        answer.expect("the append is taken").into_inner().results.remove(0)
    }

    /// Appends one event, which must be stored. Returns its offset.
    async fn append(&mut self, append: Append) -> u64 {
        stored(&self.try_append(append).await)
    }
}

async fn open(client: &Client, id: &str, sessions: &[&str], acknowledged_seq: u64) -> v1::OpenWriterResponse {
    let session = |id: &&str| v1::WriterSession {
        session: Some(by_id(id)),
        ..v1::WriterSession::default()
    };
    let request = v1::OpenWriterRequest {
        writer_id: id.into(),
        sessions: sessions.iter().map(session).collect(),
        acknowledged_seq,
        ..v1::OpenWriterRequest::default()
    };
    let mut events = client.events.clone();
    let answer = within("the answer to OpenWriter", events.open_writer(request)).await;
    answer.expect("the writer is opened").into_inner()
}

/// What kind of connector event it is; none for any other.
fn kind(event: &v1::Event) -> Option<&'static str> {
    match event.payload {
        Some(Payload::ConnectorOnline(_)) => Some("online"),
        Some(Payload::ConnectorOffline(_)) => Some("offline"),
        Some(Payload::ConnectorLost(_)) => Some("lost"),
        _ => None,
    }
}

fn kinds(events: &[v1::Event]) -> Vec<&'static str> {
    events.iter().filter_map(kind).collect()
}

fn offsets(events: &[v1::Event]) -> Vec<u64> {
    events.iter().map(|event| event.offset).collect()
}

fn families<const N: usize>(interest: v1::Interest, families: [EventFamily; N]) -> v1::Interest {
    v1::Interest {
        families: families.into_iter().map(Into::into).collect(),
        ..interest
    }
}

/// Two sessions of `w`, of which one lies below the other, and one of `v` elsewhere.
async fn three_sessions(client: &Client) {
    client
        .append(vec![
            on("a").opens_in("/p", "opencode"),
            on("b").opens_below("a"),
            on("b").moves_to("/q"),
            on("c").opens_in("/r", "codex"),
        ])
        .await;
}

#[tokio::test]
async fn a_connector_is_told_of_once_to_whoever_looks_at_one_of_its_sessions() {
    use v1::Detail::{Content, Live, Summary};
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    three_sessions(&client).await;
    let told = ["online", "offline", "online"];
    let wishes: Vec<(Vec<v1::Interest>, &[&str])> = vec![
        (vec![all(Content)], &told),
        (vec![all(Summary)], &[]),
        (vec![all(Summary), session("b", Live)], &told),
        (vec![session("a", Content)], &told),
        (vec![session("b", Content)], &told),
        (vec![session("a", Content), session("b", Live), all(Summary)], &told),
        (vec![session("c", Content)], &told[2..]),
        (vec![subtree("a", Content)], &told),
        (vec![subtree("c", Content)], &told[2..]),
        (vec![project("/p", Content)], &told),
        (vec![project("/q", Content)], &told),
        (vec![project("/r", Content)], &told[2..]),
        (vec![vendor("opencode", Content)], &told),
        (vec![vendor("codex", Content)], &told[2..]),
        (vec![families(all(Content), [EventFamily::Connector])], &told),
        (vec![families(session("b", Content), [EventFamily::Connector])], &told),
        (vec![families(session("a", Content), [EventFamily::Message])], &[]),
    ];
    let mut live = Vec::new();
    for (interests, _) in &wishes {
        let mut stream = client.subscribe(from_now(interests.clone())).await;
        stream.subscribed().await;
        live.push(stream);
    }

    let mut connector = Connector::open(&client, "w", &["a", "b"]).await;
    let mut other = Connector::open(&client, "v", &["c"]).await;
    let online = connector.append(connector_online("opencode on a laptop")).await;
    connector.append(on("a").says("one")).await;
    connector.append(connector_offline("opencode on a laptop")).await;
    other.append(on("c").says("elsewhere")).await;
    // Now `w` holds all three, by what it says in the same call as by what it said before.
    connector.append(on("b").says("two")).await;
    drop(other);
    let taken = v1::OpenWriterRequest {
        writer_id: "w".into(),
        sessions: ["a", "b", "c"]
            .map(|id| v1::WriterSession {
                session: Some(by_id(id)),
                ..v1::WriterSession::default()
            })
            .into(),
        take_over: true,
        ..v1::OpenWriterRequest::default()
    };
    let mut events = client.events.clone();
    connector.fence = events.open_writer(taken).await.unwrap().into_inner().fence;
    connector.append(connector_online("opencode on a laptop")).await;
    for id in ["a", "b", "c"] {
        connector.append(on(id).says("end")).await;
    }
    for id in ["a", "b", "c"] {
        connector.append(on(id).closes()).await;
    }

    let first = live.iter().map(|stream| stream.token.clone()).next().unwrap();
    for ((interests, told), stream) in wishes.iter().zip(&mut live) {
        let history = client.history(interests.clone()).await;
        assert_eq!(kinds(&history), *told, "history of {interests:?}");
        let mut replay = client.subscribe(from_start(interests.clone())).await;
        replay.subscribed().await;
        let replayed = replay.caught_up().await;
        // What a session said after it came to match lies in the snapshot that followed its coming: see `watching`.
        let of_none = |events: &[v1::Event]| -> Vec<v1::Event> {
            let mut of_none = events.to_vec();
            of_none.retain(|event| event.session_id.is_empty());
            of_none
        };
        assert_eq!(of_none(&replayed), of_none(&history), "a replay of {interests:?}");
        let news: Vec<v1::Event> = history.into_iter().filter(|event| event.offset >= online).collect();
        let heard = stream.events(news.len()).await;
        assert_eq!(offsets(&heard), offsets(&news), "live {interests:?}");
        assert_eq!(heard, news, "live {interests:?}");
        check_places(&heard);
    }
    // A resume token from between is answered with the rest, each once.
    let interests = vec![all(Content)];
    let mut rest = client.subscribe(resume(&first, interests.clone())).await;
    assert_eq!(rest.subscribed().await.answer(), Answer::Resumed);
    let mut found = rest.events(2).await;
    let mut rest = client.subscribe(resume(&rest.token, interests)).await;
    assert_eq!(rest.subscribed().await.answer(), Answer::Resumed);
    found.extend(rest.caught_up().await);
    assert_eq!(kinds(&found), told);
    hub.terminate().await;
}

/// A connector's event has neither session nor index.
fn check_places(events: &[v1::Event]) {
    for event in events.iter().filter(|event| kind(event).is_some()) {
        assert_eq!((event.session_id.as_str(), event.index, event.life), ("", 0, 0));
        assert!(event.root_session_id.is_empty() && event.link != 0);
    }
}

#[tokio::test]
async fn a_sessions_indices_know_nothing_of_connectors() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut connector = Connector::open(&client, "w", &["s"]).await;
    for number in 0..3 {
        connector.append(on("s").says(&number.to_string())).await;
        connector.append(connector_online("c")).await;
    }
    let events = client.history(vec![session("s", v1::Detail::Content)]).await;
    let of_session = events.iter().filter(|event| kind(event).is_none());
    let indices: Vec<u64> = of_session.map(|event| event.index).collect();
    assert_eq!(indices, [0, 1, 2, 3], "the opening and three messages");
    assert_eq!(offsets(&events), (0..7).collect::<Vec<_>>(), "and offsets know of all");
    hub.terminate().await;
}

#[tokio::test]
async fn only_a_writer_speaks_for_a_connector_and_only_without_a_session() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut connector = Connector::open(&client, "w", &["s"]).await;
    let refused = |result: &v1::AppendResult| match &result.outcome {
        Some(Outcome::Rejected(rejected)) => (rejected.reason(), rejected.field.clone()),
        other => panic!("{other:?}"),
    };
    let without = client.try_append(vec![connector_online("c")]).await.unwrap();
    assert_eq!(refused(&without[0]).0, ErrorReason::InvalidField);
    let mut in_session = connector_online("c");
    in_session.0.session = Some(by_id("s"));
    let in_session = connector.try_append(in_session).await;
    assert_eq!(refused(&in_session), (ErrorReason::InvalidField, "session".into()));
    let nameless = connector.try_append(connector_online("")).await;
    let field = "event.connector_online.connector_id";
    assert_eq!(refused(&nameless), (ErrorReason::InvalidField, field.into()));
    let lost = Append(v1::EventAppend {
        session: None,
        ..on("s").with(Payload::ConnectorLost(v1::ConnectorLost::default())).0
    });
    let lost = connector.try_append(lost).await;
    assert_eq!(refused(&lost).0, ErrorReason::PayloadReserved);
    // A message has a session.
    let mut message = on("s").says("hello");
    message.0.session = None;
    assert_eq!(refused(&connector.try_append(message).await).1, "session");
    // Each consumed its seq; said again it is a duplicate, by its seq as by its key.
    let mut online = connector_online("c");
    online.0.dedupe_key = "came".into();
    let offset = connector.append(online.clone()).await;
    let again = connector.try_append(online.clone()).await;
    connector.seq -= 2;
    let repeated = connector.try_append(online).await;
    for duplicate in [again, repeated] {
        let Some(Outcome::Duplicate(duplicate)) = duplicate.outcome else {
            panic!("{duplicate:?}");
        };
        assert_eq!((duplicate.offset, duplicate.index), (Some(offset), None));
    }
    hub.terminate().await;
}

#[tokio::test]
async fn what_the_hub_lost_of_a_writer_is_told_once() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut connector = Connector::open(&client, "w", &["s"]).await;
    connector.append(connector_online("c")).await;
    connector.append(on("s").says("one")).await;
    let mut stream = client
        .subscribe(from_now(vec![session("s", v1::Detail::Content)]))
        .await;
    stream.subscribed().await;
    for acknowledged in [0, 1, 2] {
        assert_eq!(open(&client, "w", &["s"], acknowledged).await.last_seq, 2);
    }
    // The answer to the first is lost, say.
    for _ in 0..2 {
        assert_eq!(open(&client, "w", &["s"], 9).await.last_seq, 2);
    }
    let mut connector = Connector::open(&client, "w", &["s"]).await;
    connector.append(on("s").says("two")).await;
    let heard = stream.events(2).await;
    assert_eq!((kinds(&heard), text(&heard[1])), (vec!["lost"], "two".to_owned()));
    let Some(Payload::ConnectorLost(lost)) = &heard[0].payload else {
        panic!("{heard:?}");
    };
    let expected = v1::ConnectorLost {
        connector_id: "c".into(),
        writer_id: "w".into(),
        last_seq: 2,
        reason: v1::ConnectorLostReason::AcknowledgedLost.into(),
        lost_from_seq: 3,
        lost_until_seq: 10,
    };
    assert_eq!(*lost, expected);
    hub.terminate().await;
}

/// Backup at 100, 50 more, restore: what the writer's spool still holds comes back, the rest is told as lost, and it goes on.
async fn restored_under_a_writer(spool: impl Fn() -> Spool) -> (Vec<String>, Vec<v1::ConnectorLost>) {
    let (data, elsewhere) = (DataDir::new(), DataDir::new());
    let file = elsewhere.path().join("backup.db");
    let hub = data.start().await;
    let printed = cli(&data, &["key", "create", "--principal", "w", "--scope", "read,publish"]).await;
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("bbk_"))
        .unwrap();
    let proxy = Proxy::before(&hub.url).await;
    let sdk = Sdk::connect(Options::at(&proxy.url).with_key(key)).unwrap();
    let options = WriterOptions::new("w").with_spool(spool());
    let writer = Writer::open(&sdk, options).await.unwrap();
    let say = async |said: String| drop(writer.append(on("s").says(&said).0).await.unwrap());
    for number in 0..100 {
        say(format!("kept {number}")).await;
    }
    within("the first hundred", writer.flush()).await.unwrap();
    cli(&data, &["backup", file.to_str().unwrap()]).await;
    for number in 100..150 {
        say(format!("lost {number}")).await;
    }
    within("fifty more", writer.flush()).await.unwrap();
    proxy.cut();
    hub.terminate().await;

    let folder = elsewhere.path().join("data");
    let restored = DataDir::at(folder);
    cli(&restored, &["restore", file.to_str().unwrap()]).await;
    let hub = restored.start().await;
    let before = writer.stats().dials;
    proxy.move_to(&hub.url);
    say("new 150".into()).await;
    within("the new one", writer.flush()).await.unwrap();
    let dials = writer.stats().dials - before;
    assert!(dials < 10, "{dials} dials: it must not go round");
    writer.close().await.unwrap();
    let history = Client::new(&hub.url, Some(key));
    let history = history.history(vec![session("s", v1::Detail::Content)]).await;
    hub.terminate().await;
    let lost = history.iter().filter_map(|event| match &event.payload {
        Some(Payload::ConnectorLost(lost)) => Some(lost.clone()),
        _ => None,
    });
    let lost = lost.collect();
    (history.iter().map(text).filter(|text| !text.is_empty()).collect(), lost)
}

fn lost_50() -> Vec<v1::ConnectorLost> {
    vec![v1::ConnectorLost {
        connector_id: String::new(),
        writer_id: "w".into(),
        last_seq: 100,
        reason: v1::ConnectorLostReason::AcknowledgedLost.into(),
        lost_from_seq: 101,
        lost_until_seq: 151,
    }]
}

#[tokio::test]
async fn p_16_a_restored_hub_tells_what_it_lost_and_takes_from_a_spool_on_disk_what_that_still_holds() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (said, lost) = restored_under_a_writer(|| Spool::on_disk(folder.path())).await;
    let kept = (0..100).map(|number| format!("kept {number}"));
    let again = (100..150).map(|number| format!("lost {number}"));
    let expected: Vec<String> = kept.chain(again).chain(["new 150".into()]).collect();
    assert_eq!(said, expected);
    assert_eq!(lost, lost_50());
}

#[tokio::test]
async fn p_16_a_restored_hub_tells_what_it_lost_of_a_writer_that_has_it_no_longer() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let (said, lost) = restored_under_a_writer(Spool::default).await;
    let kept = (0..100).map(|number| format!("kept {number}"));
    assert_eq!(said, kept.chain(["new 150".into()]).collect::<Vec<_>>());
    assert_eq!(lost, lost_50());
}
