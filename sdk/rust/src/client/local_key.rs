//! Where a hub on this machine keeps its data, and the key that it leaves there for its own user.
//!
//! The one thing to believe: this is the only file of the SDK that reads the environment.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};

/// The file in the data directory that holds the key of this machine's user.
const LOCAL_KEY_FILE: &str = "local.key";

/// Reads the key that the hub with this data directory made for its own user. `None` is [`default_data_dir`].
///
/// # Errors
/// [`Error::File`] when there is none or it may not be read: the hub never ran here, or ran as another user.
pub fn local_key(data_dir: Option<&Path>) -> Result<String> {
    let data_dir = match data_dir {
        Some(data_dir) => data_dir.to_owned(),
        None => default_data_dir().ok_or_else(|| Error::Option {
            option: "data_dir",
            problem: "there is no home directory to look in; name the hub's data directory".to_owned(),
        })?,
    };
    let path = data_dir.join(LOCAL_KEY_FILE);
    let key = std::fs::read_to_string(&path).map_err(|source| Error::File {
        path: path.display().to_string(),
        source: Arc::new(source),
    })?;
    Ok(key.trim().to_owned())
}

/// Where a hub keeps its data unless told otherwise: `$XDG_DATA_HOME/bellboard`, else `~/.local/share/bellboard`; on macOS
/// `~/Library/Application Support/bellboard`. `None` without a home directory.
#[must_use]
pub fn default_data_dir() -> Option<PathBuf> {
    data_dir(variable("XDG_DATA_HOME"), variable("HOME"), cfg!(target_os = "macos"))
}

fn data_dir(data_home: Option<PathBuf>, home: Option<PathBuf>, on_macos: bool) -> Option<PathBuf> {
    // The XDG rules say that a relative path is to be ignored.
    let data_home = data_home.filter(|path| path.is_absolute() && !on_macos);
    let base = data_home.or_else(|| {
        let home = home.filter(|path| path.is_absolute())?;
        Some(if on_macos {
            home.join("Library/Application Support")
        } else {
            home.join(".local/share")
        })
    })?;
    Some(base.join("bellboard"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the default place follows the user's home; nothing else of the SDK reads the environment"
)]
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_dir_follows_the_platform() {
        let place = |data_home: Option<&str>, home: Option<&str>, on_macos| {
            data_dir(data_home.map(PathBuf::from), home.map(PathBuf::from), on_macos)
        };
        assert_eq!(place(Some("/d"), Some("/h"), false), Some("/d/bellboard".into()));
        assert_eq!(
            place(Some("d"), Some("/h"), false),
            Some("/h/.local/share/bellboard".into())
        );
        assert_eq!(
            place(None, Some("/h"), true),
            Some("/h/Library/Application Support/bellboard".into())
        );
        assert_eq!(place(None, None, false), None);
    }

    #[test]
    fn a_local_key_is_read_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCAL_KEY_FILE), "bb_secret\n").unwrap();
        assert_eq!(local_key(Some(dir.path())).unwrap(), "bb_secret");
    }

    #[test]
    fn a_missing_local_key_names_the_file() {
        let error = local_key(Some(Path::new("/nonexistent"))).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/local.key");
    }
}
