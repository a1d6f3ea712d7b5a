//! What is said to an open stream from outside.
//!
//! Believe this: a mailbox is bounded, and the stream looks into it before each frame and before anything else that may end it. Whoever
//! posted before a frame was decided has been heard by that frame.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits;
use crate::subscription::standing::Credential;
use crate::subscription::updating::Update;

/// One thing that is said.
#[derive(Clone, Debug)]
pub enum Control {
    /// A later stream of the same client took its place: it ends.
    Replaced,
    /// From here on this is what may end it, in place of the credential that it has.
    Credential(Credential),
    /// From here on it is of other interests.
    Interests(Update),
}

impl Control {
    /// Whether only the newest of its kind counts, so that one that was not read yet is forgotten.
    const fn supersedes(&self) -> bool {
        match self {
            Control::Replaced | Control::Credential(_) | Control::Interests(_) => true,
        }
    }
}

/// The stream reads so slowly that what was said before is still unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{max} changes of this stream wait to be taken; read its frames, then try again", max = limits::CONTROLS_MAX)]
pub struct Full;

/// The stream ends once the sessions that it selects are closed, so it must select sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("are of a stream that ends when its sessions are closed; select sessions only")]
pub struct NotSessions;

/// What was said to one stream and not yet heard.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// Held for one look or one insertion.
    state: Mutex<State>,
    /// Holds one permit, so that what is posted between a look and a wait is not lost.
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// At most [`limits::CONTROLS_MAX`] and one of each kind that supersedes.
    unread: VecDeque<Control>,
    /// The newest change of interests that was taken.
    revision: u64,
    /// What interests it may be changed to.
    selectors: Selectors,
}

/// Which selectors the interests of a stream may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selectors {
    /// All that there are.
    #[default]
    Any,
    /// Those of sessions.
    Sessions,
}

impl Mailbox {
    /// Says something to the stream. It is heard before the next frame that is decided; a stream that ended meanwhile hears nothing.
    ///
    /// # Errors
    /// [`Full`], for what does not supersede its like.
    pub fn post(&self, control: Control) -> Result<(), Full> {
        self.state().post(control)?;
        self.bell.notify_one();
        Ok(())
    }

    /// Asks for other interests, unless a newer change was asked for before. Tells the newest one.
    ///
    /// # Errors
    /// [`NotSessions`], where the stream may not come to these interests.
    pub fn update(&self, update: Update) -> Result<u64, NotSessions> {
        let newest = {
            let mut state = self.state();
            if state.selectors == Selectors::Sessions && !update.interests.select_sessions() {
                return Err(NotSessions);
            }
            if update.revision <= state.revision {
                return Ok(state.revision);
            }
            state.revision = update.revision;
            // It supersedes: never an error.
            let _ = state.post(Control::Interests(update));
            state.revision
        };
        self.bell.notify_one();
        Ok(newest)
    }

    /// From now on takes only such interests.
    pub(super) fn allow(&self, selectors: Selectors) {
        self.state().selectors = selectors;
    }

    /// The oldest that was not heard yet.
    pub(super) fn take(&self) -> Option<Control> {
        self.state().unread.pop_front()
    }

    /// Waits until something was posted. Cancel safe.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn post(&mut self, control: Control) -> Result<(), Full> {
        let unread = &mut self.unread;
        if control.supersedes() {
            unread.retain(|earlier| discriminant(earlier) != discriminant(&control));
        } else if unread.iter().filter(|earlier| !earlier.supersedes()).count() >= limits::CONTROLS_MAX {
            return Err(Full);
        }
        unread.push_back(control);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interest::{Detail, Selector};
    use crate::subscription::standing::Standing;
    use crate::testing::{interests, only};
    use tokio::sync::watch;

    #[tokio::test]
    async fn of_what_supersedes_only_the_newest_is_kept() {
        let mailbox = Mailbox::default();
        let credentials: Vec<_> = (0..100).map(|_| watch::channel(Standing::Good)).collect();
        for (_, credential) in &credentials {
            mailbox.post(Control::Credential(credential.clone())).unwrap();
        }
        mailbox.post(Control::Replaced).unwrap();
        crate::testing::within(mailbox.rung()).await;
        let Some(Control::Credential(kept)) = mailbox.take() else {
            panic!("the credential was to come first")
        };
        let (newest, _) = credentials.last().unwrap();
        assert!(kept.same_channel(&newest.subscribe()));
        assert!(matches!(mailbox.take(), Some(Control::Replaced)));
        assert!(mailbox.take().is_none());
    }

    fn update(revision: u64, selector: Selector) -> Update {
        Update {
            revision,
            interests: interests([(selector, Detail::Live)]),
        }
    }

    #[test]
    fn of_changes_the_newest_revision_is_taken_in_whatever_order_they_come() {
        let mailbox = Mailbox::default();
        for (revision, newest) in [(2, 2), (5, 5), (3, 5), (5, 5), (u64::MAX, u64::MAX), (1, u64::MAX)] {
            let asked = update(revision, only(&format!("s{revision}")));
            assert_eq!(mailbox.update(asked), Ok(newest), "revision {revision}");
        }
        let Some(Control::Interests(taken)) = mailbox.take() else {
            panic!("a change was to come")
        };
        assert_eq!(
            taken.interests,
            interests([(only(&format!("s{}", u64::MAX)), Detail::Live)])
        );
        assert!(mailbox.take().is_none(), "the others were overtaken");
        assert_eq!(
            mailbox.update(update(7, only("late"))),
            Ok(u64::MAX),
            "also once it was heard"
        );
        assert!(mailbox.take().is_none());
    }

    #[test]
    fn a_stream_that_ends_with_its_sessions_goes_on_selecting_sessions() {
        let mailbox = Mailbox::default();
        mailbox.allow(Selectors::Sessions);
        assert_eq!(mailbox.update(update(1, Selector::All)), Err(NotSessions));
        assert!(mailbox.take().is_none());
        assert_eq!(
            mailbox.update(update(1, only("s"))),
            Ok(1),
            "what was refused took no revision"
        );
    }
}
