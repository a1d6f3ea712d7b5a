//! What the tap makes good, against a scripted opencode: losses at the beginning, cuts, silence, restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use bellboard_connectors::opencode::{ApiError, Error, Frame, Options, follow};
use bellboard_connectors::{Out, Sink, SinkError};
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{AskWithdrawReason, DeltaAppend, EventAppend};
use bellboard_sdk::RetryPolicy;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fake::{Fake, LiveStream};
use super::replay::{completed_texts, delta_texts, events, frames, identities, mapper, payload, replay};

/// No test waits longer for anything: it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sink with room for one, so that every test also runs under back-pressure.
struct Channel(mpsc::Sender<Out>);

impl Sink for Channel {
    async fn append(&mut self, event: EventAppend) -> Result<(), SinkError> {
        let sent = self.0.send(Out::Event(Box::new(event))).await;
        sent.map_err(|_| SinkError::Closed("the test ended".to_owned()))
    }

    fn delta(&mut self, delta: DeltaAppend) {
        // Where there is no room a delta is dropped; the recorded ones are told by the pure tests.
        let _ = self.0.try_send(Out::Delta(Box::new(delta)));
    }
}

/// A connector that follows a fake.
struct Running {
    out: mpsc::Receiver<Out>,
    heard: Vec<Out>,
    task: JoinSet<Result<(), Error>>,
}

impl Running {
    fn start(fake: &Fake) -> Running {
        let (sender, out) = mpsc::channel(1);
        let mut options = Options::new(&fake.url, "unused");
        options.host = "demo-host".to_owned();
        options.tick = Duration::from_millis(5);
        options.retry = RetryPolicy {
            first_ceiling: Duration::from_millis(1),
            largest_ceiling: Duration::from_millis(5),
            ..RetryPolicy::stream()
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            follow(
                &options,
                "test-installation".to_owned(),
                Channel(sender),
                std::future::pending(),
            )
            .await
            .0
        });
        Running {
            out,
            heard: Vec::new(),
            task,
        }
    }

    /// Listens until an event fits.
    async fn until(&mut self, what: &str, fits: impl Fn(&EventAppend) -> bool) {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let out = self.out.recv().await.expect("the connector runs");
                let fitting = matches!(&out, Out::Event(event) if fits(event));
                self.heard.push(out);
                if fitting {
                    return;
                }
            }
        });
        if found.await.is_err() {
            panic!("no {what}; heard {:#?}", identities(&self.heard));
        }
    }

    /// Listens until nothing of these is missing any more.
    async fn until_all(&mut self, wanted: &BTreeSet<(String, String)>) {
        let found = tokio::time::timeout(PATIENCE, async {
            while !wanted.is_subset(&self.identities()) {
                let out = self.out.recv().await.expect("the connector runs");
                self.heard.push(out);
            }
        });
        if found.await.is_err() {
            panic!(
                "missing {:#?}",
                wanted.difference(&self.identities()).collect::<Vec<_>>()
            );
        }
    }

    fn identities(&self) -> BTreeSet<(String, String)> {
        identities(&self.heard).into_iter().collect()
    }

    /// Listens while the future runs.
    async fn during<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return done,
                Some(out) = self.out.recv() => self.heard.push(out),
            }
        }
    }
}

fn recorded(name: &str) -> BTreeSet<(String, String)> {
    identities(&replay(&mut mapper(), name)).into_iter().collect()
}

/// Everything that a recording of `/global/event` says, without the greeting.
fn said(name: &str) -> Vec<Value> {
    frames(name)
        .into_iter()
        .filter(|data| Frame::from_value(data).kind != "server.connected")
        .collect()
}

/// The history that the `sync` frames of a recording make.
fn history(name: &str) -> Vec<Value> {
    frames(name)
        .iter()
        .filter(|data| data["payload"]["type"] == "sync")
        .map(|data| {
            let row = &data["payload"]["syncEvent"];
            json!({ "id": row["id"], "type": row["type"], "seq": row["seq"], "aggregate_id": row["aggregateID"], "data": row["data"] })
        })
        .collect()
}

/// The history of a recording of `/event`.
fn history_of_events(name: &str) -> Vec<Value> {
    let durable = [
        "session.created",
        "session.updated",
        "message.updated",
        "message.part.updated",
    ];
    frames(name)
        .into_iter()
        .filter(|data| durable.contains(&data["type"].as_str().unwrap_or_default()))
        .enumerate()
        .map(|(seq, data)| {
            json!({ "id": data["id"], "type": format!("{}.1", data["type"].as_str().expect("a type")), "seq": seq,
                "aggregate_id": data["properties"]["sessionID"], "data": data["properties"] })
        })
        .collect()
}

fn session_of(rows: &[Value]) -> Value {
    rows.iter()
        .rev()
        .map(|row| &row["data"]["info"])
        .find(|info| info["directory"].is_string())
        .expect("a session")
        .clone()
}

async fn send_all(stream: &LiveStream, said: &[Value]) {
    for data in said {
        stream.send(data).await;
    }
}

