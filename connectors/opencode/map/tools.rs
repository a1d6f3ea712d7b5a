//! A tool call as opencode tells it, in the contract's words.
//!
//! The one thing to believe: a call's last state says everything, so one that was never seen running gives the same events.

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    ContentPart, FileChange, FileChangeKind, RawContent, SubagentEnded, SubagentSpawned, TaskStatus, ToolCompleted,
    ToolKind, ToolLocation, ToolStarted, ToolStatus, content_part,
};
use serde_json::Value;

use super::content;
use super::emit::duration;
use crate::long_text::{clipped, json_content, long_text, shortened};
use crate::opencode::frame::{list, number, text};

/// The tool that runs a sub-agent.
const TASK: &str = "task";

/// Most attachments of a call that are kept, since each is a line of an event.
const ATTACHMENTS_MAX: usize = 32;

/// Bytes kept of an edit's diff at either end, so that a call with input, output and diff still fits.
const DIFF_BYTES: usize = 16 * 1024;

/// How opencode's own permission prompt ends a call that a person refused.
const REFUSED: [&str; 2] = [
    "The user rejected permission",
    "The user has specified a rule which prevents",
];

/// How a call ends that nobody let finish.
const STOPPED: [&str; 2] = ["Tool execution aborted", "The user dismissed this question"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its input is still coming.
    Pending,
    Running,
    Ended,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) id: &'a str,
    pub(super) tool: &'a str,
    pub(super) state: State,
    pub(super) start_ms: Option<u64>,
    pub(super) end_ms: Option<u64>,
    message: &'a str,
    told: &'a Value,
}

