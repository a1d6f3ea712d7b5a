//! What is no longer kept: told to whom it concerns, and to nobody else. Age is proven beside the server, where time can be moved.

use std::collections::BTreeMap;
use std::time::Duration;

use bellboard_proto::v1::{
    self, Answer, ErrorReason, GapReason, OnGap, ResetReason, append_result::Outcome, subscribe_response::Frame,
};
use bellboard_tests::client::Client;
use bellboard_tests::events::{Append, all, by_id, from_snapshot, from_start, on, resume, session, text};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::within;
use tonic::{Code, Status};

use super::reset::{expect_reset, reason, token};

const KEEP: &[&str] = &["--retain-bytes", "1MiB"];

/// A message of a tenth of what is kept.
fn long(session: &str, number: usize) -> Append {
    on(session).completes(
        &format!("item-{number}"),
        &format!("{number:04} {}", "x".repeat(100_000)),
    )
}

fn asked(token: &str, wanted: &[v1::Interest], on_gap: OnGap) -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        on_gap: on_gap.into(),
        ..resume(token, wanted.to_vec())
    }
}

fn only(id: &str) -> Vec<v1::Interest> {
    vec![session(id, v1::Detail::Content)]
}

async fn list(client: &Client, request: v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Status> {
    let mut client = client.events.clone();
    let page = within("a page of ListEvents", client.list_events(request)).await?;
    Ok(page.into_inner())
}

/// Waits until a sweep has been, and tells where the log begins then.
async fn trimmed(client: &Client) -> u64 {
    within("a sweep to trim", async {
        loop {
            let page = list(client, v1::ListEventsRequest::default()).await.expect("a page");
            if page.oldest > 0 {
                return page.oldest;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// A log of which much was trimmed, and tokens from before.
struct Trimmed {
    _data: DataDir,
    hub: Process,
    /// Of the busy session, with ten of its messages still to come; of the quiet one, with all it says.
    busy: String,
    quiet: String,
    /// Of a page that was to be followed by more.
    page: String,
    oldest: u64,
}

/// `quiet` says one thing; `busy` ten, then twenty more of which about ten are kept.
async fn trimmed_log() -> Trimmed {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.say("quiet", "hush").await;
    for number in 0..10 {
        client.append(vec![long("busy", number)]).await;
    }
    let (busy, quiet) = (
        token(&client, &only("busy")).await,
        token(&client, &only("quiet")).await,
    );
    let first = v1::ListEventsRequest {
        interests: only("busy"),
        page_size: 3,
        ..v1::ListEventsRequest::default()
    };
    let page = list(&client, first).await.unwrap().next_page_token;
    for number in 10..30 {
        client.append(vec![long("busy", number)]).await;
    }
    hub.terminate().await;
    let hub = data.start_with(KEEP).await;
    let oldest = trimmed(&hub.client()).await;
    Trimmed {
        _data: data,
        hub,
        busy,
        quiet,
        page,
        oldest,
    }
}

#[tokio::test]
async fn p_4_trimmed_by_bytes_is_answered_as_was_asked() {
    let log = trimmed_log().await;
    let (client, oldest) = (log.hub.client(), log.oldest);
    // quiet: 0, 1; busy: its opening at 2, then one by one.
    assert!((20..24).contains(&oldest), "about ten are kept: {oldest}");
    let wanted = only("busy");
    let stream = client.subscribe(asked(&log.busy, &wanted, OnGap::Snapshot)).await;
    expect_reset(stream, ResetReason::ResumeTokenTooOld).await;

    let mut stream = client.subscribe(asked(&log.busy, &wanted, OnGap::Continue)).await;
    let subscribed = stream.subscribed().await;
    assert_eq!(
        (subscribed.answer(), subscribed.from, subscribed.oldest, subscribed.tail),
        (Answer::Resumed, 13, oldest, 33)
    );
    let Frame::Gap(gap) = stream.next().await else {
        panic!("no gap before what is kept")
    };
    assert_eq!((gap.from, gap.until, gap.reason()), (13, oldest, GapReason::Trimmed));
    let missing = v1::SessionGap {
        session_id: "busy".into(),
        from_index: 0,
        until_index: oldest - 2,
    };
    assert_eq!(gap.sessions, [missing]);
    let kept = stream.caught_up().await;
    let indices: Vec<u64> = kept.iter().map(|event| event.index).collect();
    assert_eq!(
        indices,
        (oldest - 2..31).collect::<Vec<_>>(),
        "all that is kept, from where the gap ends"
    );

    let refused = client.try_subscribe(asked(&log.busy, &wanted, OnGap::Fail)).await;
    let refused = refused.expect_err("FAIL refuses");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::OutOfRange, ErrorReason::HistoryGone)
    );
    log.hub.terminate().await;
}

#[tokio::test]
async fn a_quiet_session_is_not_reported_trimmed_because_a_busy_one_was() {
    let log = trimmed_log().await;
    let client = log.hub.client();
    let mut said = Vec::new();
    for on_gap in [OnGap::Snapshot, OnGap::Continue, OnGap::Fail] {
        let mut stream = client.subscribe(asked(&log.quiet, &only("quiet"), on_gap)).await;
        assert_eq!(stream.subscribed().await.answer(), Answer::Resumed, "{on_gap:?}");
        let replayed = stream.caught_up().await;
        let replayed: Vec<u64> = replayed.iter().map(|event| event.offset).collect();
        assert_eq!(replayed, said, "{on_gap:?}");
        said.push(client.say("quiet", &format!("{on_gap:?}")).await);
        assert_eq!(Some(&stream.events(1).await[0].offset), said.last(), "and it goes on");
    }
    log.hub.terminate().await;
}

#[tokio::test]
async fn what_is_kept_is_all_that_there_is_and_rows_say_so() {
    let log = trimmed_log().await;
    let (client, oldest) = (log.hub.client(), log.oldest);
    let mut stream = client.subscribe(from_start(vec![all(v1::Detail::Content)])).await;
    let subscribed = stream.subscribed().await;
    assert_eq!(
        (subscribed.answer(), subscribed.from, subscribed.oldest),
        (Answer::Started, oldest, oldest)
    );
    let kept = stream.caught_up().await;
    assert_eq!(kept.len() as u64, 33 - oldest);
    let mut last = v1::SubscribeRequest {
        start: Some(v1::subscribe_request::Start::FromLast(v1::FromLast { count: 1000 })),
        ..from_start(only("busy"))
    };
    let mut stream = client.subscribe(last.clone()).await;
    assert_eq!(stream.subscribed().await.from, oldest);
    assert_eq!(stream.caught_up().await, kept);
    last.interests = only("quiet");
    let mut stream = client.subscribe(last).await;
    stream.subscribed().await;
    assert_eq!(stream.caught_up().await, []);

    let mut events = client.events.clone();
    for (id, trimmed_until, event_count) in [("quiet", 2, 2), ("busy", oldest - 2, 31)] {
        let request = v1::GetSessionRequest {
            session: Some(by_id(id)),
        };
        let row = events.get_session(request).await.unwrap().into_inner().session.unwrap();
        assert_eq!(
            (row.trimmed_until, row.event_count),
            (trimmed_until, event_count),
            "{id}"
        );
    }
    // A snapshot of a session whose items are gone has its row and nothing to page through.
    let mut stream = client.subscribe(from_snapshot(only("quiet"))).await;
    let quiet = stream
        .until("the snapshot", |frame| match frame {
            Frame::SnapshotPage(page) => page.sessions.first().cloned(),
            _ => None,
        })
        .await;
    assert_eq!((quiet.items.len(), quiet.items_page_token.as_str()), (0, ""));
    assert_eq!(quiet.session.unwrap().session_id, "quiet");
    log.hub.terminate().await;
}

#[tokio::test]
async fn lists_say_where_the_log_begins_and_a_page_that_is_gone_is_said() {
    let log = trimmed_log().await;
    let client = log.hub.client();
    let request = |order: v1::EventOrder, page_token: &str| v1::ListEventsRequest {
        interests: only("busy"),
        order: order.into(),
        page_size: 1000,
        page_token: page_token.into(),
        ..v1::ListEventsRequest::default()
    };
    let forwards = client.history(only("busy")).await;
    assert_eq!(forwards[0].offset, log.oldest);
    let mut backwards = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = list(&client, request(v1::EventOrder::Descending, &page_token))
            .await
            .unwrap();
        assert_eq!(page.oldest, log.oldest);
        backwards.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    backwards.reverse();
    assert_eq!(backwards, forwards);
    let gone = list(
        &client,
        v1::ListEventsRequest {
            page_size: 3,
            ..request(v1::EventOrder::Ascending, &log.page)
        },
    );
    let gone = gone.await.expect_err("the next page was trimmed");
    assert_eq!(
        (gone.code(), reason(&gone)),
        (Code::OutOfRange, ErrorReason::HistoryGone)
    );
    assert!(
        gone.message().contains(&format!("the oldest is {}", log.oldest)),
        "{gone}"
    );
    log.hub.terminate().await;
}

#[tokio::test]
async fn what_was_stored_once_is_a_duplicate_after_it_was_trimmed() {
    let data = DataDir::new();
    let hub = data.start().await;
    let swept = on("busy").says("swept").dedupe("k");
    hub.client().append(vec![swept.clone()]).await;
    for number in 0..20 {
        hub.client().append(vec![long("busy", number)]).await;
    }
    hub.terminate().await;
    let hub = data.start_with(KEEP).await;
    trimmed(&hub.client()).await;
    let again = hub.client().try_append(vec![swept]).await.unwrap();
    let Some(Outcome::Duplicate(duplicate)) = &again[0].outcome else {
        panic!("it was stored twice: {again:?}")
    };
    assert_eq!(duplicate.offset, Some(1));
    hub.terminate().await;
}

#[tokio::test]
async fn p_15_a_retention_that_is_none_is_refused_at_start() {
    for (flag, value) in [("--retain-age", "0s"), ("--retain-age", "-1d"), ("--retain-bytes", "0")] {
        let data = DataDir::new();
        let mut command = tokio::process::Command::new(bellboard_tests::process::binary());
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                &format!("{flag}={value}"),
                "--data-dir",
            ])
            .arg(data.path())
            .kill_on_drop(true);
        let output = within("the hub to refuse", command.output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{flag} is {value:?}, which is not")), "{said}");
    }
}

const LIVES: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_while_it_trims_leaves_a_whole_log() {
    let data = DataDir::new();
    let mut said: BTreeMap<u64, String> = BTreeMap::new();
    let mut last = 0;
    for life in 0..LIVES {
        // It trims from its first moment on, while it is written to, and is killed in the midst of it.
        let hub = data.start_with(KEEP).await;
        let client = hub.client();
        for number in 0..8 {
            let words = format!("{life}-{number} {}", "x".repeat(1500));
            let batch =
                (0..100).map(|part| on(["a", "b", "c"][part % 3]).completes("item", &format!("{part} {words}")));
            let batch: Vec<Append> = batch.collect();
            let texts: Vec<String> = (0..100).map(|part| format!("{part} {words}")).collect();
            let offsets = client.append(batch).await;
            said.extend(offsets.iter().copied().zip(texts));
            last = *offsets.last().unwrap();
        }
        hub.kill().await;
    }
    let hub = data.start_with(KEEP).await;
    let client = hub.client();
    let oldest = trimmed(&client).await;
    let history = client.history(vec![all(v1::Detail::Content)]).await;
    let offsets: Vec<u64> = history.iter().map(|event| event.offset).collect();
    assert_eq!(
        offsets,
        (offsets[0]..=last).collect::<Vec<_>>(),
        "no hole, and nothing acknowledged is lost"
    );
    assert!(offsets[0] >= oldest && offsets[0] > LIVES * 400, "{}", offsets[0]);
    for event in &history {
        if let Some(words) = said.get(&event.offset) {
            assert_eq!(&text(event), words, "at {}", event.offset);
        }
    }
    hub.terminate().await;
    let kept = bellboard_tests::database::verify_links(data.path()).await;
    assert!(kept <= history.len() as u64);
}
