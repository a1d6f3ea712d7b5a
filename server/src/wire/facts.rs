//! What is known of a session, between the wire and the core: facts, the mask over them, and its agent's set-up.
//!
//! Believe this: every part of a session's row has a limit here, so that rows fit the frames and pages that carry them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bellboard_core::session::{SessionFacts, normal_project, normal_vendor};
use bellboard_proto::v1;
use prost::Message;

use crate::wire::fault::Fault;

/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 1024;
/// Longest other fact, in bytes: a path.
const FACT_BYTES_MAX: usize = 4096;
/// Most labels of a session, and the longest key and value in characters.
const LABELS_MAX: usize = 64;
const LABEL_KEY_CHARS_MAX: usize = 63;
const LABEL_VALUE_CHARS_MAX: usize = 256;
/// Longest `config`, in bytes as encoded. It is kept whole in its session's row, which every snapshot, list and change of the session
/// carries: with `capabilities` it is 64 KiB at most, so that a frame holds several rows.
const CONFIG_BYTES_MAX: usize = 60 * 1024;
/// Longest `capabilities`, in bytes as encoded, for the same reason. Each of its values said once takes less than a hundred.
const CAPABILITIES_BYTES_MAX: usize = 4 * 1024;
const _: () = assert!(CONFIG_BYTES_MAX + CAPABILITIES_BYTES_MAX <= 64 * 1024);

/// Which facts of a message count.
#[derive(Clone, Debug)]
pub enum Mask {
    /// Those that are populated.
    Populated,
    /// All: an empty one is cleared.
    All,
    /// Those that are named: an empty one is cleared.
    Named(Vec<String>),
}

impl Mask {
    /// Reads a field mask. `prefix` (for instance `facts.`) is taken off the paths.
    ///
    /// # Errors
    /// Names a path that is not a fact.
    pub fn parse(field: &str, prefix: &str, mask: Option<&prost_types::FieldMask>) -> Result<Mask, Fault> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Mask::Populated);
        };
        if mask
            .paths
            .iter()
            .any(|path| path == "*" || Some(path.as_str()) == prefix.strip_suffix('.'))
        {
            return Ok(Mask::All);
        }
        let named = mask.paths.iter().map(|path| {
            let name = path.strip_prefix(prefix).unwrap_or_default();
            match FACTS.contains(&name) {
                true => Ok(name.to_owned()),
                false => Err(unknown_path(field, prefix, path)),
            }
        });
        named.collect::<Result<_, _>>().map(Mask::Named)
    }

    fn takes(&self, name: &str, populated: bool) -> bool {
        match self {
            Mask::Populated => populated,
            Mask::All => true,
            Mask::Named(names) => names.iter().any(|named| named == name),
        }
    }
}

fn unknown_path(field: &str, prefix: &str, path: &str) -> Fault {
    let names = FACTS.join(",");
    let problem = format!("has the path {path:?}, which cannot be set; use one of {prefix}{{{names}}}");
    Fault::new(field, problem).with("path", path)
}

/// The facts of a session by their names in the contract.
const FACTS: [&str; 12] = [
    "title",
    "project",
    "vendor",
    "agent",
    "agent_version",
    "host",
    "cwd",
    "repository",
    "branch",
    "worktree",
    "share_url",
    "labels",
];

