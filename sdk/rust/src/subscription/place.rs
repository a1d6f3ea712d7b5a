//! The application's place in a stream: what was handed out, and what of it is saved.
//!
//! The one thing to believe: a resume token is saved only after the application has asked for what follows it, or has said so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::watchdog::Moment;
use crate::error::{Error, Result};
use crate::resume_token_store::ResumeTokenStore;

/// Where the application is, and where that is kept.
#[derive(Debug)]
pub(super) struct Place {
    store: Option<Arc<dyn ResumeTokenStore>>,
    save_interval: Duration,
    // Held for a copy only, never over an await.
    tokens: Mutex<Tokens>,
}

#[derive(Debug, Default)]
struct Tokens {
    handed_out: Option<String>,
    /// The newest that was saved, or that could not be: a failing store is told once for each.
    saved: Option<String>,
    last_save: Option<Moment>,
}

impl Place {
    pub(super) fn new(store: Option<Arc<dyn ResumeTokenStore>>, save_interval: Duration) -> Place {
        Place {
            store,
            save_interval,
            tokens: Mutex::default(),
        }
    }

    pub(super) async fn load(&self) -> Result<Option<String>> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let loaded = store.load().await.map_err(failed)?;
        self.tokens().saved.clone_from(&loaded);
        Ok(loaded)
    }

    pub(super) fn handed_out(&self) -> Option<String> {
        self.tokens().handed_out.clone()
    }

    pub(super) fn hand_out(&self, resume_token: &str) {
        self.tokens().handed_out = Some(resume_token.to_owned());
    }

    /// The application asks for the next frame.
    pub(super) async fn taken(&self, now: Moment) -> Result<()> {
        let early = self
            .tokens()
            .last_save
            .is_some_and(|last| now.machine.saturating_duration_since(last.machine) < self.save_interval);
        if early { Ok(()) } else { self.save(now).await }
    }

    /// The application says that it has taken the last frame.
    pub(super) async fn acknowledge(&self) -> Result<()> {
        self.save(Moment::now()).await
    }

    async fn save(&self, now: Moment) -> Result<()> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let resume_token = {
            let mut tokens = self.tokens();
            if tokens.handed_out == tokens.saved {
                return Ok(());
            }
            let resume_token = tokens.handed_out.clone();
            tokens.saved.clone_from(&resume_token);
            tokens.last_save = Some(now);
            resume_token
        };
        match resume_token {
            Some(resume_token) => store.save(resume_token).await.map_err(failed),
            None => Ok(()),
        }
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::ResumeTokenStore(Arc::new(error))
}
