//! What a client shows beside messages is in the log like everything else: it is replayed, and nothing of it is known to those only who
//! were there.

use bellboard_proto::v1::{self, Answer, event::Payload, subscribe_response::Frame};
use bellboard_tests::events::{all, from_snapshot, from_start, on, resume};
use bellboard_tests::process::DataDir;

/// One of each kind of fact of which the latest counts.
fn facts(round: u32) -> Vec<Payload> {
    let entry = v1::PlanEntry {
        entry_id: "1".into(),
        content: format!("step {round}"),
        status: v1::PlanEntryStatus::InProgress.into(),
        ..v1::PlanEntry::default()
    };
    vec![
        Payload::PlanUpdated(v1::PlanUpdated {
            plan_id: "p".into(),
            entries: vec![entry],
            ..v1::PlanUpdated::default()
        }),
        Payload::DiffUpdated(v1::DiffUpdated {
            added_lines: round,
            ..v1::DiffUpdated::default()
        }),
        Payload::WorkspaceUpdated(v1::WorkspaceUpdated {
            branch: "main".into(),
            dirty_files: Some(round),
            ..v1::WorkspaceUpdated::default()
        }),
        Payload::ChangeRequestUpdated(v1::ChangeRequestUpdated {
            change_request_id: "7".into(),
            open_comment_count: round,
            ..v1::ChangeRequestUpdated::default()
        }),
        Payload::UsageRecorded(v1::UsageRecorded::default()),
        Payload::SessionUpdated(v1::SessionUpdated::default()),
    ]
}

#[tokio::test]
async fn p_21_plans_and_workspace_facts_are_replayed_as_they_were_live() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![all(v1::Detail::Content)];
    client.say("s", "before").await;
    let mut live = client.subscribe(from_start(wanted.clone())).await;
    live.caught_up().await;
    let away = live.token.clone();

    let appends: Vec<_> = (1..=3).flat_map(facts).map(|fact| on("s").with(fact)).collect();
    let stored = client.append(appends).await;
    let told = live.events(stored.len()).await;
    let offsets: Vec<u64> = told.iter().map(|event| event.offset).collect();
    assert_eq!(offsets, stored, "each of them, not only the latest of its kind");

    let mut back = client.subscribe(resume(&away, wanted.clone())).await;
    assert_eq!(back.subscribed().await.answer(), Answer::Resumed);
    assert_eq!(back.caught_up().await, told, "a client that was away");
    let mut new = client.subscribe(from_start(wanted.clone())).await;
    let all_of_it = new.caught_up().await;
    assert_eq!(all_of_it[all_of_it.len() - told.len()..], told, "a client that is new");
    let history = client.history(wanted.clone()).await;
    assert_eq!(history[history.len() - told.len()..], told, "a reader of history");

    let mut snapshot = client.subscribe(from_snapshot(wanted)).await;
    let as_of = |frame: &Frame| match frame {
        Frame::SnapshotBegin(begin) => Some(begin.offset),
        _ => None,
    };
    let tail = stored.last().unwrap() + 1;
    assert_eq!(snapshot.until("a snapshot", as_of).await, tail, "as of after them");
}
