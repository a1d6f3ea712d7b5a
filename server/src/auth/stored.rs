//! Keys as the store has them: how one is made, and how rows are understood.
//!
//! Believe this: a row that this version cannot understand opens nothing, and of a row with unknown scopes only the known ones count.

use async_trait::async_trait;
use bellboard_core::access::{Principal, Scope, Scopes};
use bellboard_core::id::{PrincipalId, TenantId};
use bellboard_core::offset::Time;
use bellboard_core::store;

use super::key::{self, Key};
use super::keys::{Known, Source};
use crate::store::{ApiKey, ApiKeys};

/// Why no key was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] key::Error),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whose it is, and what it allows.
    pub principal: Principal,
    /// A remark for the list; may be empty.
    pub label: String,
    /// When it expires; none for never.
    pub expire_time: Option<Time>,
}

/// Makes a key and stores what is kept of it. The answer is the only place where its text stands.
///
/// # Errors
/// See [`Error`]; then there is no such key.
pub async fn create(api_keys: &ApiKeys, wish: Wish, now: Time) -> Result<Key, Error> {
    let key = key::generate()?;
    let Principal { tenant, id, scopes } = wish.principal;
    let row = ApiKey {
        id: key.id.clone(),
        hash: key.hash.to_vec(),
        tenant: tenant.as_str().to_owned(),
        principal: id.as_str().to_owned(),
        scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        label: wish.label,
        created: now,
        expires: wish.expire_time,
        revoked: None,
    };
    api_keys.insert(row).await?;
    Ok(key)
}

/// What a row means; none when it was revoked, or is not understood.
#[must_use]
pub fn understand(row: &ApiKey) -> Option<Known> {
    if row.revoked.is_some() {
        return None;
    }
    Some(Known {
        id: row.id.clone(),
        hash: row.hash.as_slice().try_into().ok()?,
        principal: Principal {
            tenant: TenantId::parse(&row.tenant).ok()?,
            id: PrincipalId::parse(&row.principal).ok()?,
            scopes: scopes(row),
        },
        expire_time: row.expires,
    })
}

/// The scopes of a row that this version knows.
#[must_use]
pub fn scopes(row: &ApiKey) -> Scopes {
    row.scopes.iter().filter_map(|name| Scope::parse(name)).collect()
}

#[async_trait]
impl Source for ApiKeys {
    async fn keys(&self) -> Result<Vec<Known>, store::Error> {
        Ok(self.all().await?.iter().filter_map(understand).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ApiKey {
        ApiKey {
            id: "a1".to_owned(),
            hash: vec![7; 32],
            tenant: "default".to_owned(),
            principal: "ada".to_owned(),
            scopes: vec!["read".to_owned(), "fly".to_owned()],
            label: String::new(),
            created: Time(1),
            expires: Some(Time(2)),
            revoked: None,
        }
    }

    #[test]
    fn only_what_is_understood_opens_anything() {
        let known = understand(&row()).unwrap();
        assert_eq!(known.principal.scopes, Scopes::from_iter([Scope::Read]));
        assert_eq!(known.expire_time, Some(Time(2)));
        let spoil: [fn(&mut ApiKey); 4] = [
            |row| row.revoked = Some(Time(1)),
            |row| row.hash.truncate(31),
            |row| row.tenant.clear(),
            |row| row.principal = "a b".to_owned(),
        ];
        for spoil in spoil {
            let mut row = row();
            spoil(&mut row);
            assert_eq!(understand(&row), None, "{row:?}");
        }
    }

    #[tokio::test]
    async fn a_key_is_found_in_the_store_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let api_keys = ApiKeys::open(dir.path()).await.unwrap();
        let principal = understand(&row()).unwrap().principal;
        let wish = Wish {
            principal: principal.clone(),
            label: "laptop".to_owned(),
            expire_time: Some(Time(9)),
        };
        let key = create(&api_keys, wish, Time(5)).await.unwrap();
        let known = Known {
            id: key.id.clone(),
            hash: key.hash,
            principal,
            expire_time: Some(Time(9)),
        };
        assert_eq!(api_keys.keys().await.unwrap(), [known]);
        assert!(api_keys.revoke(&key.id, Time(6)).await.unwrap());
        assert_eq!(api_keys.keys().await.unwrap(), []);
    }
}
