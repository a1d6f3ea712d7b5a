//! Nothing acknowledged is lost, nothing is stored twice, whatever dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellboard_proto::v1::{self, append_result::Outcome, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_start, on, resume, text};
use bellboard_tests::process::DataDir;
use tokio::sync::watch;

const KILLS: usize = 20;
const WRITERS: usize = 4;
const SUBSCRIBERS: usize = 3;
/// How much each life of the hub has to store before it is killed.
const APPENDS_PER_LIFE: u64 = 40;

/// Where the hub is at present, and with which key.
type Address = Option<(String, String)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_and_repeats_nothing() {
    let data = DataDir::new();
    let (address, watched) = watch::channel(None);
    let stop = Arc::new(AtomicBool::new(false));
    let (progress, mut progressed) = watch::channel(0u64);
    let progress = Arc::new(progress);
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(number, watched.clone(), stop.clone(), progress.clone())))
        .collect();
    let (goal, reached) = watch::channel(None);
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| tokio::spawn(follow(watched.clone(), reached.clone())))
        .collect();

    for life in 1..=KILLS as u64 {
        let hub = data.start().await;
        address.send_replace(Some((hub.url.clone(), hub.key())));
        let enough = progressed.wait_for(|stored| *stored >= life * APPENDS_PER_LIFE);
        bellboard_tests::within("the writers to get on", enough).await.unwrap();
        address.send_replace(None);
        hub.kill().await;
    }
    let hub = data.start().await;
    address.send_replace(Some((hub.url.clone(), hub.key())));
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(bellboard_tests::within("a writer to finish", writer).await.unwrap());
    }

    let history = hub.client().history(vec![all(v1::Detail::Content)]).await;
    for (offset, event) in history.iter().enumerate() {
        assert_eq!(offset as u64, event.offset, "the log has a hole");
    }
    let mut by_text: BTreeMap<String, u64> = BTreeMap::new();
    for event in history.iter().filter(|event| !text(event).is_empty()) {
        let before = by_text.insert(text(event), event.offset);
        assert_eq!(before, None, "{} was stored twice", text(event));
    }
    for (said, offset) in &acknowledged {
        assert_eq!(by_text.get(said), Some(offset), "{said} was acknowledged at {offset}");
    }
    assert!(acknowledged.len() as u64 >= KILLS as u64 * APPENDS_PER_LIFE);
    goal.send_replace(Some(history.len() as u64));
    for subscriber in subscribers {
        let seen = bellboard_tests::within("a subscriber to have everything", subscriber)
            .await
            .unwrap();
        assert_eq!(seen, history, "a subscriber saw another log");
    }
    hub.terminate().await;
    assert_eq!(
        bellboard_tests::database::verify_links(data.path()).await,
        history.len() as u64
    );
}

/// Appends numbered messages, each until it is answered. Returns what was acknowledged, and where.
async fn write(
    number: usize,
    mut address: watch::Receiver<Address>,
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
        let offset = loop {
            let Some(client) = client(&mut address).await else {
                return acknowledged;
            };
            match client.try_append(vec![append.clone()]).await {
                Ok(results) => match &results[0].outcome {
                    Some(Outcome::Stored(stored)) => break stored.offset,
                    Some(Outcome::Duplicate(duplicate)) => {
                        break duplicate.offset.expect("a duplicate names its place");
                    }
                    other => panic!("{said} was answered {other:?}"),
                },
                Err(_) => lost(&mut address).await,
            }
        };
        acknowledged.insert(said, offset);
        progress.send_modify(|stored| *stored += 1);
    }
    acknowledged
}

/// Follows the whole log by resume token through every life of the hub, until it has as much as the goal says.
async fn follow(mut address: watch::Receiver<Address>, mut goal: watch::Receiver<Option<u64>>) -> Vec<v1::Event> {
    let wanted = vec![all(v1::Detail::Content)];
    let mut seen: Vec<v1::Event> = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let Some(client) = client(&mut address).await else {
            return seen;
        };
        let request = match &token {
            None => from_start(wanted.clone()),
            Some(token) => resume(token, wanted.clone()),
        };
        let Ok(mut stream) = client.try_subscribe(request).await else {
            lost(&mut address).await;
            continue;
        };
        loop {
            let frame = tokio::select! {
                frame = stream.try_next() => frame,
                reached = goal.wait_for(|goal| goal.is_some_and(|goal| goal <= seen.len() as u64)) => {
                    reached.expect("the test goes on");
                    return seen;
                }
            };
            match frame {
                Ok(Some(Frame::Subscribed(subscribed))) => {
                    let expected = if token.is_none() {
                        v1::Answer::Started
                    } else {
                        v1::Answer::Resumed
                    };
                    assert_eq!(subscribed.answer(), expected, "{subscribed:?}");
                }
                Ok(Some(Frame::Events(batch))) => seen.extend(batch.events),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
            token = Some(stream.token.clone());
        }
        lost(&mut address).await;
    }
}

async fn client(address: &mut watch::Receiver<Address>) -> Option<Client> {
    let present = address.wait_for(Option::is_some).await.ok()?.clone();
    present.map(|(url, key)| Client::new(&url, Some(&key)))
}

/// Gives a hub that was killed the time to be another one.
async fn lost(address: &mut watch::Receiver<Address>) {
    address.mark_unchanged();
    let _ = tokio::time::timeout(std::time::Duration::from_millis(50), address.changed()).await;
}
