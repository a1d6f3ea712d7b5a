//! A client that comes back finds its place.

use bellboard_proto::v1::{self, Answer, subscribe_response::Frame};
use bellboard_tests::events::{all, from_now, from_snapshot, from_start, on, resume, session, text};
use bellboard_tests::process::DataDir;

const EVERYTHING: v1::Detail = v1::Detail::Content;

#[tokio::test]
async fn p_1_a_fresh_stream_names_the_tail_once_and_goes_on_from_there() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let tail = client.say("s", "before").await + 1;

    let mut stream = client.subscribe(from_now(vec![all(EVERYTHING)])).await;
    let subscribed = stream.subscribed().await;
    assert_eq!(
        (subscribed.answer(), subscribed.from, subscribed.tail),
        (Answer::Started, tail, tail)
    );
    assert_eq!(stream.caught_up().await, vec![]);
    client.say("s", "after").await;
    assert_eq!(stream.events(1).await[0].offset, tail);
}

#[tokio::test]
async fn p_1_the_first_frame_comes_on_an_empty_log_too() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut stream = hub.client().subscribe(from_start(vec![all(EVERYTHING)])).await;
    let subscribed = stream.subscribed().await;
    assert_eq!((subscribed.from, subscribed.oldest, subscribed.tail), (0, 0, 0));
    assert_eq!(stream.caught_up().await, vec![]);
}

#[tokio::test]
async fn p_2_a_short_drop_is_replayed_in_order_without_a_snapshot() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![all(EVERYTHING)];
    let mut first = client.subscribe(from_now(wanted.clone())).await;
    first.subscribed().await;
    client.say("s", "0").await;
    first.events(2).await;
    let token = first.token.clone();
    drop(first);

    for missed in ["1", "2", "3"] {
        client.say("s", missed).await;
    }
    let mut second = client.subscribe(resume(&token, wanted)).await;
    assert_eq!(second.subscribed().await.answer(), Answer::Resumed);
    let replayed = second.caught_up().await;
    assert_eq!(replayed.iter().map(text).collect::<Vec<_>>(), ["1", "2", "3"]);
    client.say("s", "4").await;
    assert_eq!(text(&second.events(1).await[0]), "4");
}

#[tokio::test]
async fn p_3_p_13_nothing_missed_is_caught_up_at_once() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.say("s", "0").await;
    let wanted = vec![all(EVERYTHING)];
    let mut first = client.subscribe(from_start(wanted.clone())).await;
    first.caught_up().await;
    let token = first.token.clone();

    let mut second = client.subscribe(resume(&token, wanted)).await;
    assert_eq!(second.subscribed().await.answer(), Answer::Resumed);
    assert!(
        matches!(second.next().await, Frame::CaughtUp(_)),
        "a valid resume brings no snapshot and no replay"
    );
    assert_eq!(second.token, token, "equal places have equal resume tokens");
}

#[tokio::test]
async fn a_resume_token_outlives_the_process() {
    let data = DataDir::new();
    let hub = data.start().await;
    let wanted = vec![session("s", EVERYTHING)];
    hub.client().say("s", "0").await;
    let mut first = hub.client().subscribe(from_start(wanted.clone())).await;
    first.caught_up().await;
    let token = first.token.clone();
    hub.client().say("s", "1").await;
    hub.kill().await;

    let hub = data.start().await;
    let mut second = hub.client().subscribe(resume(&token, wanted)).await;
    assert_eq!(second.subscribed().await.answer(), Answer::Resumed);
    assert_eq!(second.caught_up().await.iter().map(text).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn k_19_what_completed_during_the_outage_is_all_there() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![session("s", v1::Detail::Live)];
    client
        .append(vec![on("s").starts("a"), on("s").starts("b"), on("s").starts("c")])
        .await;
    let mut first = client.subscribe(from_start(wanted.clone())).await;
    first.caught_up().await;
    let token = first.token.clone();
    drop(first);
    client
        .append(vec![
            on("s").completes("a", "A"),
            on("s").completes("b", "B"),
            on("s").completes("c", "C"),
        ])
        .await;

    let mut second = client.subscribe(resume(&token, wanted)).await;
    assert_eq!(
        second.caught_up().await.iter().map(text).collect::<Vec<_>>(),
        ["A", "B", "C"]
    );
}

#[tokio::test]
async fn p_14_a_stored_event_does_not_change_when_its_item_does() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![all(EVERYTHING)];
    client.append(vec![on("s").completes("item", "first")]).await;
    let before = client.history(wanted.clone()).await;
    client.append(vec![on("s").completes("item", "second")]).await;
    let after = client.history(wanted).await;
    assert_eq!(after[..before.len()], before, "what was stored is what is replayed");
}