impl<'a> Call<'a> {
    pub(super) fn read(part: &'a Value, message: &'a str) -> Call<'a> {
        let told = &part["state"];
        let state = match text(told, "/status") {
            "running" => State::Running,
            "completed" | "error" => State::Ended,
            _ => State::Pending,
        };
        Call {
            id: text(part, "/callID"),
            tool: text(part, "/tool"),
            state,
            start_ms: number(told, "/time/start"),
            end_ms: number(told, "/time/end"),
            message,
            told,
        }
    }

    /// The file that it works on. Empty when it works on none.
    pub(super) fn file(&self) -> &'a str {
        text(self.told, "/input/filePath")
    }

    /// What a running command has printed so far.
    pub(super) fn output_so_far(&self) -> &'a str {
        text(self.told, "/metadata/output")
    }

    /// The sub-agent's session. Empty when it has none, or not yet.
    pub(super) fn child(&self) -> &'a str {
        if self.tool == TASK {
            text(self.told, "/metadata/sessionId")
        } else {
            ""
        }
    }

    pub(super) fn started(&self) -> Payload {
        Payload::ToolStarted(ToolStarted {
            tool: clipped(self.tool, 256),
            kind: kind(self.tool).into(),
            title: self.title(),
            input: self.input(),
            locations: self.locations(),
            message_id: self.message.to_owned(),
            tool_server: String::new(),
        })
    }

    pub(super) fn completed(&self) -> Payload {
        let error = text(self.told, "/error");
        let output = text(self.told, "/output");
        let took_ms = self
            .end_ms
            .zip(self.start_ms)
            .map(|(end, start)| end.saturating_sub(start));
        let attachments = list(self.told, "/attachments").iter().take(ATTACHMENTS_MAX);
        Payload::ToolCompleted(ToolCompleted {
            tool: clipped(self.tool, 256),
            kind: kind(self.tool).into(),
            title: self.title(),
            status: self.status().into(),
            input: self.input(),
            output: (!output.is_empty()).then(|| long_text(output)),
            exit_code: self
                .told
                .pointer("/metadata/exit")
                .and_then(Value::as_i64)
                .and_then(|code| i32::try_from(code).ok()),
            duration: took_ms.map(duration),
            changes: self.changes(),
            error_message: clipped(error, 8 * 1024),
            attachments: attachments
                .map(|file| ContentPart {
                    part: Some(content_part::Part::ResourceLink(content::resource(file))),
                })
                .collect(),
            message_id: self.message.to_owned(),
            tool_server: String::new(),
        })
    }

    /// Says that a sub-agent began, once opencode has made its session.
    pub(super) fn spawned(&self, item: &str) -> Option<Payload> {
        let child = self.child();
        (!child.is_empty()).then(|| {
            Payload::SubagentSpawned(SubagentSpawned {
                agent_id: child.to_owned(),
                child_session_id: String::new(),
                agent_type: clipped(text(self.told, "/input/subagent_type"), 256),
                prompt: Some(long_text(text(self.told, "/input/prompt"))),
                background: false,
                tool_item_id: item.to_owned(),
            })
        })
    }

    pub(super) fn subagent_ended(&self) -> Option<Payload> {
        let child = self.child();
        let status = match self.status() {
            ToolStatus::Ok => TaskStatus::Ok,
            ToolStatus::Cancelled | ToolStatus::Denied => TaskStatus::Cancelled,
            ToolStatus::Error | ToolStatus::Timeout | ToolStatus::Unspecified => TaskStatus::Error,
        };
        let output = text(self.told, "/output");
        (!child.is_empty()).then(|| {
            Payload::SubagentEnded(SubagentEnded {
                agent_id: child.to_owned(),
                child_session_id: String::new(),
                status: status.into(),
                last_message: (!output.is_empty()).then(|| long_text(output)),
            })
        })
    }

    fn status(&self) -> ToolStatus {
        if text(self.told, "/status") == "completed" {
            return ToolStatus::Ok;
        }
        let error = text(self.told, "/error");
        let interrupted = self.told.pointer("/metadata/interrupted") == Some(&Value::Bool(true));
        if REFUSED.iter().any(|words| error.starts_with(words)) {
            ToolStatus::Denied
        } else if interrupted || STOPPED.iter().any(|words| error.starts_with(words)) {
            ToolStatus::Cancelled
        } else {
            ToolStatus::Error
        }
    }

    fn title(&self) -> String {
        let told = ["/title", "/input/description", "/input/command"].map(|pointer| text(self.told, pointer));
        let first = told
            .into_iter()
            .chain([self.file()])
            .find(|title| !title.is_empty())
            .unwrap_or_default();
        clipped(first.lines().next().unwrap_or_default(), 512)
    }

    fn input(&self) -> Option<RawContent> {
        self.told
            .get("input")
            .filter(|input| input.as_object().is_some_and(|fields| !fields.is_empty()))
            .map(json_content)
    }

    fn locations(&self) -> Vec<ToolLocation> {
        let path = [self.file(), text(self.told, "/input/path")]
            .into_iter()
            .find(|path| !path.is_empty());
        path.map(|path| ToolLocation {
            path: clipped(path, 4096),
            line: None,
        })
        .into_iter()
        .collect()
    }

    /// What a call that writes a file says it changed.
    fn changes(&self) -> Vec<FileChange> {
        if kind(self.tool) != ToolKind::Edit || self.file().is_empty() || text(self.told, "/status") != "completed" {
            return Vec::new();
        }
        let existed = self.told.pointer("/metadata/exists").and_then(Value::as_bool);
        let diff = text(self.told, "/metadata/diff");
        let lines = |pointer| {
            number(self.told, pointer)
                .and_then(|lines| u32::try_from(lines).ok())
                .unwrap_or(0)
        };
        vec![FileChange {
            path: clipped(self.file(), 4096),
            kind: if existed == Some(false) {
                FileChangeKind::Added
            } else {
                FileChangeKind::Modified
            }
            .into(),
            former_path: String::new(),
            added_lines: lines("/metadata/filediff/additions"),
            removed_lines: lines("/metadata/filediff/deletions"),
            diff: (!diff.is_empty()).then(|| shortened(diff, DIFF_BYTES, DIFF_BYTES)),
        }]
    }
}

/// What kind of thing a tool of opencode does.
pub(super) fn kind(tool: &str) -> ToolKind {
    match tool {
        "read" => ToolKind::Read,
        "edit" | "write" | "patch" | "multiedit" | "apply_patch" => ToolKind::Edit,
        "glob" | "grep" | "list" | "codesearch" | "lsp" => ToolKind::Search,
        "bash" => ToolKind::Execute,
        "webfetch" | "websearch" => ToolKind::Fetch,
        "todowrite" | "todoread" => ToolKind::Think,
        TASK => ToolKind::Subagent,
        _ => ToolKind::Other,
    }
}
