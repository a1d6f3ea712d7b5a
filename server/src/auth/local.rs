//! `local.key`: the key that the owner of the data folder has without asking.
//!
//! Believe this: whoever can read this file is the owner, because nobody else can. It is never copied into anything that another user
//! or a web page reads.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bellboard_core::access::{Principal, Scope, Scopes};
use bellboard_core::id::{self, PrincipalId, TenantId};
use bellboard_core::offset::Time;
use bellboard_core::store;
use bellboard_core::subscription::registry::Nodes;
use tracing::{info, warn};

use super::key;
use super::stored::{self, Wish, create};
use crate::store::{ApiKey, ApiKeys};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "local.key";

/// Whose key it is.
pub const PRINCIPAL: &str = "local";

/// Where it acts, as does every key that names no tenant.
pub const TENANT: &str = "default";

/// What tells local keys from others in the list of keys.
const LABEL: &str = "local.key";

/// What stands between that and whose it is, where several nodes share a database.
const OF: &str = " of ";

/// Written first and then renamed, so that the file is never half.
const NEW_FILE_NAME: &str = "local.key.new";

/// Readable and writable by its owner, by nobody else.
const MODE: u32 = 0o600;

/// Why there is no local key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("cannot use {path}; it must be a file that you may read and write", path = path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No key could be made.
    #[error(transparent)]
    Create(#[from] stored::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The names above are no ids.
    #[error(transparent)]
    Id(#[from] id::Error),
}

/// The text of the local key; none where there is no file.
///
/// # Errors
/// When the file is there and cannot be read, for instance because it is another user's.
pub fn read(data_dir: &Path) -> Result<Option<String>, Error> {
    let path = data_dir.join(FILE_NAME);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path, source }),
    }
}

/// The local key of this data folder, made where there is none that is good. Earlier ones of the folder are revoked: a lost file opens
/// nothing. In a database that other nodes share, theirs stay.
///
/// # Errors
/// See [`Error`].
pub async fn ensure(data_dir: &Path, api_keys: &ApiKeys, nodes: Nodes, now: Time) -> Result<String, Error> {
    let label = label(data_dir, nodes)?;
    let (id, text) = match good(data_dir, api_keys).await? {
        Some(found) => found,
        None => make(data_dir, api_keys, label.clone(), now).await?,
    };
    for row in api_keys.list(TENANT).await? {
        let other = is_local(&row) && row.label == label && row.id != id;
        if other && api_keys.revoke(&row.id, now).await? {
            info!(key = row.id, "an earlier local key was revoked");
        }
    }
    Ok(text)
}

/// Whether any key but the local one is good at this time. Without one nobody could come in from elsewhere.
///
/// # Errors
/// When the store cannot be read.
pub async fn others(api_keys: &ApiKeys, now: Time) -> Result<bool, store::Error> {
    let rows = api_keys.all().await?;
    let good = |time: Option<Time>| time.is_none_or(|time| time > now);
    Ok(rows
        .iter()
        .any(|row| !is_local(row) && row.revoked.is_none() && good(row.expires)))
}

/// What the folder's key is called in the list of keys. A database that is in the folder has one; among several nodes each has its own,
/// by the folder and the machine that it is on.
fn label(data_dir: &Path, nodes: Nodes) -> Result<String, Error> {
    match nodes {
        Nodes::One => Ok(LABEL.to_owned()),
        Nodes::Several => {
            let path = std::path::absolute(data_dir).map_err(|source| Error::File {
                path: data_dir.to_owned(),
                source,
            })?;
            let host = gethostname::gethostname();
            Ok(format!("{LABEL}{OF}{}:{}", host.to_string_lossy(), path.display()))
        }
    }
}

fn is_local(row: &ApiKey) -> bool {
    let rest = row.label.strip_prefix(LABEL);
    let named = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(OF));
    named && row.principal == PRINCIPAL && row.tenant == TENANT
}

/// Id and text of the key in the file, if the store knows it as a local key that is not revoked.
async fn good(data_dir: &Path, api_keys: &ApiKeys) -> Result<Option<(String, String)>, Error> {
    let Some(text) = read(data_dir)? else {
        return Ok(None);
    };
    let row = api_keys.find_by_hash(&key::hash(&text)).await?;
    let Some(row) = row.filter(|row| row.revoked.is_none() && is_local(row)) else {
        warn!(file = FILE_NAME, "the local key is not valid here; making another");
        return Ok(None);
    };
    let path = data_dir.join(FILE_NAME);
    let file = |source| Error::File {
        path: path.clone(),
        source,
    };
    let mode = fs::metadata(&path).map_err(file)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        warn!(
            file = FILE_NAME,
            mode = format!("{mode:o}"),
            "others could read the local key; making another"
        );
        return Ok(None);
    }
    Ok(Some((row.id, text)))
}