#[tokio::test]
async fn k_24_a_newer_value_of_the_same_item_is_delivered() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut stream = client.subscribe(from_now(vec![session("s", EVERYTHING)])).await;
    client
        .append(vec![
            on("s").completes("item", "older"),
            on("s").completes("item", "newer"),
        ])
        .await;
    let texts: Vec<_> = stream.events(3).await.iter().map(text).collect();
    assert_eq!(texts, ["", "older", "newer"]);
}

#[tokio::test]
async fn from_last_gives_the_newest_of_what_matches() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    for number in 0..20 {
        client
            .append(vec![
                on("noise").says(&format!("n{number}")),
                on("s").says(&format!("s{number}")),
            ])
            .await;
    }
    let start = v1::subscribe_request::Start::FromLast(v1::FromLast { count: 3 });
    let mut stream = client
        .subscribe(bellboard_tests::events::from(start, vec![session("s", EVERYTHING)]))
        .await;
    assert_eq!(stream.subscribed().await.answer(), Answer::Started);
    assert_eq!(
        stream.caught_up().await.iter().map(text).collect::<Vec<_>>(),
        ["s17", "s18", "s19"]
    );
}

#[tokio::test]
async fn a_snapshot_comes_first_and_the_stream_goes_on_from_its_offset() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.append(vec![on("s").opens("A title")]).await;
    let said: Vec<_> = (0..60).map(|number| on("s").says(&number.to_string())).collect();
    let tail = client.append(said).await.last().unwrap() + 1;

    let mut stream = client.subscribe(from_snapshot(vec![session("s", EVERYTHING)])).await;
    assert_eq!(stream.subscribed().await.answer(), Answer::Started);
    let Frame::SnapshotBegin(begin) = stream.next().await else {
        panic!("no snapshot_begin")
    };
    assert_eq!(begin.offset, tail);
    let Frame::SnapshotPage(page) = stream.next().await else {
        panic!("no snapshot_page")
    };
    let entry = &page.sessions[0];
    let row = entry.session.as_ref().unwrap();
    assert_eq!((row.session_id.as_str(), row.event_count), ("s", 61));
    assert_eq!(row.facts.as_ref().unwrap().title, "A title");
    let items: Vec<_> = entry.items.iter().map(text).collect();
    assert_eq!((items.len(), items[0].as_str(), items[49].as_str()), (50, "10", "59"));
    assert!(matches!(stream.next().await, Frame::SnapshotEnd(end) if end.session_count == 1 && !end.truncated));
    assert!(matches!(stream.next().await, Frame::CaughtUp(_)));
    client.say("s", "60").await;
    assert_eq!(stream.events(1).await[0].offset, tail);

    let older = v1::ListEventsRequest {
        interests: vec![session("s", EVERYTHING)],
        order: v1::EventOrder::Descending.into(),
        page_token: entry.items_page_token.clone(),
        ..v1::ListEventsRequest::default()
    };
    let older = client.events.clone().list_events(older).await.unwrap().into_inner();
    assert_eq!(
        older.events.iter().map(text).collect::<Vec<_>>()[..2],
        ["9", "8"],
        "the page token goes on below the items"
    );
}
