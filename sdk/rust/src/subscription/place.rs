//! The application's place in a stream: what was handed out, and what of it is saved.
//!
//! The one thing to believe: a resume token is saved only after the application has asked for what follows it, or has said so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::watchdog::Moment;
use crate::error::{Error, Result};
use crate::resume_token_store::ResumeTokenStore;

/// Shared by a subscription, its follower and its redialers.
#[derive(Debug)]
pub(super) struct Shared {
    store: Option<Arc<dyn ResumeTokenStore>>,
    save_interval: Duration,
    // Held for a copy only, never over an await.
    place: Mutex<Place>,
    /// Rung by a redialer, heard by the follower.
    pub(super) redial: Notify,
}

#[derive(Debug, Default)]
struct Place {
    handed_out: Option<String>,
    /// The newest that was saved, or that could not be: a failing store is told once for each.
    saved: Option<String>,
    last_save: Option<Moment>,
}

impl Shared {
    pub(super) fn new(store: Option<Arc<dyn ResumeTokenStore>>, save_interval: Duration) -> Shared {
        Shared {
            store,
            save_interval,
            place: Mutex::default(),
            redial: Notify::new(),
        }
    }

    pub(super) async fn load(&self) -> Result<Option<String>> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let loaded = store.load().await.map_err(failed)?;
        self.place().saved.clone_from(&loaded);
        Ok(loaded)
    }

    pub(super) fn handed_out(&self) -> Option<String> {
        self.place().handed_out.clone()
    }

    pub(super) fn hand_out(&self, resume_token: &str) {
        self.place().handed_out = Some(resume_token.to_owned());
    }

    /// The application asks for the next frame.
    pub(super) async fn taken(&self, now: Moment) -> Result<()> {
        let early = self
            .place()
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
            let mut place = self.place();
            if place.handed_out == place.saved {
                return Ok(());
            }
            let resume_token = place.handed_out.clone();
            place.saved.clone_from(&resume_token);
            place.last_save = Some(now);
            resume_token
        };
        match resume_token {
            Some(resume_token) => store.save(resume_token).await.map_err(failed),
            None => Ok(()),
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::ResumeTokenStore(Arc::new(error))
}
