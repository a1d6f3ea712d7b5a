//! The harness works: every scenario runs with tiny loads, and everything that was sent arrived exactly once and in order.
//!
//! Believe this: no time is looked at here. A scenario in which an event is missing, doubled or out of order ends with an error.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The hub that was built beside this test, or the one that `BELLBOARD_BIN` names.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its environment which program it tests"
)]
fn hub() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_bellboard-bench")).with_file_name("bellboard");
    let named = std::env::var_os("BELLBOARD_BIN").map(PathBuf::from);
    // A test's working folder is its crate's, the variable is set in the root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let hub = named.map_or(beside, |named| root.join(named));
    assert!(
        hub.exists(),
        "{} is not there; build it with `cargo build -p bellboard`",
        hub.display()
    );
    hub
}

#[test]
fn every_scenario_gives_complete_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("results.json");
    let run = Command::new(env!("CARGO_BIN_EXE_bellboard-bench"))
        .args(["run", "--smoke", "--json"])
        .arg(&json)
        .arg("--hub")
        .arg(hub())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}\n{err}");
    let results: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let rows = results["rows"].as_array().unwrap();
    let scenarios: HashSet<&str> = rows.iter().filter_map(|row| row["scenario"].as_str()).collect();
    assert!(scenarios.len() >= 12, "{scenarios:?}");
    for row in rows {
        assert!(row["own"].is_number() && row["other"].is_number(), "{row}");
        assert_eq!(row["around"]["kept"], 1, "{row}");
    }
}