/// Lists that agree with a recording at any moment of it: its session runs, and its asks are open. Lists are read while it
/// is played.
fn agree(fake: &Fake, name: &str) {
    let frames: Vec<Frame> = frames(name).iter().map(Frame::from_value).collect();
    let running = frames
        .iter()
        .map(Frame::session)
        .find(|session| !session.is_empty())
        .expect("a session");
    let asked = frames
        .iter()
        .filter(|frame| frame.kind == "permission.asked")
        .map(|frame| frame.properties.clone());
    fake.set(|lists| {
        lists.status = json!({ running: { "type": "busy" } });
        lists.permissions = asked.collect();
    });
}

const WHOLE: &str = "bash_permission_once.global";

#[tokio::test]
async fn a_stream_without_loss_is_published_whole() {
    let mut fake = Fake::start().await;
    agree(&fake, WHOLE);
    let mut running = Running::start(&fake);
    let stream = fake.stream().await;
    stream.connected().await;
    running.during(send_all(&stream, &said(WHOLE))).await;
    running.until_all(&recorded(WHOLE)).await;
    assert_eq!(running.identities(), recorded(WHOLE));
    assert_eq!(identities(&running.heard).len(), recorded(WHOLE).len(), "nothing twice");
}

#[tokio::test]
async fn it_says_when_it_follows_and_when_it_does_not_any_more() {
    let mut fake = Fake::start().await;
    let mut running = Running::start(&fake);
    let is_online = |event: &EventAppend| matches!(payload(event), Payload::ConnectorOnline(_));
    let is_offline = |event: &EventAppend| matches!(payload(event), Payload::ConnectorOffline(_));
    let stream = fake.stream().await;
    stream.connected().await;
    running.until("word that it follows", is_online).await;
    let said: Vec<&EventAppend> = events(&running.heard);
    let Payload::ConnectorOnline(online) = payload(said[0]) else {
        panic!("it says so before all else: {said:?}");
    };
    assert_eq!(
        (online.vendor.as_str(), online.host.as_str()),
        ("opencode", "demo-host")
    );
    let connector = online.connector_id.clone();
    assert!(connector.starts_with("opencode-test-installation-"), "{connector}");
    drop(stream);
    running.until("word that it does not", is_offline).await;
    let stream = running.during(fake.stream()).await;
    stream.connected().await;
    running.until("word that it is back", is_online).await;
    let said = events(&running.heard)
        .into_iter()
        .filter(|event| event.session.is_none());
    let Payload::ConnectorOffline(offline) = payload(said.clone().nth(1).expect("the second")) else {
        panic!("not offline: {:?}", said.collect::<Vec<_>>());
    };
    assert_eq!(
        (offline.connector_id.as_str(), offline.reason.as_str()),
        (connector.as_str(), "opencode's stream was lost: it ended")
    );
    assert_eq!(said.count(), 3, "only edges");
}

#[tokio::test]
async fn what_the_stream_loses_at_its_beginning_is_found() {
    let mut fake = Fake::start().await;
    agree(&fake, "error400.global");
    fake.set(|lists| lists.history = history_of_events("error400.event"));
    let mut running = Running::start(&fake);
    let stream = fake.stream().await;
    stream.connected().await;
    running.during(send_all(&stream, &said("error400.global"))).await;
    let wanted = recorded("error400.event");
    running.until_all(&wanted).await;
    assert_eq!(running.identities(), wanted);
}

