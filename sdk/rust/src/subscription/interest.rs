//! Makes interests: what a subscriber wants.
//!
//! The one thing to believe: each begins at CONTENT, all durable events; [`Detailed`] asks for less or more.
//!
//! ```
//! use bellboard_sdk::interest::{self, Detailed as _};
//!
//! // A board: what a list needs of all, and everything of the session on the screen.
//! let interests = [interest::all().summary(), interest::tree("s-1").live()];
//! # assert_eq!(interests.len(), 2);
//! ```

use bellboard_proto::v1::interest::Selector;
use bellboard_proto::v1::{AllSelector, Detail, Interest, ProjectSelector, SessionSelector, VendorSelector};

/// All sessions that the key may see.
#[must_use]
pub fn all() -> Interest {
    content(Selector::All(AllSelector {}))
}

/// The sessions of a project.
#[must_use]
pub fn project(project: impl Into<String>) -> Interest {
    content(Selector::Project(ProjectSelector {
        project: project.into(),
    }))
}

/// The sessions of a vendor.
#[must_use]
pub fn vendor(vendor: impl Into<String>) -> Interest {
    content(Selector::Vendor(VendorSelector { vendor: vendor.into() }))
}

/// One session.
#[must_use]
pub fn session(session_id: impl Into<String>) -> Interest {
    content(Selector::Session(SessionSelector {
        session_id: session_id.into(),
        with_descendants: false,
    }))
}

/// A session and all below it.
#[must_use]
pub fn tree(session_id: impl Into<String>) -> Interest {
    content(Selector::Session(SessionSelector {
        session_id: session_id.into(),
        with_descendants: true,
    }))
}

/// How much of what an interest selects.
pub trait Detailed: Sized {
    /// With this detail.
    #[must_use]
    fn detailed(self, detail: Detail) -> Self;

    /// Only what a list needs: the families session, ask, attention and command.
    #[must_use]
    fn summary(self) -> Self {
        self.detailed(Detail::Summary)
    }

    /// Deltas too.
    #[must_use]
    fn live(self) -> Self {
        self.detailed(Detail::Live)
    }
}

impl Detailed for Interest {
    fn detailed(mut self, detail: Detail) -> Interest {
        self.set_detail(detail);
        self
    }
}

fn content(selector: Selector) -> Interest {
    Interest {
        selector: Some(selector),
        families: Vec::new(),
        detail: Detail::Content.into(),
    }
}
