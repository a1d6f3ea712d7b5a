//! Data folders that an earlier state of the program left behind, and what was read from them then.
//!
//! Believe this: what was recorded was read by the program that wrote it, over the wire, and a later program must read the same. It may
//! say more (a field that is new), never less and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::{DataDir, Process, binary, root};
use crate::within;

/// What a hub's folder consists of, companions of the database that are rebuilt left out.
const FILES: [&str; 3] = ["bellboard.db", "bellboard.db-wal", "local.key"];

/// Where all of them lie.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("tests/fixtures/data")
}

/// All that are kept: folders with a `state.json` in them, in the order of their names.
#[must_use]
pub fn all() -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.is_dir()).collect()
    };
    let mut found: Vec<PathBuf> = folders(&folder()).iter().flat_map(|shape| folders(shape)).collect();
    found.sort();
    found
}

/// Copies a hub's files, and gives them the permissions that the hub gave them.
///
/// # Panics
/// When a file cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder for the copy");
    for name in FILES {
        let (from, to) = (from.join(name), to.join(name));
        if from.exists() {
            fs::copy(&from, &to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("the copy's permissions");
        }
    }
}

/// What was recorded beside a folder.
///
/// # Panics
/// When it is not there, or is no JSON.
#[must_use]
pub fn state(landed: &Path) -> Value {
    let path = landed.join("state.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that the holder of this key can list: sessions, and events with their raw records, as the commands print them.
pub async fn observe(data: &DataDir, hub: &Process, key: &str) -> Value {
    json!({
        "sessions": lines(data, hub, key, &["sessions", "--all", "--json"]).await,
        "history": lines(data, hub, key, &["history", "--json", "--raw", "--limit", "100000"]).await,
    })
}

async fn lines(data: &DataDir, hub: &Process, key: &str, typed: &[&str]) -> Vec<Value> {
    let mut command = Command::new(binary());
    command
        .args(typed)
        .env("BELLBOARD_DATA_DIR", data.path())
        .env("BELLBOARD_URL", &hub.url)
        .env("BELLBOARD_KEY", key);
    let output = within("the command to end", command.output())
        .await
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{typed:?}: {said}");
    let text = String::from_utf8(output.stdout).expect("the command prints text");
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

/// Fails unless everything that was recorded is still said.
///
/// # Panics
/// Naming the place where something else is said, or nothing.
pub fn assert_says(recorded: &Value, now: &Value, place: &str) {
    match (recorded, now) {
        (Value::Object(recorded), Value::Object(now)) => {
            for (name, recorded) in recorded {
                let now = now.get(name).unwrap_or(&Value::Null);
                assert_says(recorded, now, &format!("{place}.{name}"));
            }
        }
        (Value::Array(recorded), Value::Array(now)) => {
            assert_eq!(recorded.len(), now.len(), "how many there are in {place}");
            for (number, (recorded, now)) in recorded.iter().zip(now).enumerate() {
                assert_says(recorded, now, &format!("{place}[{number}]"));
            }
        }
        _ => assert_eq!(recorded, now, "{place}"),
    }
}