#[tokio::test]
async fn a_cut_in_mid_turn_loses_no_event_and_no_text_stutters() {
    let said = said(WHOLE);
    let deltas: Vec<usize> = (0..said.len())
        .filter(|index| said[*index]["payload"]["type"] == "message.part.delta")
        .collect();
    let whole = recorded(WHOLE);
    for cut in [deltas[0], deltas[2], deltas[7]] {
        let mut fake = Fake::start().await;
        agree(&fake, WHOLE);
        let mut running = Running::start(&fake);
        let stream = fake.stream().await;
        stream.connected().await;
        running.during(send_all(&stream, &said[..=cut])).await;
        drop(stream);
        let stream = running.during(fake.stream()).await;
        // All that came meanwhile is lost, but for what opencode keeps.
        let rows = history(WHOLE);
        fake.set(|lists| {
            lists.sessions = json!([session_of(&rows)]);
            lists.history = rows.clone();
            lists.status = json!({});
            lists.permissions = json!([]);
        });
        stream.connected().await;
        let kept: BTreeSet<_> = whole
            .iter()
            .filter(|(_, key)| !key.starts_with("ask:"))
            .cloned()
            .collect();
        running.until_all(&kept).await;
        assert!(running.identities().is_subset(&whole), "cut at {cut}");
        let identities = identities(&running.heard);
        assert_eq!(identities.len(), running.identities().len(), "nothing twice");
        for (item, text) in delta_texts(&running.heard) {
            if let Some(completed) = completed_texts(&running.heard).get(&item) {
                assert!(completed.starts_with(&text), "cut at {cut}: {text:?} of {completed:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_restart_says_nothing_new() {
    let rows = history(WHOLE);
    let mut fake = Fake::start().await;
    fake.set(|lists| {
        lists.sessions = json!([session_of(&rows)]);
        lists.history = rows.clone();
    });
    let mut running = Running::start(&fake);
    let stream = fake.stream().await;
    stream.connected().await;
    running
        .until("end of the turn", |event| {
            matches!(payload(event), Payload::TurnCompleted(_))
        })
        .await;
    assert!(
        running.identities().is_subset(&recorded(WHOLE)),
        "{:#?}",
        running.identities().difference(&recorded(WHOLE))
    );
    assert!(
        events(&running.heard).iter().all(|event| event.raw.is_none()),
        "a sweep has no raw bytes"
    );
}

/// The part of a recording that ends with an open permission, as history and as the request.
fn waiting() -> (Vec<Value>, Value) {
    let said = frames("abort_permission.event");
    let asked = said
        .iter()
        .position(|data| data["type"] == "permission.asked")
        .expect("an ask");
    let rows: Vec<Value> = history_of_events("abort_permission.event");
    let before = said[..asked]
        .iter()
        .filter(|data| rows.iter().any(|row| row["id"] == data["id"]))
        .count();
    (rows[..before].to_vec(), said[asked]["properties"].clone())
}

#[tokio::test]
async fn an_ask_from_before_the_connection_is_found_and_its_silent_end_too() {
    let (rows, request) = waiting();
    let session = request["sessionID"].as_str().expect("a session").to_owned();
    let mut fake = Fake::start().await;
    fake.set(|lists| {
        lists.sessions = json!([session_of(&rows)]);
        lists.history = rows;
        lists.status = json!({ session.as_str(): { "type": "busy" } });
        lists.permissions = json!([request]);
    });
    let mut running = Running::start(&fake);
    let stream = fake.stream().await;
    stream.connected().await;
    running
        .until("ask", |event| matches!(payload(event), Payload::AskOpened(_)))
        .await;
    // Answered on a connection that nobody hears.
    fake.set(|lists| lists.permissions = json!([]));
    let heartbeat = json!({ "payload": { "id": "", "type": "server.heartbeat", "properties": {} } });
    let mut beats = tokio::time::interval(Duration::from_millis(20));
    let mut silent = std::pin::pin!(async {
        loop {
            beats.tick().await;
            stream.send(&heartbeat).await;
        }
    });
    tokio::select! {
        () = &mut silent => {}
        () = running.until("withdrawal", |event| {
            matches!(payload(event), Payload::AskWithdrawn(ask) if ask.reason() == AskWithdrawReason::AnsweredElsewhere)
        }) => {}
    }
}

#[tokio::test]
async fn a_dead_ask_in_opencodes_list_is_not_opened() {
    let (_, request) = waiting();
    let rows = history_of_events("abort_permission.event");
    let mut fake = Fake::start().await;
    fake.set(|lists| {
        lists.sessions = json!([session_of(&rows)]);
        lists.history = rows;
        lists.permissions = json!([request]);
    });
    let mut running = Running::start(&fake);
    let stream = fake.stream().await;
    stream.connected().await;
    running
        .until("end of the turn", |event| {
            matches!(payload(event), Payload::TurnInterrupted(_))
        })
        .await;
    let asked = |fake: &Fake| {
        fake.calls
            .lock()
            .expect("no panic")
            .iter()
            .filter(|call| call.starts_with("GET /permission"))
            .count()
    };
    // Whatever a sweep makes of the list, it has made it before the next one is asked for.
    running
        .during(async {
            let listed = async {
                while asked(&fake) < 2 {
                    stream
                        .send(&json!({ "payload": { "id": "", "type": "server.heartbeat", "properties": {} } }))
                        .await;
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, listed).await.expect("two lists");
        })
        .await;
    assert!(
        !events(&running.heard)
            .into_iter()
            .any(|event| matches!(payload(event), Payload::AskOpened(_)))
    );
}

#[tokio::test]
async fn a_silent_stream_is_dialled_again() {
    let mut fake = Fake::start().await;
    let mut running = Running::start(&fake);
    let first = fake.stream().await;
    first.connected().await;
    // It says that it came and left: a sink that takes nothing would hold it up.
    let second = running.during(fake.stream());
    let second = tokio::time::timeout(PATIENCE, second).await.expect("a second stream");
    second.connected().await;
    drop(running);
}

#[tokio::test]
async fn a_wrong_password_ends_it_with_words() {
    let fake = Fake::start().await;
    fake.set(|lists| lists.refuse = Some(401));
    let mut running = Running::start(&fake);
    let ended = tokio::time::timeout(PATIENCE, running.task.join_next())
        .await
        .expect("it ends")
        .expect("a task")
        .expect("no panic");
    assert!(matches!(ended, Err(Error::Refused(ApiError::Password))), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_comes_later_is_waited_for() {
    let mut fake = Fake::start().await;
    fake.set(|lists| lists.refuse = Some(503));
    let _running = Running::start(&fake);
    fake.set(|lists| lists.refuse = None);
    tokio::time::timeout(PATIENCE, fake.stream()).await.expect("a stream");
}
