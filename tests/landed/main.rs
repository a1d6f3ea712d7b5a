//! Makes the fixtures of the present state: `./recipe landed`. See `tests/fixtures/data/README.md` for when.
//!
//! Believe this: it writes through the wire and reads through the wire, with the program as it is now, and never over a fixture that is
//! there: a state that has landed does not change any more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool of the tests: it fails by panicking and says what it made"
)]

use std::fs;
use std::path::Path;

use bellboard_proto::v1::{self, event::Payload};
use bellboard_tests::client::Client;
use bellboard_tests::events::{Append, all, by_id, from_start, on, on_key};
use bellboard_tests::process::{DataDir, Process, cli};
use bellboard_tests::{database, landed};
use serde_json::{Value, json};

/// A body that does not lie beside its row's other columns when it is read.
const LARGE_BYTES: usize = 20 * 1024;

/// One tenant, and what its client has stored: a key, and a resume token that wants everything from `from` on.
struct Tenant {
    name: &'static str,
    key: String,
    token: String,
    from: u64,
}

#[tokio::main]
async fn main() {
    let data = DataDir::new();
    let hub = data.start().await;
    let bob = [
        "key",
        "create",
        "--tenant",
        "other",
        "--principal",
        "bob",
        "--scope",
        "admin",
    ];
    let bob = cli(&data, &bob).await.trim().to_owned();
    let mut tenants = [tenant("local", hub.key()), tenant("other", bob)];
    cli(&data, &["key", "rotate-resume"]).await;
    let fence = write(&hub, &mut tenants).await;
    let state = record(&data, &hub, &tenants, 3).await;
    hub.terminate().await;

    let shape = landed::folder().join(database::newest_migration(data.path()).await);
    keep(&data, &shape.join("closed"), &state);

    let hub = data.start().await;
    write_more(&hub, &tenants, fence).await;
    let state = record(&data, &hub, &tenants, 4).await;
    hub.kill().await;
    keep(&data, &shape.join("killed"), &state);
    println!("made {}", shape.display());
}

const fn tenant(name: &'static str, key: String) -> Tenant {
    Tenant {
        name,
        key,
        token: String::new(),
        from: 0,
    }
}

/// A tree that arrives from below, a session by its native key, one closed, one archived, one of a writer; raw records, dedupe keys,
/// a large body, an item that stays open; and another tenant. Returns the writer's fence.
async fn write(hub: &Process, tenants: &mut [Tenant; 2]) -> u64 {
    let client = Client::new(&hub.url, Some(&tenants[0].key));
    let archived = Payload::SessionArchived(v1::SessionArchived::default());
    client
        .append(vec![
            on("child").opens_below("root").id("event-1"),
            on("grandchild").opens_below("child"),
            on("root").opens("The root").dedupe("root-opened"),
            on("child").says("from below").raw(br#"{"native":"below"}"#),
            on_key("opencode", "/home/ada/shop", "ses_1").says("by its key"),
        ])
        .await;
    let fence = open_writer(&client).await;
    let reserved = Payload::AttentionRaised(v1::AttentionRaised::default());
    let batch = vec![
        on("written").says("1").seq(1),
        on("written").with(reserved).seq(2),
        on("written").says("3").seq(3),
    ];
    append_as_writer(&client, fence, batch).await;
    let other = Client::new(&hub.url, Some(&tenants[1].key));
    let says = |text: &str| on("root").says(text).dedupe(text);
    other.append(["one", "two"].map(says).into()).await;

    for (tenant, client) in tenants.iter_mut().zip([&client, &other]) {
        let mut stream = client.subscribe(from_start(vec![all(v1::Detail::Content)])).await;
        let before = stream.caught_up().await;
        (tenant.token, tenant.from) = (stream.token, before.len() as u64);
    }
    client
        .append(vec![
            on("closed").opens("Done").dedupe("closed-opened"),
            on("closed").closes(),
            on("archived").opens("Put aside"),
            on("archived").with(archived),
            on("root")
                .completes("large", &"l".repeat(LARGE_BYTES))
                .raw(&[0, 255, 254]),
            on("root").starts("open-item"),
        ])
        .await;
    other.append(["three", "four"].map(says).into()).await;
    fence
}

/// What only the write-ahead log has: an end to the open item, a new session, and the writer's next.
async fn write_more(hub: &Process, tenants: &[Tenant; 2], fence: u64) {
    let client = Client::new(&hub.url, Some(&tenants[0].key));
    let late = on("late").says("late").raw(b"late");
    client
        .append(vec![on("root").completes("open-item", "the end"), late])
        .await;
    append_as_writer(&client, fence, vec![on("written").says("4").seq(4)]).await;
    let other = Client::new(&hub.url, Some(&tenants[1].key));
    other.append(vec![on("root").says("five").dedupe("five")]).await;
}

async fn open_writer(client: &Client) -> u64 {
    let session = v1::WriterSession {
        session: Some(by_id("written")),
        ..v1::WriterSession::default()
    };
    let request = v1::OpenWriterRequest {
        writer_id: "laptop".into(),
        sessions: vec![session],
        ..v1::OpenWriterRequest::default()
    };
    let opened = client.events.clone().open_writer(request).await;
    opened.expect("the writer opens").into_inner().fence
}

async fn append_as_writer(client: &Client, fence: u64, appends: Vec<Append>) {
    let request = v1::AppendEventsRequest {
        writer_id: "laptop".into(),
        fence,
        appends: appends.into_iter().map(|append| append.0).collect(),
    };
    let taken = client.events.clone().append_events(request).await;
    taken.expect("the append is taken");
}

/// What each tenant's clients read, and what they have kept to come back with.
async fn record(data: &DataDir, hub: &Process, tenants: &[Tenant; 2], last_seq: u64) -> Value {
    let mut recorded = Vec::new();
    for Tenant { name, key, token, from } in tenants {
        let seen = landed::observe(data, hub, key).await;
        recorded.push(json!({ "tenant": name, "key": key, "resume": { "token": token, "from": from }, "seen": seen }));
    }
    json!({
        "tenants": recorded,
        "writer": { "id": "laptop", "session": "written", "last_seq": last_seq },
        "dedupe": { "tenant": "other", "session": "root", "key": "two" },
    })
}

fn keep(data: &DataDir, landed: &Path, state: &Value) {
    assert!(
        !landed.exists(),
        "{} is there already, and stays as it is",
        landed.display()
    );
    landed::copy(data.path(), landed);
    let text = serde_json::to_string_pretty(state).expect("JSON");
    fs::write(landed.join("state.json"), text + "\n").expect("the recorded state");
}
