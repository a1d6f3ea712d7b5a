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

/// One thing that is said.
#[derive(Clone, Debug)]
pub enum Control {
    /// A later stream of the same client took its place: it ends.
    Replaced,
    /// From here on this is what may end it, in place of the credential that it has.
    Credential(Credential),
}

impl Control {
    /// Whether only the newest of its kind counts, so that one that was not read yet is forgotten.
    const fn supersedes(&self) -> bool {
        match self {
            Control::Replaced | Control::Credential(_) => true,
        }
    }
}

/// The stream reads so slowly that what was said before is still unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{max} changes of this stream wait to be taken; read its frames, then try again", max = limits::CONTROLS_MAX)]
pub struct Full;

/// What was said to one stream and not yet heard.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// At most [`limits::CONTROLS_MAX`] and one of each kind that supersedes. Held for one look or one insertion.
    unread: Mutex<VecDeque<Control>>,
    /// Holds one permit, so that what is posted between a look and a wait is not lost.
    bell: Notify,
}

impl Mailbox {
    /// Says something to the stream. It is heard before the next frame that is decided; a stream that ended meanwhile hears nothing.
    ///
    /// # Errors
    /// [`Full`], for what does not supersede its like.
    pub fn post(&self, control: Control) -> Result<(), Full> {
        {
            let mut unread = self.unread();
            if control.supersedes() {
                unread.retain(|earlier| discriminant(earlier) != discriminant(&control));
            } else if unread.iter().filter(|earlier| !earlier.supersedes()).count() >= limits::CONTROLS_MAX {
                return Err(Full);
            }
            unread.push_back(control);
        }
        self.bell.notify_one();
        Ok(())
    }

    /// The oldest that was not heard yet.
    pub(super) fn take(&self) -> Option<Control> {
        self.unread().pop_front()
    }

    /// Waits until something was posted. Cancel safe.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn unread(&self) -> MutexGuard<'_, VecDeque<Control>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::standing::Standing;
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
}
