//! Programs from outside that a test needs.

use std::path::PathBuf;

use crate::process::root;

/// Where a tool is: among the project's own tools, or on the path.
///
/// None only where the test command was told to go on without it, which it then says in its list of what did not run.
///
/// # Panics
/// When it is not there, naming what installs it.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let own = root().join(".tools/bin").join(name);
    if own.exists() {
        return Some(own);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|found| found.exists())
    {
        return Some(found);
    }
    missing(name)
}

/// Says that a tool is not there.
pub(crate) fn missing<T>(name: &str) -> Option<T> {
    let skip = std::env::var("BELLBOARD_SKIP_MISSING").is_ok_and(|value| value == "1");
    assert!(skip, "{name} is not installed; run `./recipe tools {name}`");
    if let Some(list) = std::env::var_os("BELLBOARD_NOT_RUN") {
        use std::io::Write as _;
        let mut list = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .expect("the list of what did not run");
        writeln!(
            list,
            "{}: {name} is not installed",
            std::thread::current().name().unwrap_or("a test")
        )
        .expect("a line");
    }
    None
}
