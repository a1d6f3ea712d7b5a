//! A server in a process of its own, fresh for every sample.
//!
//! Believe this: hub and baseline are started in the same way, and whatever is started is killed when it is dropped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::error::{Error, Result, io};
use crate::load::connection::Target;

/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// On which cores a server may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cores {
    /// All.
    Any,
    /// The first one alone: its clients have the others.
    First,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where clients find it.
    pub(crate) target: Target,
    /// Reads what else it prints, so that its pipe does not fill.
    _output: JoinSet<()>,
}

/// A hub's data, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Data(TempDir);

impl Data {
    /// A new, empty folder.
    pub(crate) fn new() -> Result<Data> {
        let folder = TempDir::with_prefix("bellboard-bench-").map_err(io("make a folder for a hub's data"))?;
        Ok(Data(folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The hub's database in it.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("bellboard.db")
    }
}

impl Server {
    /// Starts a hub on this data.
    pub(crate) async fn hub(program: &Path, data: &Data, cores: Cores, flags: &[&str]) -> Result<Server> {
        let mut args: Vec<OsString> = ["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"]
            .map(OsString::from)
            .to_vec();
        args.push(data.path().into());
        // All load comes with one key, as it never does elsewhere.
        let one_key = [
            "--subscriptions-per-principal=20000",
            "--publishers-per-principal=2000",
            "--calls-per-principal=2000",
        ];
        args.extend(one_key.map(OsString::from));
        args.extend(flags.iter().map(OsString::from));
        let (child, output, address) = start(program, &args, cores).await?;
        let key = std::fs::read_to_string(data.path().join("local.key")).map_err(io("read the hub's local key"))?;
        Ok(Server {
            child,
            target: Target {
                address,
                authorization: format!("Bearer {}", key.trim()),
            },
            _output: drain(output),
        })
    }

    /// Starts the raw baseline.
    pub(crate) async fn raw(cores: Cores, flags: &[&str]) -> Result<Server> {
        let mut args = vec![OsString::from("raw")];
        args.extend(flags.iter().map(OsString::from));
        let (child, output, address) = start(&own()?, &args, cores).await?;
        Ok(Server {
            child,
            target: Target {
                address,
                authorization: "none".to_owned(),
            },
            _output: drain(output),
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child
            .id()
            .ok_or_else(|| Error::Server("the server has ended".to_owned()))
    }

    /// Asks it to end and waits until it has: its data is in one file then.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        let pid = self.pid()?.to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
        if !sent.map_err(io("send SIGTERM"))?.success() {
            return Err(Error::Server("SIGTERM could not be sent".to_owned()));
        }
        let late = |_| Error::Server("the server did not end after SIGTERM".to_owned());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(late)?;
        ended.map_err(io("wait for the server"))?;
        Ok(())
    }
}

/// Runs the bare baseline, and gives what it prints.
pub(crate) async fn bare(args: &[OsString]) -> Result<String> {
    let mut all = vec![OsString::from("bare")];
    all.extend_from_slice(args);
    let mut command = command(&own()?, &all, Cores::Any);
    let output = command.output().await.map_err(io("run the bare baseline"))?;
    if !output.status.success() {
        return Err(Error::Server(format!("the bare baseline ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn own() -> Result<PathBuf> {
    std::env::current_exe().map_err(io("find this program"))
}

fn command(program: &Path, args: &[OsString], cores: Cores) -> Command {
    let mut command = match cores {
        Cores::Any => Command::new(program),
        Cores::First => {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(program);
            command
        }
    };
    command
        .args(args)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    command
}

type Output = Lines<BufReader<ChildStdout>>;

async fn start(program: &Path, args: &[OsString], cores: Cores) -> Result<(Child, Output, std::net::SocketAddr)> {
    let mut child = command(program, args, cores).spawn().map_err(io("start a server"))?;
    let silent = || Error::Server(format!("{} did not say where it listens", program.display()));
    let mut lines = BufReader::new(child.stdout.take().ok_or_else(silent)?).lines();
    let address = async {
        while let Some(line) = lines.next_line().await.map_err(io("read a server's output"))? {
            let url = line.find("http://").map(|at| line[at + 7..].trim());
            if let Some(address) = url.and_then(|url| url.parse().ok()) {
                return Ok(address);
            }
        }
        Err(silent())
    };
    let address = tokio::time::timeout(PATIENCE, address).await.map_err(|_| silent())??;
    Ok((child, lines, address))
}

fn drain(mut output: Output) -> JoinSet<()> {
    let mut reader = JoinSet::new();
    reader.spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
    reader
}
