//! The key that calls carry, which may change while streams are open.
//!
//! The one thing to believe: there is one key for a client and all of its clones, and each call carries the one that is newest when it is
//! sent. What must do something about a new one is woken.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::metadata::{Ascii, MetadataValue};

use super::unusable;
use crate::error::Result;

/// Puts the key onto every call.
#[derive(Clone)]
pub struct Credential {
    // The other holders are the clones: of the client, its transports and its streams.
    newest: Arc<watch::Sender<Key>>,
}

#[derive(Clone)]
struct Key {
    /// Which one in a row it is.
    number: u64,
    authorization: Option<MetadataValue<Ascii>>,
}

/// Hears of new keys.
#[derive(Debug)]
pub(crate) struct KeyChanges {
    newest: watch::Receiver<Key>,
}

impl Credential {
    pub(super) fn parse(key: Option<&str>) -> Result<Credential> {
        let authorization = key.map(authorization).transpose()?;
        let first = Key {
            number: 0,
            authorization,
        };
        Ok(Credential {
            newest: Arc::new(watch::Sender::new(first)),
        })
    }

    pub(super) fn replace(&self, key: &str) -> Result<()> {
        let authorization = Some(authorization(key)?);
        self.newest.send_modify(|newest| {
            newest.number += 1;
            newest.authorization = authorization;
        });
        Ok(())
    }

    pub(crate) fn changes(&self) -> KeyChanges {
        KeyChanges {
            newest: self.newest.subscribe(),
        }
    }
}

impl KeyChanges {
    /// Which key in a row is the newest.
    pub(crate) fn number(&self) -> u64 {
        self.newest.borrow().number
    }

    /// Waits for another key. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.newest.changed().await.is_err() {
            // No client is left that could change it.
            std::future::pending::<()>().await;
        }
    }
}

fn authorization(key: &str) -> Result<MetadataValue<Ascii>> {
    let mut authorization = MetadataValue::try_from(format!("Bearer {}", key.trim()))
        .map_err(|_| unusable("key", "it has characters that no key has; copy it again"))?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl tonic::service::Interceptor for Credential {
    fn call(&mut self, mut request: tonic::Request<()>) -> std::result::Result<tonic::Request<()>, tonic::Status> {
        if let Some(authorization) = &self.newest.borrow().authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}