async fn make(data_dir: &Path, api_keys: &ApiKeys, label: String, now: Time) -> Result<(String, String), Error> {
    let principal = Principal {
        tenant: TenantId::parse(TENANT)?,
        id: PrincipalId::parse(PRINCIPAL)?,
        scopes: Scopes::from_iter([Scope::Admin]),
    };
    let wish = Wish {
        principal,
        label,
        expire_time: None,
    };
    // The store first: a file that opens nothing would be worse than a row that nobody has the text of.
    let key = create(api_keys, wish, now).await?;
    let path = data_dir.join(FILE_NAME);
    write(data_dir, &key.text).map_err(|source| Error::File { path, source })?;
    Ok((key.id, key.text))
}

fn write(data_dir: &Path, text: &str) -> io::Result<()> {
    let new = data_dir.join(NEW_FILE_NAME);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(MODE)
        .open(&new)?;
    // The mode above is for a file that is made; one that was left behind may have another.
    file.set_permissions(Permissions::from_mode(MODE))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&new, data_dir.join(FILE_NAME))?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn folder() -> (tempfile::TempDir, ApiKeys) {
        let dir = tempfile::tempdir().unwrap();
        let api_keys = ApiKeys::open(dir.path()).await.unwrap();
        (dir, api_keys)
    }

    async fn good_keys(api_keys: &ApiKeys) -> Vec<String> {
        let rows = api_keys.all().await.unwrap();
        let good = rows.into_iter().filter(|row| row.revoked.is_none());
        good.map(|row| row.id).collect()
    }

    #[tokio::test]
    async fn the_local_key_is_made_once_and_only_its_owner_can_read_it() {
        let (dir, api_keys) = folder().await;
        let text = ensure(dir.path(), &api_keys, Nodes::One, Time(1)).await.unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(dir.path()).unwrap().as_deref(), Some(text.as_str()));
        assert!(!dir.path().join(NEW_FILE_NAME).exists());
        assert_eq!(ensure(dir.path(), &api_keys, Nodes::One, Time(2)).await.unwrap(), text);
        assert_eq!(good_keys(&api_keys).await, [key::parse(&text).unwrap()]);
    }

    #[tokio::test]
    async fn a_local_key_that_is_lost_spoilt_or_seen_is_replaced_and_revoked() {
        let (dir, api_keys) = folder().await;
        let path = dir.path().join(FILE_NAME);
        let spoil: [&dyn Fn(); 4] = [
            &|| fs::remove_file(&path).unwrap(),
            &|| fs::write(&path, "bbk_what").unwrap(),
            &|| fs::write(&path, key::generate().unwrap().text).unwrap(),
            &|| fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap(),
        ];
        let mut before = ensure(dir.path(), &api_keys, Nodes::One, Time(1)).await.unwrap();
        for spoil in spoil {
            spoil();
            let after = ensure(dir.path(), &api_keys, Nodes::One, Time(2)).await.unwrap();
            assert_ne!(after, before);
            assert_eq!(good_keys(&api_keys).await, [key::parse(&after).unwrap()]);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            before = after;
        }
    }

    #[tokio::test]
    async fn nodes_that_share_a_database_leave_each_other_their_keys() {
        let (dir, api_keys) = folder().await;
        let other = tempfile::tempdir().unwrap();
        let ours = || ensure(dir.path(), &api_keys, Nodes::Several, Time(1));
        let (first, second) = (
            ours().await.unwrap(),
            ensure(other.path(), &api_keys, Nodes::Several, Time(1)),
        );
        let second = second.await.unwrap();
        assert_ne!(first, second);
        assert_eq!(ours().await.unwrap(), first);
        assert!(!others(&api_keys, Time(1)).await.unwrap(), "both are local");
        fs::remove_file(dir.path().join(FILE_NAME)).unwrap();
        let anew = ours().await.unwrap();
        let mut good = good_keys(&api_keys).await;
        let mut expected = [&anew, &second].map(|text| key::parse(text).unwrap());
        good.sort();
        expected.sort();
        assert_eq!(good, expected, "only the lost one is revoked");
    }

    #[tokio::test]
    async fn the_local_key_is_no_key_for_others() {
        let (dir, api_keys) = folder().await;
        ensure(dir.path(), &api_keys, Nodes::One, Time(1)).await.unwrap();
        assert!(!others(&api_keys, Time(1)).await.unwrap());
        let principal = Principal {
            tenant: TenantId::parse(TENANT).unwrap(),
            id: PrincipalId::parse("ada").unwrap(),
            scopes: Scopes::NONE,
        };
        let wish = Wish {
            principal,
            label: String::new(),
            expire_time: Some(Time(5)),
        };
        create(&api_keys, wish, Time(1)).await.unwrap();
        assert!(others(&api_keys, Time(4)).await.unwrap());
        assert!(
            !others(&api_keys, Time(5)).await.unwrap(),
            "an expired key opens nothing"
        );
    }
}
