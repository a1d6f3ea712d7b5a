//! A hub in a process of its own: what a user runs, and what a test may kill.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::postgres::{self, TestDatabase};
use crate::within;

/// A running `bellboard serve`. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Where its metrics are, if it was told to show them.
    pub metrics_url: Option<String>,
    data: PathBuf,
}

/// The folder of a hub, which outlives its processes, and its database where that is not in the folder.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Removed with it, where it was made for it.
    _made: Option<TempDir>,
    /// Dropped with it.
    _database: Option<TestDatabase>,
}

impl DataDir {
    /// A new one, empty. Where PostgreSQL is chosen it holds a file with settings that name a database of its own, so that every
    /// command that is given the folder works on that.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> DataDir {
        if postgres::is_chosen() {
            return DataDir::on_postgres().expect("PostgreSQL was chosen");
        }
        DataDir::made(None)
    }

    /// The same on PostgreSQL, whatever is chosen.
    ///
    /// None only where PostgreSQL is not to be had and the test command was told to go on without.
    #[must_use]
    pub fn on_postgres() -> Option<DataDir> {
        TestDatabase::new().map(DataDir::on)
    }

    /// On this database.
    fn on(database: TestDatabase) -> DataDir {
        let settings = format!("database_url = \"{}\"\n", database.url);
        let data = DataDir::made(Some(database));
        std::fs::write(data.settings(), settings).expect("the file with settings");
        data
    }

    fn made(database: Option<TestDatabase>) -> DataDir {
        let made = TempDir::with_prefix("bellboard-test-").expect("a temporary folder");
        DataDir {
            path: made.path().to_owned(),
            _made: Some(made),
            _database: database,
        }
    }

    /// Another folder for the same database: what a second node has.
    #[must_use]
    pub fn beside(&self) -> DataDir {
        let other = DataDir::made(None);
        std::fs::copy(self.settings(), other.settings()).expect("the file with settings");
        other
    }

    /// Another folder for the same database, which is reached at this address, as through a proxy.
    ///
    /// # Panics
    /// When the database is in the folder.
    #[must_use]
    pub fn through(&self, address: &str) -> DataDir {
        let other = DataDir::made(None);
        let settings = std::fs::read_to_string(self.settings()).expect("the file with settings");
        let told = settings.replace(&self.database_address(), address);
        std::fs::write(other.settings(), told).expect("the file with settings");
        other
    }

    /// Where the server of its database is, as `HOST:PORT`.
    ///
    /// # Panics
    /// When the database is in the folder.
    #[must_use]
    pub fn database_address(&self) -> String {
        let settings = std::fs::read_to_string(self.settings()).expect("the file with settings");
        let (_, behind) = settings.split_once('@').expect("the URL names a user");
        let (address, _) = behind.split_once('/').expect("the URL names a database");
        address.to_owned()
    }

    fn settings(&self) -> PathBuf {
        self.path.join("bellboard.toml")
    }

    /// One that is there, or that the hub shall make. It stays.
    #[must_use]
    pub const fn at(path: PathBuf) -> DataDir {
        DataDir {
            path,
            _made: None,
            _database: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a hub on it, on a port of its own.
    pub async fn start(&self) -> Process {
        self.start_with(&[]).await
    }

    /// The same with more flags.
    pub async fn start_with(&self, flags: &[&str]) -> Process {
        self.launch(Command::new(binary()), flags).await
    }

    /// The same under another program (strace), whose last arguments become the hub's command line.
    pub async fn start_under(&self, mut wrapper: Command, flags: &[&str]) -> Process {
        wrapper.arg(binary());
        self.launch(wrapper, flags).await
    }

    async fn launch(&self, mut command: Command, flags: &[&str]) -> Process {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.path())
            .args(flags);
        command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut printed = async |what: &str, marks: &str| {
            let url = within(what, async {
                while let Some(line) = lines.next_line().await.expect("the hub's output") {
                    if let Some(at) = line.find("http://").filter(|_| line.contains(marks)) {
                        return line[at..].split_whitespace().next().unwrap_or_default().to_owned();
                    }
                }
                panic!("the hub ended before it printed its address");
            });
            url.await
        };
        let url = printed("the hub's address on its standard output", "").await;
        let metrics_url = if flags.contains(&"--metrics-address") {
            Some(printed("the address of its metrics", "/metrics").await)
        } else {
            None
        };
        // What else it prints is nobody's, but the pipe must not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Process {
            child,
            url,
            metrics_url,
            data: self.path().to_owned(),
        }
    }
}

impl Default for DataDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Process {
    /// The key that the hub made for its own machine.
    #[must_use]
    pub fn key(&self) -> String {
        let path = self.data.join("local.key");
        let key =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        key.trim().to_owned()
    }

    /// A client with that key.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url, Some(&self.key()))
    }

    /// The process id, of the hub or of what it runs under.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("the hub runs")
    }

    /// The memory that it holds, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the hub's status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    }

    /// Ends it as power loss would: `kill -9`.
    pub async fn kill(mut self) {
        self.end();
        within("the killed hub to end", self.child.wait())
            .await
            .expect("the hub's status");
    }

    /// Kills what it started and then itself: a hub under strace outlives a strace that is killed.
    fn end(&mut self) {
        let Some(id) = self.child.id() else { return };
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let _ = std::process::Command::new("kill").args(["-KILL", child]).status();
        }
        let _ = self.child.start_kill();
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill");
        assert!(sent.success(), "SIGTERM could not be sent to {id}");
        within("the hub to end after SIGTERM", self.child.wait())
            .await
            .expect("the hub's status")
    }
}

/// The `bellboard` program: what `BELLBOARD_BIN` names, or the one that was built beside this test.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("BELLBOARD_BIN") {
        // A test's working folder is its crate's, the variable is set in the root.
        let named = PathBuf::from(named);
        return if named.is_absolute() { named } else { root().join(named) };
    }
    let test = std::env::current_exe().expect("this test's path");
    let beside = test
        .parent()
        .and_then(Path::parent)
        .expect("a target folder")
        .join("bellboard");
    assert!(
        beside.exists(),
        "{} is not there; build it with `cargo build`",
        beside.display()
    );
    beside
}

/// Runs a command of `bellboard` on a hub's folder. Returns what it printed.
///
/// # Panics
/// When it fails.
pub async fn cli(data: &DataDir, args: &[&str]) -> String {
    let mut command = Command::new(binary());
    command
        .args(args)
        .arg("--data-dir")
        .arg(data.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let output = within("the command to end", command.output())
        .await
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the command prints text")
}

/// Makes a key with these flags of `bellboard key create`, and returns its text.
///
/// # Panics
/// When it cannot be made.
pub async fn key(data: &DataDir, flags: &[&str]) -> String {
    cli(data, &[&["key", "create"], flags].concat()).await.trim().to_owned()
}

/// Revokes it.
///
/// # Panics
/// When it cannot be revoked.
pub async fn revoke(data: &DataDir, key: &str) {
    cli(data, &["key", "revoke", key]).await;
}

/// Runs `bellboard connect opencode`. Killed when dropped.
#[must_use]
pub fn connect_opencode(data: &DataDir, hub: &Process, agent: &str) -> Child {
    let mut command = Command::new(binary());
    command
        .args(["connect", "opencode", "--url", agent, "--hub", &hub.url, "--data-dir"])
        .arg(data.path());
    command
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// The root of the project.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the root")
}
