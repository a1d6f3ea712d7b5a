//! A PostgreSQL server for this run of tests, and in it a schema for each test: a set of tables that no other test sees. It is what
//! a database of its own would be, but costs the server no checkpoint when it is dropped.
//!
//! Believe this: the server ends with this process, however that ends: `tests/tools/postgres` serves until a pipe that only this
//! process holds is closed. It is started when the first test asks for it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use sea_orm::{ConnectionTrait as _, Database};

use crate::process::root;
use crate::tools;

/// Names a server to be used in place of one of our own: the URL of a database in which schemas may be created, without a `?`.
const SERVER: &str = "BELLBOARD_TEST_POSTGRES";

/// Says that hubs are to keep their logs in PostgreSQL: `postgres`.
const STORE: &str = "BELLBOARD_TEST_STORE";

/// Whether hubs are to keep their logs in PostgreSQL, so that the same tests prove the same of it.
#[must_use]
pub fn is_chosen() -> bool {
    match std::env::var(STORE).as_deref() {
        Ok("postgres") => true,
        Ok("sqlite" | "") | Err(_) => false,
        Ok(other) => panic!("{STORE} is {other:?}; it may be sqlite or postgres"),
    }
}

/// For a test of what only SQLite has: true where hubs keep their logs in PostgreSQL, and says why the test is not run there.
#[must_use]
#[expect(
    clippy::print_stdout,
    reason = "a test says on its standard output what it does not do"
)]
pub fn is_sqlites_own(why: &str) -> bool {
    let skipped = is_chosen();
    if skipped {
        let thread = std::thread::current();
        println!("{}: not on PostgreSQL: {why}", thread.name().unwrap_or("a test"));
    }
    skipped
}

/// A database of one test's own, which is really a schema. It is dropped with this.
#[derive(Debug)]
pub struct TestDatabase {
    schema: String,
    /// What a hub is given.
    pub url: String,
}

impl TestDatabase {
    /// A new one, empty. None only where PostgreSQL is not to be had and the test command was told to go on without.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Option<TestDatabase> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let schema = format!("test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let (done, made) = mpsc::channel();
        tell(format!("CREATE SCHEMA {schema}"), Some(done));
        made.recv().expect("the schema is made; see the panic before this one");
        let url = format!("{server}?options[search_path]={schema}");
        Some(TestDatabase { schema, url })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        tell(format!("DROP SCHEMA {} CASCADE", self.schema), None);
    }
}

/// Hands a statement to a thread that talks to the server: tests begin and end where nothing can be awaited.
fn tell(sql: String, done: Option<mpsc::Sender<()>>) {
    type Told = (String, Option<mpsc::Sender<()>>);
    static TALKER: OnceLock<Mutex<mpsc::Sender<Told>>> = OnceLock::new();
    let talker = TALKER.get_or_init(|| {
        let (sender, told) = mpsc::channel::<Told>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let server = server().expect("a server that was asked before");
            runtime.block_on(async {
                let database = Database::connect(server).await.expect("the PostgreSQL server answers");
                for (sql, done) in told {
                    let executed = database.execute_unprepared(&sql).await;
                    executed.unwrap_or_else(|error| panic!("{sql}: {error}"));
                    done.map(|done| done.send(()));
                }
            });
        });
        Mutex::new(sender)
    });
    // Who is gone was in a panic before; nobody else needs to know.
    let _ = talker.lock().unwrap_or_else(PoisonError::into_inner).send((sql, done));
}

/// A server of this run. It ends when its pipe is closed, which is when this process is gone.
struct Server {
    url: String,
    _running: Option<(Child, ChildStdin)>,
}

/// The server's URL, once it answers.
fn server() -> Option<&'static str> {
    static SERVER_OF_THIS_RUN: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER_OF_THIS_RUN.get_or_init(|| match std::env::var(SERVER) {
        Ok(url) => Some(Server { url, _running: None }),
        Err(_) => start(),
    });
    server.as_ref().map(|server| server.url.as_str())
}

fn start() -> Option<Server> {
    let mut child = Command::new(root().join("tests/tools/postgres"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("tests/tools/postgres");
    let pipe = child.stdin.take().expect("its standard input is piped");
    let stdout = child.stdout.take().expect("its standard output is piped");
    let mut url = String::new();
    let read = BufReader::new(stdout).read_line(&mut url);
    if read.is_err() || url.is_empty() {
        let _ = child.wait();
        return tools::missing("postgres");
    }
    Some(Server {
        url: url.trim_end().to_owned(),
        _running: Some((child, pipe)),
    })
}
