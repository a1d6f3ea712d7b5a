//! Bare SQLite: the same rows, indexes and updates, written by plain sqlx in one transaction per batch.
//!
//! Believe this: the tables are the hub's own, made by the hub itself; what is missing is everything else: no wire, no checks, no
//! links, no answer but "committed". Appends gather while a transaction runs, as the hub's do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bellboard_proto::v1;
use prost::Message as _;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, Sqlite, SqliteConnection};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::baseline::raw::placed;
use crate::clock;
use crate::error::{Error, Result};
use crate::load::writers::event;
use crate::{print, probe};

/// Appends that may wait: more than there are writers.
const QUEUE_MAX: usize = 1024;

/// Most rows of one statement: what the hub takes, too, within SQLite's bound of values.
const ROWS_MAX: usize = 256;

/// Between two copies of the write-ahead log into the database: as often as the hub looks.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// What is asked of the bare writer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The hub's database, with a session and a writer for each writer here.
    #[arg(long)]
    database: PathBuf,
    /// How many append, each one event after the other.
    #[arg(long)]
    writers: usize,
    /// For how long, in milliseconds, after as long a time to warm up as this divided by four.
    #[arg(long)]
    millis: u64,
}

/// What came of it, on standard output as one line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// Events that were acknowledged within the time.
    pub(crate) stored: u64,
    /// The time, in seconds.
    pub(crate) wall_s: f64,
    /// CPU of this process within the time, in seconds.
    pub(crate) cpu_s: f64,
    /// How long an acknowledgement took, in seconds: the median, and what 99 % stay below.
    pub(crate) p50_s: f64,
    /// See `p50_s`.
    pub(crate) p99_s: f64,
}

/// Runs and reports.
pub(crate) async fn run(args: Args) -> Result<()> {
    let (queue, jobs) = mpsc::channel(QUEUE_MAX);
    let committer = Committer::open(&args.database).await?;
    let mut background = JoinSet::new();
    background.spawn(committer.run(jobs));
    background.spawn(checkpoint(options(&args.database).connect().await?));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..args.writers {
        writers.spawn(write(number, queue.clone(), stop.clone()));
    }
    drop(queue);
    let time = Duration::from_millis(args.millis);
    tokio::time::sleep(time / 4).await;
    let (began, cpu) = (clock::now(), probe::cpu(std::process::id())?);
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        // Neither ends by itself while writers write, but with an error.
        Some(ended) = background.join_next() => return ended.map_err(|error| Error::Server(error.to_string()))?,
    }
    let (ended, cpu) = (clock::now(), probe::cpu(std::process::id())?.saturating_sub(cpu));
    stop.store(true, Ordering::Release);
    let all: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    let within = all.into_iter().filter(|(at, _)| (began..ended).contains(at));
    let mut took: Vec<Duration> = within.map(|(_, took)| took).collect();
    took.sort_unstable();
    let report = Report {
        stored: took.len() as u64,
        wall_s: ended.saturating_sub(began).as_secs_f64(),
        cpu_s: cpu.as_secs_f64(),
        p50_s: crate::rounds::quantile(&took, 0.50),
        p99_s: crate::rounds::quantile(&took, 0.99),
    };
    print(format_args!("{}", serde_json::to_string(&report)?))
}

/// An append, and who waits for it.
struct Job {
    writer: usize,
    seq: i64,
    stored: Vec<u8>,
    done: oneshot::Sender<()>,
}

async fn write(writer: usize, queue: mpsc::Sender<Job>, stop: Arc<AtomicBool>) -> Vec<(Duration, Duration)> {
    let event = event(writer).event.unwrap_or_default();
    let mut acknowledgements = Vec::new();
    // The hub's first event of each writer has the first seq.
    for seq in 2.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let sent = clock::now();
        let (done, answer) = oneshot::channel();
        let job = Job {
            writer,
            seq,
            stored: stored(event.clone(), writer, seq, sent),
            done,
        };
        if queue.send(job).await.is_err() || answer.await.is_err() {
            break;
        }
        acknowledgements.push((clock::now(), clock::since(sent)));
    }
    acknowledgements
}

/// The bytes of an event as the hub has them.
fn stored(event: v1::Event, writer: usize, seq: i64, sent: Duration) -> Vec<u8> {
    let occurred_time = prost_types::Timestamp {
        seconds: sent.as_secs().cast_signed(),
        nanos: sent.subsec_nanos().cast_signed(),
    };
    let event = v1::Event {
        occurred_time: Some(occurred_time),
        ..event
    };
    placed(event, &format!("bench-{writer}"), seq.cast_unsigned()).encode_to_vec()
}

fn options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .pragma("cache_size", "-8192")
        .pragma("wal_autocheckpoint", "0")
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(4 * ROWS_MAX)
        .disable_statement_logging()
}

async fn checkpoint(mut connection: SqliteConnection) -> Result<()> {
    loop {
        tokio::time::sleep(CHECKPOINT_EVERY).await;
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .execute(&mut connection)
            .await?;
    }
}

/// A session as its row goes on.
#[derive(Clone, Copy, Debug)]
struct Session {
    number: i64,
    next_index: i64,
    last_offset: i64,
}

struct Committer {
    connection: SqliteConnection,
    log: i64,
    tail: i64,
    /// The place of offset 0.
    base: i64,
    /// By writer.
    sessions: Vec<Session>,
    writers: Vec<i64>,
}