/// Reads facts, those that the mask takes.
///
/// # Errors
/// Names the fact that is too long.
pub fn parse_facts(field: &str, facts: &v1::SessionFacts, mask: &Mask) -> Result<SessionFacts, Fault> {
    let v1::SessionFacts {
        title,
        project,
        vendor,
        agent,
        agent_version,
        host,
        cwd,
        repository,
        branch,
        worktree,
        share_url,
        labels,
    } = facts;
    if title.chars().count() > TITLE_CHARS_MAX {
        let problem = format!("is longer than {TITLE_CHARS_MAX} characters; shorten it");
        return Err(Fault::new(format!("{field}.title"), problem).with("limit", TITLE_CHARS_MAX));
    }
    let taken = |name: &str, value: &str| mask.takes(name, !value.is_empty()).then(|| Arc::<str>::from(value));
    let others = [
        ("agent", agent),
        ("agent_version", agent_version),
        ("host", host),
        ("cwd", cwd),
        ("repository", repository),
        ("branch", branch),
        ("worktree", worktree),
        ("share_url", share_url),
    ];
    for (name, value) in others.iter().chain(&[("project", project), ("vendor", vendor)]) {
        if value.len() > FACT_BYTES_MAX {
            return Err(Fault::bytes(format!("{field}.{name}"), value.len(), FACT_BYTES_MAX));
        }
    }
    let mut other: Vec<Fact> = others
        .iter()
        .filter_map(|(name, value)| Some(((*name).into(), taken(name, value)?)))
        .collect();
    if mask.takes("labels", !labels.is_empty()) {
        other.push(("labels".into(), encode_labels(field, labels)?.into()));
    }
    Ok(SessionFacts {
        title: taken("title", title),
        project: taken("project", &normal_project(project)),
        vendor: taken("vendor", &normal_vendor(vendor)),
        parent: None,
        other,
    })
}

fn encode_labels(field: &str, labels: &std::collections::HashMap<String, String>) -> Result<String, Fault> {
    let too_long = |(key, value): (&String, &String)| {
        key.chars().count() > LABEL_KEY_CHARS_MAX || value.chars().count() > LABEL_VALUE_CHARS_MAX
    };
    if labels.len() > LABELS_MAX || labels.iter().any(too_long) {
        let limits = format!(
            "are too many or too long; give at most {LABELS_MAX}, keys of at most {LABEL_KEY_CHARS_MAX} and values of at most {LABEL_VALUE_CHARS_MAX} characters"
        );
        return Err(Fault::new(format!("{field}.labels"), limits)
            .with("limit", LABELS_MAX)
            .with("key_limit", LABEL_KEY_CHARS_MAX)
            .with("value_limit", LABEL_VALUE_CHARS_MAX));
    }
    if labels.is_empty() {
        return Ok(String::new());
    }
    let sorted: std::collections::BTreeMap<_, _> = labels.iter().collect();
    serde_json::to_string(&sorted)
        .map_err(|error| Fault::new(format!("{field}.labels"), format!("cannot be kept: {error}")).with("cause", error))
}

/// A fact's name and its text.
type Fact = (Arc<str>, Arc<str>);

/// Reads a session's set-up, which is kept whole among its facts. `prefix` (for instance `event.session_opened.`) goes before the
/// fields' names.
///
/// # Errors
/// Names the part that is too long.
pub fn parse_setup(
    prefix: &str,
    config: Option<&v1::SessionConfig>,
    capabilities: Option<&v1::SessionCapabilities>,
) -> Result<Vec<Fact>, Fault> {
    let mut whole = Vec::new();
    if let Some(config) = config {
        let advice = "shorten available_models or available_commands";
        whole.push(keep(prefix, "config", config, CONFIG_BYTES_MAX, advice)?);
    }
    if let Some(capabilities) = capabilities {
        let advice = "name each kind and each scope once";
        whole.push(keep(
            prefix,
            "capabilities",
            capabilities,
            CAPABILITIES_BYTES_MAX,
            advice,
        )?);
    }
    Ok(whole)
}

/// A message as text, because facts are text.
fn keep<M: Message>(prefix: &str, name: &str, message: &M, limit: usize, advice: &str) -> Result<Fact, Fault> {
    let bytes = message.encoded_len();
    if bytes > limit {
        let problem = format!("has {bytes} bytes; give at most {limit}: {advice}");
        return Err(Fault::new(format!("{prefix}{name}"), problem)
            .with("bytes", bytes)
            .with("limit", limit));
    }
    Ok((name.into(), STANDARD_NO_PAD.encode(message.encode_to_vec()).into()))
}

