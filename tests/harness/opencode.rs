//! The real opencode, driven by a scripted model, both on this machine only.

use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::process::root;
use crate::tools::tool;
use crate::within;

/// A model server that says what it is told to say, piece by piece. Ends when dropped.
#[derive(Debug)]
pub struct Model {
    _child: Child,
    url: String,
    http: reqwest::Client,
}

/// A running opencode server. Killed when dropped.
#[derive(Debug)]
pub struct Opencode {
    _child: Child,
    /// Its home, configuration and workspace.
    _home: TempDir,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    http: reqwest::Client,
}

impl Model {
    /// Starts it on a port of its own.
    pub async fn start() -> Model {
        let mut command = Command::new("python3");
        command
            .arg(root().join("tests/model/model_server.py"))
            .arg("--until-stdin-closes");
        let (child, mut lines) = spawn(command.stdin(Stdio::piped()));
        let port = within("the model's port", lines.next_line())
            .await
            .expect("its output")
            .expect("a first line");
        Model {
            _child: child,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
        }
    }

    /// Lets so many more pieces of a gated text go, or all of them.
    pub async fn release(&self, gate: &str, count: &str) {
        let url = format!("{}/control/release?gate={gate}&n={count}", self.url);
        let answer = within("the model to release", self.http.post(url).send())
            .await
            .expect("the model answers");
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

impl Opencode {
    /// Starts it with this model; none where the test command goes on without opencode.
    pub async fn start(model: &Model) -> Option<Opencode> {
        let program = tool("opencode")?;
        let home = TempDir::with_prefix("bellboard-opencode-").expect("a temporary folder");
        let workspace = home.path().join("workspace");
        std::fs::create_dir(&workspace).expect("a workspace");
        let config = home.path().join("opencode.json");
        std::fs::write(&config, configuration(&model.url)).expect("its configuration");
        let mut command = Command::new(program);
        // Nothing of the machine's own settings leaks in, and nothing leaves the machine.
        command
            .env_clear()
            .env("HOME", home.path())
            .env("OPENCODE_CONFIG", &config)
            .current_dir(&workspace);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for off in ["MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS"] {
            command.env(format!("OPENCODE_DISABLE_{off}"), "1");
        }
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "npm_config_registry"] {
            command.env(proxy, "http://127.0.0.1:9");
        }
        command.env("NO_PROXY", "127.0.0.1,localhost");
        command
            .args(["serve", "--hostname", "127.0.0.1", "--port", "0"])
            .stdin(Stdio::null());
        let (child, mut lines) = spawn(&mut command);
        let url = within("opencode's address", async {
            while let Some(line) = lines.next_line().await.expect("its output") {
                if let Some(at) = line.find("http://127.0.0.1") {
                    return line[at..].trim().to_owned();
                }
            }
            panic!("opencode ended before it listened");
        });
        let url = url.await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Opencode {
            _child: child,
            _home: home,
            url,
            http: reqwest::Client::new(),
        })
    }

    /// Opens a session. Returns opencode's own id of it.
    pub async fn open(&self, title: &str) -> String {
        let answer = self.post("/session", &serde_json::json!({ "title": title })).await;
        answer["id"].as_str().expect("a session id").to_owned()
    }

    /// Prompts a session, without waiting for the turn.
    pub async fn prompt(&self, session: &str, text: &str) {
        let body = serde_json::json!({ "parts": [{ "type": "text", "text": text }] });
        self.post(&format!("/session/{session}/prompt_async"), &body).await;
    }

    async fn post(&self, path: &str, body: &serde_json::Value) -> serde_json::Value {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        let answer = within("opencode's answer", request.send())
            .await
            .expect("opencode answers");
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        let text = answer.text().await.expect("a body");
        if text.is_empty() {
            serde_json::Value::Null
        } else {
            serde_json::from_str(&text).expect("JSON")
        }
    }
}

fn spawn(command: &mut Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdout = child.stdout.take().expect("stdout is piped");
    (child, BufReader::new(stdout).lines())
}

fn configuration(model: &str) -> String {
    serde_json::json!({
        "provider": { "scripted": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Scripted",
            "options": { "baseURL": format!("{model}/v1"), "apiKey": "dummy" },
            "models": { "scripted": { "name": "scripted", "limit": { "context": 128_000, "output": 8192 } } },
        } },
        "model": "scripted/scripted",
        "small_model": "scripted/scripted",
        "share": "disabled",
        "autoupdate": false,
        "permission": { "edit": "allow", "bash": "allow", "webfetch": "ask" },
    })
    .to_string()
}
