//! Sessions between the wire and the core: names, keys, facts, rows.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bellboard_core::event::SessionRef;
use bellboard_core::id::SessionId;
use bellboard_core::session::{Lifecycle, Session, SessionFacts, SessionKey, normal_project};
use bellboard_proto::v1;
use prost::Message;

use crate::wire::encode::{session_key, timestamp};

/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 1024;
/// Longest other fact, in bytes: a path.
const FACT_BYTES_MAX: usize = 4096;
/// Most labels of a session, and the longest key and value in characters.
const LABELS_MAX: usize = 64;
const LABEL_KEY_CHARS_MAX: usize = 63;
const LABEL_VALUE_CHARS_MAX: usize = 256;

/// A field at fault, and what is wrong with it, worded to follow the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, with dots.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Fault {
    /// A fault of a field.
    pub fn new(field: impl Into<String>, problem: impl std::fmt::Display) -> Fault {
        Fault {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

/// Reads the name of a session.
///
/// # Errors
/// Names the part at fault below `field`.
pub fn parse_ref(field: &str, session: Option<&v1::SessionRef>) -> Result<SessionRef, Fault> {
    match session.and_then(|session| session.r#ref.as_ref()) {
        None => Err(Fault::new(field, "is missing; name the session by session_id or key")),
        Some(v1::session_ref::Ref::SessionId(id)) => Ok(SessionRef::Id(parse_id(&format!("{field}.session_id"), id)?)),
        Some(v1::session_ref::Ref::Key(key)) => Ok(SessionRef::Key(parse_key(&format!("{field}.key"), key)?)),
    }
}

/// Reads a session's id.
///
/// # Errors
/// Names the field and what is wrong.
pub fn parse_id(field: &str, id: &str) -> Result<SessionId, Fault> {
    SessionId::parse(id).map_err(|error| Fault::new(field, error))
}

/// Reads and normalises a session's key.
///
/// # Errors
/// Names the part at fault below `field`.
pub fn parse_key(field: &str, key: &v1::SessionKey) -> Result<SessionKey, Fault> {
    let v1::SessionKey {
        vendor,
        installation,
        project,
        native_id,
    } = key;
    SessionKey::parse(vendor, installation, project, native_id).map_err(|error| Fault::new(field, format!(": {error}")))
}

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
                false => Err(Fault::new(
                    field,
                    format!(
                        "has the path {path:?}, which cannot be set; use one of {prefix}{{{}}}",
                        FACTS.join(",")
                    ),
                )),
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
        return Err(Fault::new(
            format!("{field}.title"),
            format!("is longer than {TITLE_CHARS_MAX} characters; shorten it"),
        ));
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
            return Err(Fault::new(
                format!("{field}.{name}"),
                format!("is longer than {FACT_BYTES_MAX} bytes; shorten it"),
            ));
        }
    }
    let mut other: Vec<(Arc<str>, Arc<str>)> = others
        .iter()
        .filter_map(|(name, value)| Some(((*name).into(), taken(name, value)?)))
        .collect();
    if mask.takes("labels", !labels.is_empty()) {
        other.push(("labels".into(), encode_labels(field, labels)?.into()));
    }
    Ok(SessionFacts {
        title: taken("title", title),
        project: taken("project", &normal_project(project)),
        vendor: taken("vendor", vendor),
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
        return Err(Fault::new(format!("{field}.labels"), limits));
    }
    if labels.is_empty() {
        return Ok(String::new());
    }
    let sorted: std::collections::BTreeMap<_, _> = labels.iter().collect();
    serde_json::to_string(&sorted).map_err(|error| Fault::new(format!("{field}.labels"), error))
}

/// A message kept whole among a session's facts: text, because facts are text.
pub fn kept_whole<M: Message>(name: &str, message: Option<&M>) -> Option<(Arc<str>, Arc<str>)> {
    Some((name.into(), STANDARD_NO_PAD.encode(message?.encode_to_vec()).into()))
}

fn whole<M: Message + Default>(facts: &SessionFacts, name: &str) -> Option<M> {
    let bytes = STANDARD_NO_PAD.decode(facts.other(name)?).ok()?;
    M::decode(bytes.as_slice()).ok()
}

/// A session's row as the contract has it. What the board will compute (state beyond lifecycle, totals, owner) is left unset.
#[must_use]
pub fn row(session: &Session) -> v1::Session {
    let facts = &session.facts;
    let lifecycle = match session.lifecycle {
        Lifecycle::Live => v1::Lifecycle::Live,
        Lifecycle::Closed => v1::Lifecycle::Closed,
    };
    v1::Session {
        session_id: session.id.to_string(),
        root_session_id: session.root().to_string(),
        parent_session_id: session.parent().map(ToString::to_string).unwrap_or_default(),
        key: session.key.as_ref().map(session_key),
        facts: Some(facts_row(facts)),
        config: whole(facts, "config"),
        capabilities: whole(facts, "capabilities"),
        life: session.life,
        state: Some(v1::SessionState {
            lifecycle: lifecycle.into(),
            archived: session.archived,
            ..v1::SessionState::default()
        }),
        totals: None,
        event_count: session.next_index.0,
        trimmed_until: 0,
        last_offset: Some(session.last_offset.0),
        create_time: Some(timestamp(session.created)),
        update_time: Some(timestamp(session.updated)),
        close_time: session.closed.map(timestamp),
        merged_into_session_id: String::new(),
        owner: None,
    }
}

fn facts_row(facts: &SessionFacts) -> v1::SessionFacts {
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
}
