//! `kill -9` cannot show a missing sync: the kernel keeps what was written. The system calls can.

use bellboard_tests::postgres::is_sqlites_own;
use bellboard_tests::process::DataDir;
use bellboard_tests::tools::tool;
use tokio::process::Command;

/// What a trace shows of one append: whether its bytes were synced between being written and being acknowledged.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Synced,
    NotSynced,
}

#[tokio::test]
async fn an_append_is_synced_before_it_is_acknowledged() {
    if is_sqlites_own("its own server syncs") {
        return;
    }
    let Some(order) = trace(&[]).await else { return };
    assert_eq!(order, Order::Synced);
}

#[tokio::test]
async fn the_trace_shows_a_hub_that_does_not_sync() {
    if is_sqlites_own("its own server syncs") {
        return;
    }
    let Some(order) = trace(&["--synchronous", "relaxed"]).await else {
        return;
    };
    assert_eq!(order, Order::NotSynced, "this test would not notice a missing sync");
}

async fn trace(flags: &[&str]) -> Option<Order> {
    let strace = tool("strace")?;
    let data = DataDir::new();
    let log = data.path().join("trace.txt");
    let mut under = Command::new(strace);
    under
        .args([
            "-f",
            "-qq",
            "-s",
            "8192",
            "-e",
            "trace=pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync",
            "-o",
        ])
        .arg(&log);
    let hub = data.start_under(under, flags).await;
    let client = hub.client();
    client.say("warm", "up").await;
    let marker = "marker-of-this-very-append";
    client
        .append(vec![
            bellboard_tests::events::on("s")
                .says(marker)
                .id("event-with-a-name-to-look-for"),
        ])
        .await;
    client.say("s", "the end").await;
    hub.kill().await;
    let trace = std::fs::read_to_string(&log).expect("the trace");
    Some(order(&trace, marker, "event-with-a-name-to-look-for"))
}

/// Looks for the append's bytes in a file, then for its id on a socket, and for a sync between the two.
fn order(trace: &str, written: &str, acknowledged: &str) -> Order {
    let lines: Vec<&str> = trace.lines().collect();
    let stored = lines
        .iter()
        .position(|line| line.contains("pwrite64(") && line.contains(written));
    let stored = stored.expect("the append's bytes are written to a file");
    let told = lines[stored..].iter().position(|line| {
        !line.contains("pwrite64(")
            && line.contains(acknowledged)
            && ["write(", "writev(", "sendto(", "sendmsg("]
                .iter()
                .any(|call| line.contains(call))
    });
    let told = stored + told.expect("the append is acknowledged on a socket");
    let between = &lines[stored..told];
    // A call that another thread interrupted is told in two lines; only the second says that it returned.
    let synced = between.iter().any(|line| {
        (line.contains("fdatasync(")
            || line.contains("fsync(")
            || line.contains("fdatasync resumed")
            || line.contains("fsync resumed"))
            && line.trim_end().ends_with("= 0")
    });
    if synced { Order::Synced } else { Order::NotSynced }
}
