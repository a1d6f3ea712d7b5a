//! A scripted opencode: its lists are what the test says, and its stream says what the test sends, and loses the rest.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What its lists say.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    pub(crate) sessions: Value,
    pub(crate) history: Vec<Value>,
    pub(crate) status: Value,
    pub(crate) permissions: Value,
    pub(crate) questions: Value,
    /// The answer to every call, when it is not 200.
    pub(crate) refuse: Option<u16>,
}

impl Default for Lists {
    fn default() -> Self {
        Lists {
            sessions: json!([]),
            history: Vec::new(),
            status: json!({}),
            permissions: json!([]),
            questions: json!([]),
            refuse: None,
        }
    }
}

/// A running server. Dropping it ends it.
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) lists: Arc<Mutex<Lists>>,
    /// The calls that were answered, as method and path.
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
    streams: mpsc::Receiver<LiveStream>,
    _tasks: JoinSet<()>,
}

/// One open stream. Dropping it cuts the connection.
pub(crate) struct LiveStream(mpsc::Sender<String>);

impl LiveStream {
    pub(crate) async fn send(&self, data: &Value) {
        self.0.send(format!("data: {data}\n\n")).await.expect("the tap listens");
    }

    /// The first frame of each stream.
    pub(crate) async fn connected(&self) {
        self.send(&json!({ "payload": { "id": "evt_connected", "type": "server.connected", "properties": {} } }))
            .await;
    }
}

impl Fake {
    pub(crate) async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (lists, calls) = (Arc::new(Mutex::new(Lists::default())), Arc::new(Mutex::new(Vec::new())));
        let (opened, streams) = mpsc::channel(8);
        let mut tasks = JoinSet::new();
        let (shared, log) = (lists.clone(), calls.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                connections.spawn(serve(socket, shared.clone(), log.clone(), opened.clone()));
            }
        });
        Fake {
            url,
            lists,
            calls,
            streams,
            _tasks: tasks,
        }
    }

    /// Waits for the next stream that the tap opens.
    pub(crate) async fn stream(&mut self) -> LiveStream {
        self.streams.recv().await.expect("a stream")
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Lists)) {
        change(&mut self.lists.lock().expect("no panic"));
    }
}

async fn serve(
    socket: TcpStream,
    lists: Arc<Mutex<Lists>>,
    calls: Arc<Mutex<Vec<String>>>,
    opened: mpsc::Sender<LiveStream>,
) {
    let mut socket = BufReader::new(socket);
    loop {
        let Some((call, body)) = request(&mut socket).await else {
            return;
        };
        if call == "GET /global/event" && lists.lock().expect("no panic").refuse.is_none() {
            return stream(socket.into_inner(), opened).await;
        }
        let (status, answer) = {
            let lists = lists.lock().expect("no panic");
            lists
                .refuse
                .map_or_else(|| answer(&lists, &call, &body), |status| (status, Value::Null))
        };
        calls.lock().expect("no panic").push(call);
        let text = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        if socket.write_all((head + &text).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn stream(mut socket: TcpStream, opened: mpsc::Sender<LiveStream>) {
    let (sender, mut frames) = mpsc::channel::<String>(1);
    socket
        .write_all(b"HTTP/1.1 200 x\r\ncontent-type: text/event-stream\r\n\r\n")
        .await
        .expect("written");
    opened.send(LiveStream(sender)).await.expect("the test waits");
    while let Some(frame) = frames.recv().await {
        if socket.write_all(frame.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(socket: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
    let call = line.rsplit_once(' ').expect("a request line").0.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        socket.read_line(&mut header).await.ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some((call, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

fn answer(lists: &Lists, call: &str, body: &Value) -> (u16, Value) {
    let path = call.split('?').next().expect("a path");
    let answer = match path {
        "GET /path" => json!({ "directory": "/workspace/demo" }),
        "GET /experimental/session" => lists.sessions.clone(),
        "GET /session/status" => lists.status.clone(),
        "GET /permission" => lists.permissions.clone(),
        "GET /question" => lists.questions.clone(),
        "POST /sync/history" => lists
            .history
            .iter()
            .filter(|row| {
                let known = row["aggregate_id"]
                    .as_str()
                    .and_then(|session| body.get(session))
                    .and_then(Value::as_u64);
                known.is_none_or(|known| row["seq"].as_u64().expect("a seq") > known)
            })
            .cloned()
            .collect(),
        _ => {
            let session = path.strip_prefix("GET /session/").unwrap_or_default();
            let found = lists
                .sessions
                .as_array()
                .expect("a list")
                .iter()
                .find(|info| info["id"] == session);
            return found.map_or((404, Value::Null), |info| (200, info.clone()));
        }
    };
    (200, answer)
}
