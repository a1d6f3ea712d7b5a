//! Small conversions: tokens and money, files, links, errors.
//!
//! The one thing to believe: what opencode does not tell stays unset. A cost of 0 is one that it does not know.

use bellboard_proto::v1::{ContextUsage, Cost, FailureClass, FileChange, FileChangeKind, ResourceLink, Usage};
use serde_json::Value;

use crate::long_text::clipped;
use crate::opencode::frame::{number, text};

/// Most files in one event; more is a mass rewrite that nobody reads line by line.
pub(super) const FILES_MAX: usize = 200;

/// What a step or a message says that its model calls used.
pub(super) fn usage(told: &Value, model: &str) -> Usage {
    let tokens = |pointer| number(told, pointer).unwrap_or(0);
    let used = tokens("/tokens/total");
    Usage {
        model: model.to_owned(),
        input_tokens: tokens("/tokens/input"),
        output_tokens: tokens("/tokens/output"),
        reasoning_tokens: tokens("/tokens/reasoning"),
        cache_read_tokens: tokens("/tokens/cache/read"),
        cache_write_tokens: tokens("/tokens/cache/write"),
        cost: cost(told),
        context: (used > 0).then_some(ContextUsage {
            used_tokens: used,
            size_tokens: 0,
        }),
    }
}

/// opencode computes costs in dollars, from list prices.
fn cost(told: &Value) -> Option<Cost> {
    let dollars = told
        .get("cost")
        .and_then(Value::as_f64)
        .filter(|dollars| *dollars > 0.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates at nine trillion dollars")]
    let amount_micros = (dollars * 1_000_000.0).round() as i64;
    Some(Cost {
        amount_micros,
        currency: "USD".to_owned(),
        estimated: true,
    })
}

/// Adds what another call used.
pub(super) fn add(sum: &mut Usage, more: &Usage) {
    let Usage {
        model,
        input_tokens,
        output_tokens,
        reasoning_tokens,
        cache_read_tokens,
        cache_write_tokens,
        cost,
        context,
    } = more;
    if sum.model.is_empty() {
        sum.model.clone_from(model);
    }
    sum.input_tokens += input_tokens;
    sum.output_tokens += output_tokens;
    sum.reasoning_tokens += reasoning_tokens;
    sum.cache_read_tokens += cache_read_tokens;
    sum.cache_write_tokens += cache_write_tokens;
    if let Some(cost) = cost {
        let known = sum.cost.get_or_insert_with(|| Cost {
            amount_micros: 0,
            ..cost.clone()
        });
        known.amount_micros = known.amount_micros.saturating_add(cost.amount_micros);
    }
    if context.is_some() {
        sum.context = *context;
    }
}

/// A model as `provider/model`, however opencode spells its fields.
pub(super) fn model(told: &Value) -> String {
    let provider = text(told, "/providerID");
    let id = [text(told, "/modelID"), text(told, "/id")]
        .into_iter()
        .find(|id| !id.is_empty())
        .unwrap_or_default();
    match (provider, id) {
        ("", id) => clipped(id, 256),
        (provider, id) => clipped(&format!("{provider}/{id}"), 256),
    }
}

/// A file of which only the name is known.
pub(super) fn touched(path: &str) -> FileChange {
    FileChange {
        path: clipped(path, 1024),
        kind: FileChangeKind::Unspecified.into(),
        ..FileChange::default()
    }
}

/// A file of a diff, without the diff itself.
pub(super) fn changed(told: &Value) -> FileChange {
    let lines = |pointer| {
        number(told, pointer)
            .and_then(|lines| u32::try_from(lines).ok())
            .unwrap_or(0)
    };
    let kind = match text(told, "/status") {
        "added" => FileChangeKind::Added,
        "deleted" => FileChangeKind::Deleted,
        "modified" => FileChangeKind::Modified,
        _ => FileChangeKind::Unspecified,
    };
    FileChange {
        path: clipped(text(told, "/file"), 1024),
        kind: kind.into(),
        added_lines: lines("/additions"),
        removed_lines: lines("/deletions"),
        ..FileChange::default()
    }
}

/// A file part. One that carries its bytes in the address is named and not carried along.
pub(super) fn resource(told: &Value) -> ResourceLink {
    let address = text(told, "/url");
    let name = [text(told, "/filename"), text(told, "/source/path")]
        .into_iter()
        .find(|name| !name.is_empty());
    let uri = if address.starts_with("data:") {
        name.unwrap_or("data:")
    } else {
        address
    };
    ResourceLink {
        uri: clipped(uri, 4096),
        title: clipped(name.unwrap_or_default(), 512),
        media_type: clipped(text(told, "/mime"), 256),
        size_bytes: 0,
    }
}

/// How opencode says that something failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) name: String,
    pub(super) message: String,
    status: Option<u64>,
    retryable: bool,
}

impl Failure {
    /// Reads an error; `None` when there is none.
    pub(super) fn read(told: Option<&Value>) -> Option<Failure> {
        let told = told.filter(|told| told.is_object())?;
        Some(Failure {
            name: clipped(text(told, "/name"), 128),
            message: clipped(text(told, "/data/message"), 8 * 1024),
            status: number(told, "/data/statusCode"),
            retryable: told.pointer("/data/isRetryable") == Some(&Value::Bool(true)),
        })
    }

    /// A person stopped it.
    pub(super) fn aborted(&self) -> bool {
        self.name == "MessageAbortedError"
    }

    pub(super) const fn retryable(&self) -> bool {
        self.retryable
    }

    pub(super) fn native_code(&self) -> String {
        self.status
            .map_or_else(|| self.name.clone(), |status| format!("{} {status}", self.name))
    }

    pub(super) fn class(&self) -> FailureClass {
        match (self.name.as_str(), self.status) {
            ("ProviderAuthError", _) | (_, Some(401 | 403)) => FailureClass::Credential,
            ("MessageOutputLengthError", _) => FailureClass::OutputLimit,
            ("ContextOverflowError", _) => FailureClass::Context,
            ("ContentFilterError", _) => FailureClass::Refusal,
            (_, Some(402)) => FailureClass::Billing,
            (_, Some(429)) => FailureClass::RateLimit,
            (_, Some(503 | 529)) => FailureClass::Overloaded,
            (_, Some(500..=599)) => FailureClass::Server,
            (_, _) => FailureClass::Other,
        }
    }
}
