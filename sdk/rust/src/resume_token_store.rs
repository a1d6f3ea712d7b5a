//! Where an application keeps its place between two runs.
//!
//! The one thing to believe: what is in the store is never ahead of the application. A [`Subscription`](crate::Subscription)
//! saves a frame's resume token once the application has asked for the next frame, or called `acknowledge`.

mod file;

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

pub use file::FileResumeTokenStore;

/// Keeps the newest resume token of one stream. Two streams need two stores.
pub trait ResumeTokenStore: fmt::Debug + Send + Sync {
    /// The newest resume token that was saved. `None`: none ever was.
    ///
    /// # Errors
    /// Whatever the store's own are. The stream then ends before it begins, so as not to start at the wrong place.
    fn load(&self) -> BoxFuture<'_, io::Result<Option<String>>>;

    /// Replaces the resume token, wholly or not at all.
    ///
    /// # Errors
    /// Whatever the store's own are. The stream tells so and goes on.
    fn save(&self, resume_token: String) -> BoxFuture<'_, io::Result<()>>;
}

/// Keeps the resume token in memory: for tests, and for streams that are taken up again within one process.
#[derive(Debug, Default)]
pub struct MemoryResumeTokenStore {
    // Held for a copy only, never over an await.
    resume_token: Mutex<Option<String>>,
}

impl MemoryResumeTokenStore {
    /// Holds nothing yet.
    #[must_use]
    pub fn new() -> MemoryResumeTokenStore {
        MemoryResumeTokenStore::default()
    }

    /// What it holds now.
    #[must_use]
    pub fn resume_token(&self) -> Option<String> {
        self.resume_token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResumeTokenStore for MemoryResumeTokenStore {
    fn load(&self) -> BoxFuture<'_, io::Result<Option<String>>> {
        Box::pin(async { Ok(self.resume_token()) })
    }

    fn save(&self, resume_token: String) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            *self.resume_token.lock().unwrap_or_else(PoisonError::into_inner) = Some(resume_token);
            Ok(())
        })
    }
}