impl Committer {
    async fn open(database: &Path) -> Result<Committer> {
        let mut connection = options(database).connect().await?;
        let log = sqlx::query("SELECT key,tail FROM logs")
            .fetch_one(&mut connection)
            .await?;
        let newest = sqlx::query("SELECT max(place) FROM events")
            .fetch_one(&mut connection)
            .await?;
        let sessions = "SELECT number,next_index,last_offset FROM sessions \
                        ORDER BY CAST(substr(id,7) AS INTEGER)";
        let sessions = sqlx::query(sessions).fetch_all(&mut connection).await?;
        let writers = "SELECT number FROM writers ORDER BY CAST(substr(id,7) AS INTEGER)";
        let writers = sqlx::query(writers).fetch_all(&mut connection).await?;
        let (key, tail): (i64, i64) = (log.try_get(0)?, log.try_get(1)?);
        let newest: i64 = newest.try_get(0)?;
        let session = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Session {
                number: row.try_get(0)?,
                next_index: row.try_get(1)?,
                last_offset: row.try_get(2)?,
            })
        };
        Ok(Committer {
            connection,
            log: key,
            tail,
            base: newest - (tail - 1),
            sessions: sessions.iter().map(session).collect::<Result<_>>()?,
            writers: writers.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?,
        })
    }

    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<()> {
        while let Some(first) = jobs.recv().await {
            let mut batch = vec![first];
            while let Ok(job) = jobs.try_recv() {
                batch.push(job);
            }
            let mut waiting = Vec::with_capacity(batch.len());
            self.commit(batch, &mut waiting).await?;
            for done in waiting {
                // Who does not wait any more is not told.
                let _ = done.send(());
            }
        }
        Ok(())
    }

    async fn commit(&mut self, batch: Vec<Job>, waiting: &mut Vec<oneshot::Sender<()>>) -> Result<()> {
        let now = i64::try_from(clock::now().as_micros()).unwrap_or(i64::MAX);
        let (before, mut last_seqs, mut events) = (self.tail, Vec::with_capacity(batch.len()), Vec::new());
        for Job {
            writer,
            seq,
            stored,
            done,
        } in batch
        {
            let (session, number) = (&mut self.sessions[writer], self.writers[writer]);
            events.push((
                self.base + self.tail,
                session.number,
                session.next_index,
                number,
                seq,
                stored,
            ));
            session.next_index += 1;
            session.last_offset = self.tail;
            self.tail += 1;
            // One event of each writer at a time: no session comes twice.
            last_seqs.push((*session, number, seq));
            waiting.push(done);
        }
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let moved = "UPDATE logs SET tail=?,link=?,recorded=?,fence=fence,sessions=sessions WHERE key=? AND tail=?";
        let moved = sqlx::query(moved)
            .bind(self.tail)
            .bind(now)
            .bind(now)
            .bind(self.log)
            .bind(before);
        if moved.execute(&mut *transaction).await?.rows_affected() != 1 {
            return Err(Error::Void("somebody else moved the tail of the bare log".to_owned()));
        }
        for rows in last_seqs.chunks(ROWS_MAX) {
            let text = "UPDATE sessions SET next_index=v.column2,last_offset=v.column3,updated=v.column4 FROM (VALUES ";
            let text = many(text, 4, rows.len(), ") AS v WHERE sessions.number=v.column1");
            let bind = |query: Prepared, (session, _, _): &(Session, i64, i64)| {
                let query = query.bind(session.number).bind(session.next_index);
                query.bind(session.last_offset).bind(now)
            };
            rows.iter()
                .fold(prepared(text), bind)
                .execute(&mut *transaction)
                .await?;
            let text = "UPDATE writers SET last_seq=v.column2 FROM (VALUES ";
            let text = many(text, 2, rows.len(), ") AS v WHERE writers.number=v.column1");
            let bind = |query: Prepared, (_, writer, seq): &(Session, i64, i64)| query.bind(*writer).bind(*seq);
            rows.iter()
                .fold(prepared(text), bind)
                .execute(&mut *transaction)
                .await?;
        }
        let mut events = events.into_iter();
        while events.len() > 0 {
            let rows = events.len().min(ROWS_MAX);
            let text =
                "INSERT INTO events (place,session,idx,kind,item,item_step,writer,seq,has_raw,link,stored) VALUES ";
            let query = prepared(many(text, 11, rows, ""));
            let bind =
                |query: Prepared, (place, session, index, writer, seq, stored): (i64, i64, i64, i64, i64, Vec<u8>)| {
                    let query = query
                        .bind(place)
                        .bind(session)
                        .bind(index)
                        .bind(72)
                        .bind(session)
                        .bind(2);
                    query.bind(writer).bind(seq).bind(false).bind(place).bind(stored)
                };
            events
                .by_ref()
                .take(rows)
                .fold(query, bind)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

type Prepared = Query<'static, Sqlite, SqliteArguments>;

fn prepared(text: String) -> Prepared {
    // Nothing in it but our own words and question marks.
    sqlx::query(AssertSqlSafe(text))
}

fn many(before: &str, columns: usize, rows: usize, after: &str) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("{before}{}{after}", vec![row; rows].join(","))
}
