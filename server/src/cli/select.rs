//! Which events: the flags that `tail` and `history` share.
//!
//! Believe this: the same flags make the same interests in both, so a resume file of one goes on in the other without a reset.

use bellboard_sdk::interest::{self, Detailed as _};
use bellboard_sdk::v1::{self, EventFamily, Interest};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Which events.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// The sessions; all of them when none is named, and no project or vendor either
    #[arg(value_name = "SESSION")]
    sessions: Vec<String>,
    /// The sessions below the named ones too
    #[arg(long, requires = "sessions")]
    with_descendants: bool,
    /// The sessions of this project: a path or a repository's URL. May be repeated
    #[arg(long = "project", value_name = "PROJECT")]
    projects: Vec<String>,
    /// The sessions of this vendor. May be repeated
    #[arg(long = "vendor", value_name = "VENDOR")]
    vendors: Vec<String>,
    /// Only events of these families; several with commas
    #[arg(long = "family", value_name = "FAMILY", value_delimiter = ',', value_parser = families())]
    families: Vec<EventFamily>,
    /// How much of them
    #[arg(long, value_enum, default_value_t = Detail::Live)]
    detail: Detail,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Detail {
    /// What a list needs: the families session, ask, attention and command.
    Summary,
    /// All events that are stored.
    Content,
    /// Text while it is said, too.
    Live,
}

/// The families by their names on the command line.
const FAMILIES: [&str; 15] = [
    "session",
    "connector",
    "input",
    "turn",
    "message",
    "reasoning",
    "tool",
    "ask",
    "subagent",
    "background",
    "work",
    "health",
    "attention",
    "command",
    "vendor",
];

fn families() -> impl TypedValueParser<Value = EventFamily> {
    PossibleValuesParser::new(FAMILIES).try_map(|name| {
        let name = format!("EVENT_FAMILY_{}", name.to_uppercase());
        EventFamily::from_str_name(&name).ok_or("is no family of this build")
    })
}

impl Args {
    /// As the contract has them.
    pub(super) fn interests(&self) -> Vec<Interest> {
        let session = if self.with_descendants {
            interest::tree
        } else {
            interest::session
        };
        let sessions = self.sessions.iter().map(session);
        let projects = self.projects.iter().map(interest::project);
        let vendors = self.vendors.iter().map(interest::vendor);
        let mut interests: Vec<Interest> = sessions.chain(projects).chain(vendors).collect();
        if interests.is_empty() {
            interests.push(interest::all());
        }
        let detail = match self.detail {
            Detail::Summary => v1::Detail::Summary,
            Detail::Content => v1::Detail::Content,
            Detail::Live => v1::Detail::Live,
        };
        let families: Vec<i32> = self.families.iter().map(|family| i32::from(*family)).collect();
        let settled = interests.into_iter().map(|interest| Interest {
            families: families.clone(),
            ..interest.detailed(detail)
        });
        settled.collect()
    }
}

#[cfg(test)]
mod tests {
    use bellboard_sdk::v1::interest::Selector;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn interests(typed: &str) -> Vec<Interest> {
        let words = std::iter::once("tail").chain(typed.split_whitespace());
        Typed::parse_from(words).args.interests()
    }

    #[test]
    fn nothing_typed_is_everything_live() {
        assert_eq!(interests(""), [interest::all().live()]);
    }

    #[test]
    fn each_name_is_an_interest_of_its_own() {
        let some = interests("a b --project /p --vendor v --detail content --family message,tool");
        assert_eq!(some.len(), 4);
        for interest in &some {
            assert_eq!(interest.detail(), v1::Detail::Content);
            assert_eq!(
                interest.families().collect::<Vec<_>>(),
                [EventFamily::Message, EventFamily::Tool]
            );
        }
        let tree = interests("a --with-descendants");
        assert!(matches!(&tree[0].selector, Some(Selector::Session(session)) if session.with_descendants));
    }

    #[test]
    fn every_family_has_a_name_and_no_other_is_taken() {
        for family in FAMILIES {
            assert_ne!(interests(&format!("--family {family}"))[0].families, [0]);
        }
        assert!(
            EventFamily::try_from(16).is_err(),
            "a family of this contract has no name here"
        );
        for wrong in ["--family gossip", "--with-descendants"] {
            assert!(
                Typed::try_parse_from(std::iter::once("tail").chain(wrong.split(' '))).is_err(),
                "{wrong}"
            );
        }
    }
}
