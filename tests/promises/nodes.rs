//! Several nodes on one database: whichever a client talks to, there is one log.
//!
//! They run on PostgreSQL whatever the other tests run on: a SQLite file has one node.

mod outages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellboard_proto::v1::append_result::Outcome;
use bellboard_proto::v1::{self, Answer};
use bellboard_tests::client::{Client, stored};
use bellboard_tests::events::{Append, all, from_now, from_start, on, on_key, resume, text};
use bellboard_tests::process::{DataDir, Process, binary, cli};
use bellboard_tests::within;
use tokio::sync::watch;

/// Two nodes, and the folders they have.
struct Nodes {
    data: [DataDir; 2],
    hubs: [Process; 2],
}

/// None only where PostgreSQL is not to be had and the test command was told to go on without.
async fn nodes() -> Option<Nodes> {
    let first = DataDir::on_postgres()?;
    let second = first.beside();
    // Both make the database's tables, a resume token key and a key of their own at once.
    let hubs = tokio::join!(first.start(), second.start());
    Some(Nodes {
        data: [first, second],
        hubs: hubs.into(),
    })
}

fn everything() -> Vec<v1::Interest> {
    vec![all(v1::Detail::Content)]
}

/// An append under a writer's fence.
async fn append_as(client: &Client, writer: &str, fence: u64, appends: Vec<Append>) -> Vec<v1::AppendResult> {
    let request = v1::AppendEventsRequest {
        writer_id: writer.into(),
        fence,
        appends: appends.into_iter().map(|append| append.0).collect(),
    };
    let mut events = client.events.clone();
    let answer = within("the answer to AppendEvents", events.append_events(request)).await;
    answer.expect("the append is taken").into_inner().results
}

