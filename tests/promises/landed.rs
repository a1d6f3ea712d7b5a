//! What an earlier state of the program stored reads the same with this one: see `tests/fixtures/data/README.md`.

use bellboard_proto::v1::{self, Answer, append_result::Outcome};
use bellboard_tests::client::{Client, stored};
use bellboard_tests::events::{all, by_id, on, resume};
use bellboard_tests::postgres::is_sqlites_own;
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::{database, landed};
use serde_json::Value;

#[tokio::test]
async fn data_folders_of_every_landed_state_read_the_same_and_go_on() {
    if is_sqlites_own("the folders hold SQLite files") {
        return;
    }
    let all = landed::all();
    assert!(
        !all.is_empty(),
        "there are no fixtures in {}",
        landed::folder().display()
    );
    for folder in all {
        println!("{}", folder.display());
        let state = landed::state(&folder);
        let data = DataDir::new();
        landed::copy(&folder, data.path());
        let hub = data.start().await;
        for tenant in state["tenants"].as_array().expect("the tenants") {
            reads_the_same(&data, &hub, tenant).await;
        }
        let tail = seen(&state["tenants"][0]).len() as u64;
        goes_on(&hub, &state, tail).await;
        hub.terminate().await;
        database::verify_links(data.path()).await;
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer}"))
}

fn number(value: &Value, pointer: &str) -> u64 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no number at {pointer}"))
}

fn seen(tenant: &Value) -> &Vec<Value> {
    tenant
        .pointer("/seen/history")
        .and_then(Value::as_array)
        .expect("the history")
}

/// Sessions, events, raw records; and the stored resume token continues where it was.
async fn reads_the_same(data: &DataDir, hub: &Process, tenant: &Value) {
    let key = text(tenant, "/key");
    let now = landed::observe(data, hub, key).await;
    landed::assert_says(&tenant["seen"], &now, text(tenant, "/tenant"));

    let client = Client::new(&hub.url, Some(key));
    let token = resume(text(tenant, "/resume/token"), vec![all(v1::Detail::Content)]);
    let mut stream = client.subscribe(token).await;
    let subscribed = stream.subscribed().await;
    assert_eq!(subscribed.answer(), Answer::Resumed, "{subscribed:?}");
    let offsets: Vec<u64> = stream.caught_up().await.iter().map(|event| event.offset).collect();
    let missed: Vec<u64> = (number(tenant, "/resume/from")..seen(tenant).len() as u64).collect();
    assert_eq!(offsets, missed, "what the resume token had not seen");
}

/// A writer continues behind its last seq, a dedupe key is remembered, and the log grows where it ended.
async fn goes_on(hub: &Process, state: &Value, tail: u64) {
    let client = Client::new(&hub.url, Some(text(state, "/tenants/0/key")));
    let last_seq = number(state, "/writer/last_seq");
    let session = v1::WriterSession {
        session: Some(by_id(text(state, "/writer/session"))),
        ..v1::WriterSession::default()
    };
    let open = v1::OpenWriterRequest {
        writer_id: text(state, "/writer/id").into(),
        sessions: vec![session],
        ..v1::OpenWriterRequest::default()
    };
    let opened = client
        .events
        .clone()
        .open_writer(open.clone())
        .await
        .expect("the writer opens")
        .into_inner();
    assert_eq!(opened.last_seq, last_seq);
    let says = |seq: u64| on(text(state, "/writer/session")).says(&seq.to_string()).seq(seq).0;
    let append = v1::AppendEventsRequest {
        writer_id: open.writer_id,
        fence: opened.fence,
        appends: vec![says(last_seq), says(last_seq + 1)],
    };
    let results = client
        .events
        .clone()
        .append_events(append)
        .await
        .expect("the append is taken");
    let results = results.into_inner().results;
    assert!(matches!(results[0].outcome, Some(Outcome::Duplicate(_))), "{results:?}");
    assert_eq!(stored(&results[1]), tail, "the log grows where it ended");

    let other = &state["tenants"][1];
    let (session, key) = (text(state, "/dedupe/session"), text(state, "/dedupe/key"));
    let again = on(session).says(key).dedupe(key);
    let results = Client::new(&hub.url, Some(text(other, "/key")))
        .try_append(vec![again])
        .await
        .expect("an answer");
    let Some(Outcome::Duplicate(duplicate)) = &results[0].outcome else {
        panic!("the dedupe key is forgotten: {results:?}");
    };
    let item = format!("item-{key}");
    let first = seen(other)
        .iter()
        .position(|line| line["event"]["itemId"] == item.as_str());
    assert_eq!(duplicate.offset, first.map(|offset| offset as u64));
}