/// A message that is kept whole; none where there is none.
#[must_use]
pub fn kept<M: Message + Default>(facts: &SessionFacts, name: &str) -> Option<M> {
    let bytes = STANDARD_NO_PAD.decode(facts.other(name)?).ok()?;
    M::decode(bytes.as_slice()).ok()
}

/// The facts of a row as the contract has them.
#[must_use]
pub fn facts_row(facts: &SessionFacts) -> v1::SessionFacts {
    let text = |fact: &Option<Arc<str>>| fact.as_deref().unwrap_or_default().to_owned();
    let other = |name| facts.other(name).unwrap_or_default().to_owned();
    v1::SessionFacts {
        title: text(&facts.title),
        project: text(&facts.project),
        vendor: text(&facts.vendor),
        agent: other("agent"),
        agent_version: other("agent_version"),
        host: other("host"),
        cwd: other("cwd"),
        repository: other("repository"),
        branch: other("branch"),
        worktree: other("worktree"),
        share_url: other("share_url"),
        labels: facts
            .other("labels")
            .and_then(|labels| serde_json::from_str(labels).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_decides_what_is_set_and_what_is_cleared() {
        let facts = v1::SessionFacts {
            title: "t".into(),
            branch: String::new(),
            ..v1::SessionFacts::default()
        };
        let populated = parse_facts("facts", &facts, &Mask::Populated).unwrap();
        assert_eq!((populated.title.as_deref(), populated.other.len()), (Some("t"), 0));
        let mask = prost_types::FieldMask {
            paths: vec!["facts.branch".into()],
        };
        let named = Mask::parse("update_mask", "facts.", Some(&mask)).unwrap();
        let cleared = parse_facts("facts", &facts, &named).unwrap();
        assert_eq!((cleared.title, cleared.other.len()), (None, 1));
        let bad = prost_types::FieldMask {
            paths: vec!["state.chip".into()],
        };
        assert_eq!(
            Mask::parse("update_mask", "facts.", Some(&bad)).unwrap_err().field,
            "update_mask"
        );
    }

    #[test]
    fn facts_that_are_too_long_are_named() {
        let long = v1::SessionFacts {
            cwd: "x".repeat(4097),
            ..v1::SessionFacts::default()
        };
        assert_eq!(
            parse_facts("facts", &long, &Mask::Populated).unwrap_err().field,
            "facts.cwd"
        );
        let long = v1::SessionFacts {
            title: "ä".repeat(1025),
            ..v1::SessionFacts::default()
        };
        assert_eq!(
            parse_facts("facts", &long, &Mask::Populated).unwrap_err().field,
            "facts.title"
        );
    }

    #[test]
    fn a_set_up_that_would_swell_its_row_is_named() {
        let config = |bytes: usize| v1::SessionConfig {
            model: "m".repeat(bytes),
            ..v1::SessionConfig::default()
        };
        // A tag and a length of three bytes before the text.
        let (largest, too_large) = (config(CONFIG_BYTES_MAX - 4), config(CONFIG_BYTES_MAX - 3));
        assert_eq!(parse_setup("", Some(&largest), None).unwrap().len(), 1);
        let fault = parse_setup("event.session_opened.", Some(&too_large), None).unwrap_err();
        assert_eq!(fault.field, "event.session_opened.config");
        assert!(fault.problem.contains("available_models"), "{fault:?}");
        assert_eq!(
            fault.metadata,
            [("bytes", "61441".to_owned()), ("limit", "61440".to_owned())]
        );
        let repeated = v1::SessionCapabilities {
            grant_scopes: vec![1; CAPABILITIES_BYTES_MAX],
            ..v1::SessionCapabilities::default()
        };
        let fault = parse_setup("", None, Some(&repeated)).unwrap_err();
        assert_eq!(fault.field, "capabilities");
    }
}