async fn open_writer(client: &Client, writer: &str) -> v1::OpenWriterResponse {
    let open = v1::OpenWriterRequest {
        writer_id: writer.into(),
        ..v1::OpenWriterRequest::default()
    };
    let mut events = client.events.clone();
    let opened = within("the answer to OpenWriter", events.open_writer(open)).await;
    opened.expect("the writer is opened").into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_append_at_once_keep_one_log_that_all_see_alike() {
    const EACH: usize = 40;
    const WRITERS: usize = 3;
    let Some(Nodes { hubs, data }) = nodes().await else {
        return;
    };
    let clients = [hubs[0].client(), hubs[1].client()];
    let mut streams = Vec::new();
    for client in &clients {
        streams.push(client.subscribe(from_start(everything())).await);
    }
    let mut writers = Vec::new();
    for (node, client) in clients.iter().enumerate() {
        for writer in 0..WRITERS {
            let client = client.clone();
            writers.push(tokio::spawn(async move {
                for count in 0..EACH {
                    // Every session is written to at both nodes, and opened at whichever comes first.
                    let said = format!("{node}-{writer}-{count}");
                    client.say(&format!("session-{writer}"), &said).await;
                }
            }));
        }
    }
    for writer in writers {
        within("a writer to end", writer)
            .await
            .expect("every append was stored");
    }
    let total = WRITERS * (2 * EACH + 1);
    let mut seen = Vec::new();
    for stream in &mut streams {
        let started = stream.subscribed().await;
        assert_eq!(started.answer(), Answer::Started);
        seen.push(stream.events(total).await);
    }
    assert!(seen[0] == seen[1], "the nodes tell different histories");
    let mut indices: BTreeMap<&str, u64> = BTreeMap::new();
    for (offset, event) in (0..).zip(&seen[0]) {
        assert_eq!(event.offset, offset, "the log has a hole, or tells an event twice");
        let index = indices.entry(&event.session_id).or_default();
        assert_eq!(
            event.index, *index,
            "session {} was folded on a stale row",
            event.session_id
        );
        *index += 1;
    }
    for node in 0..2 {
        for writer in 0..WRITERS {
            let own = format!("{node}-{writer}-");
            let said: Vec<String> = seen[0].iter().map(text).filter(|said| said.starts_with(&own)).collect();
            let expected: Vec<String> = (0..EACH).map(|count| format!("{own}{count}")).collect();
            assert_eq!(said, expected, "what one client appended is in its order, once");
        }
    }
    assert_eq!(clients[1].history(everything()).await, seen[0]);
    assert_eq!(
        bellboard_tests::database::verify_links(data[0].path()).await,
        total as u64
    );
}

#[tokio::test]
async fn a_resume_token_of_one_node_is_good_at_the_other_at_once() {
    let Some(Nodes { hubs, data: _data }) = nodes().await else {
        return;
    };
    let [a, b] = [hubs[0].client(), hubs[1].client()];
    b.say("s", "so that the other node holds the log").await;
    let mut stream = a.subscribe(from_start(everything())).await;
    let mut expected = stream.caught_up().await.len() as u64;
    for round in 0..10 {
        let offset = a.say("s", &format!("round {round}")).await;
        let live = stream.events(1).await;
        assert_eq!((live[0].offset, offset), (expected, expected));
        expected += 1;
        // The other node has not looked since; it must not take the token for one from the future.
        let mut there = b.subscribe(resume(&stream.token, everything())).await;
        let subscribed = there.subscribed().await;
        assert_eq!((subscribed.answer(), subscribed.from), (Answer::Resumed, expected));
        assert_eq!(there.caught_up().await, vec![]);
        b.say("s", &format!("answer {round}")).await;
        assert_eq!(there.events(1).await[0].offset, expected);
        assert_eq!(
            stream.events(1).await[0].offset,
            expected,
            "and it comes to the first node"
        );
        expected += 1;
    }
    let from_here = b.subscribe(from_now(everything())).await.subscribed().await;
    assert_eq!(from_here.from, expected);
}

#[tokio::test]
async fn what_one_node_stored_is_a_duplicate_at_the_other() {
    let Some(Nodes { hubs, data: _data }) = nodes().await else {
        return;
    };
    let [a, b] = [hubs[0].client(), hubs[1].client()];
    // By key: the session's, and the event's.
    let said = || on_key("acme", "/p", "native").says("once").dedupe("k");
    let first = a.try_append(vec![said()]).await.unwrap();
    let again = b.try_append(vec![said()]).await.unwrap();
    let Some(Outcome::Duplicate(duplicate)) = &again[0].outcome else {
        panic!("{again:?}");
    };
    assert_eq!(duplicate.offset, Some(stored(&first[0])));
    assert_eq!(again[0].session_id, first[0].session_id, "one key is one session");

    // By seq, under one fence, to and fro: a node's kept rows are never believed over what the other has written.
    let fence = open_writer(&a, "w").await.fence;
    let message = |seq: u64| on("s").says(&format!("seq {seq}")).seq(seq);
    let (mut last, mut without_event) = (0, Vec::new());
    for round in 0..6 {
        let client = if round % 2 == 0 { &a } else { &b };
        // The last two are sent again, as by a client whose answer was lost: a stored one, and one that was refused.
        let sent: Vec<u64> = (last.max(2) - 1..=last + 3).collect();
        let results = append_as(client, "w", fence, sent.iter().map(|seq| message(*seq)).collect()).await;
        for (seq, result) in sent.iter().zip(&results) {
            match &result.outcome {
                Some(Outcome::Duplicate(duplicate)) => {
                    assert!(*seq <= last, "{result:?}");
                    assert_eq!(duplicate.offset.is_none(), without_event.contains(seq), "{result:?}");
                }
                Some(Outcome::Stored(_)) => assert!(*seq > last, "seq {seq} was stored twice"),
                other => panic!("seq {seq} was answered {other:?}"),
            }
        }
        last += 4;
        // A seq that is consumed by a refusal leaves no event, and the other node knows of it all the same.
        let without_payload = on("s").seq(last);
        let refused = append_as(client, "w", fence, vec![without_payload]).await;
        assert!(matches!(refused[0].outcome, Some(Outcome::Rejected(_))), "{refused:?}");
        without_event.push(last);
    }
    // Opened anew at the other node, the writer has another fence, and the first node refuses the old one.
    let again = open_writer(&b, "w").await;
    assert_eq!(again.last_seq, last);
    assert!(again.fence > fence);
    let mut events = a.events.clone();
    let stale = v1::AppendEventsRequest {
        writer_id: "w".into(),
        fence,
        appends: vec![message(last + 1).0],
    };
    let refused = events.append_events(stale).await.expect_err("the old fence");
    assert_eq!(crate::reset::reason(&refused), v1::ErrorReason::Fenced);
}

#[tokio::test]
async fn a_key_is_good_and_revoked_at_every_node() {
    let Some(Nodes { data, hubs }) = nodes().await else {
        return;
    };
    let printed = cli(
        &data[0],
        &["key", "create", "--principal", "ada", "--scope", "read,publish"],
    )
    .await;
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("bbk_"))
        .expect("the key");
    let id = key.split('_').nth(1).expect("a key has an id");
    for hub in &hubs {
        assert_ne!(hub.key(), key);
        // Nodes read the keys every second.
        within("the new key to be good", async {
            while Client::new(&hub.url, Some(key))
                .try_append(vec![on("s").says("hello")])
                .await
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let mut streams = Vec::new();
    for hub in &hubs {
        let mut stream = Client::new(&hub.url, Some(key)).subscribe(from_now(everything())).await;
        stream.subscribed().await;
        streams.push(stream);
    }
    assert!(cli(&data[1], &["key", "list"]).await.matches("local.key of ").count() == 2);
    cli(&data[1], &["key", "revoke", id]).await;
    for mut stream in streams {
        let closing = stream.until("the end of the stream", |frame| match frame {
            v1::subscribe_response::Frame::Closing(closing) => Some(*closing),
            _ => None,
        });
        assert_eq!(closing.await.reason(), v1::ClosingReason::PermissionRevoked);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_one_node_loses_and_repeats_nothing_at_the_other() {
    const KILLS: u64 = 4;
    const PER_LIFE: u64 = 40;
    let Some(Nodes { data, hubs }) = nodes().await else {
        return;
    };
    let [mut dying, surviving] = hubs;
    let survivor = surviving.client();
    let mut follower = survivor.subscribe(from_start(everything())).await;
    let (address, watched) = watch::channel((dying.url.clone(), dying.key()));
    let stop = Arc::new(AtomicBool::new(false));
    let (progress, mut progressed) = watch::channel(0u64);
    let progress = Arc::new(progress);
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let (stop, progress) = (stop.clone(), progress.clone());
            tokio::spawn(write(number, survivor.clone(), watched.clone(), stop, progress))
        })
        .collect();
    for life in 1..=KILLS {
        let enough = progressed.wait_for(|stored| *stored >= life * PER_LIFE);
        within("the writers to get on", enough).await.unwrap();
        dying.kill().await;
        dying = data[0].start().await;
        address.send_replace((dying.url.clone(), dying.key()));
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(within("a writer to finish", writer).await.unwrap());
    }
    let history = dying.client().history(everything()).await;
    let mut by_text: BTreeMap<String, u64> = BTreeMap::new();
    for (offset, event) in (0..).zip(&history) {
        assert_eq!(event.offset, offset, "the log has a hole");
        if !text(event).is_empty() {
            assert_eq!(
                by_text.insert(text(event), offset),
                None,
                "{} was stored twice",
                text(event)
            );
        }
    }
    for (said, offset) in &acknowledged {
        assert_eq!(by_text.get(said), Some(offset), "{said} was acknowledged at {offset}");
    }
    assert!(acknowledged.len() as u64 >= KILLS * PER_LIFE);
    assert_eq!(
        follower.events(history.len()).await,
        history,
        "the survivor's subscriber saw another log"
    );
    assert_eq!(
        bellboard_tests::database::verify_links(data[0].path()).await,
        history.len() as u64
    );
}

/// Appends numbered messages, by turns at the node that dies and at the other, each until it is answered. Returns what was
/// acknowledged, and where.
async fn write(
    number: usize,
    survivor: Client,
    address: watch::Receiver<(String, String)>,
    stop: Arc<AtomicBool>,
    progress: Arc<watch::Sender<u64>>,
) -> BTreeMap<String, u64> {
    let mut acknowledged = BTreeMap::new();
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let said = format!("{number}-{count}");
        let append = on(&format!("session-{number}")).says(&said).dedupe(&said);
        let (url, key) = address.borrow().clone();
        let mut answer = if count % 2 == 0 {
            Client::new(&url, Some(&key)).try_append(vec![append.clone()]).await
        } else {
            survivor.try_append(vec![append.clone()]).await
        };
        while answer.is_err() {
            // What the dead one did with it nobody knows; the other one does.
            answer = survivor.try_append(vec![append.clone()]).await;
        }
        let offset = match &answer.unwrap()[0].outcome {
            Some(Outcome::Stored(stored)) => stored.offset,
            Some(Outcome::Duplicate(duplicate)) => duplicate.offset.expect("a duplicate names its place"),
            other => panic!("{said} was answered {other:?}"),
        };
        acknowledged.insert(said, offset);
        progress.send_modify(|stored| *stored += 1);
    }
    acknowledged
}

#[tokio::test]
async fn a_second_hub_on_one_folder_is_refused_and_the_first_goes_on() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut second = tokio::process::Command::new(binary());
    second
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .env("NO_COLOR", "1")
        .kill_on_drop(true);
    let output = within("the second hub to end", second.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&hub.url), "it names the one that runs: {said}");
    hub.client().say("s", "on").await;
}
