//! A connector's own lasting id on its machine.
//!
//! The one thing to believe: it is random and made once, so that two laptops never collide and a restart changes nothing.

use std::io::{ErrorKind, Write};
use std::path::Path;

/// The file in the connector's state folder that holds the id.
const FILE_NAME: &str = "installation";

/// Why there is no installation id.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder or the file in it cannot be read or written.
    #[error("the connector's id in {path} can neither be read nor written; make the folder writable")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold a connector's id; remove it, and the connector begins as a new one")]
    Malformed {
        /// The file.
        path: String,
    },
}

/// Reads the installation id in this folder, or makes one. The folder is created if it is missing; the file can be read by its
/// owner only. Of two programs that make it at once, both get the same id.
///
/// # Errors
/// [`Error::Io`] and [`Error::Malformed`]; no id is made up beside a file that cannot be used.
pub fn load_or_create(folder: &Path) -> Result<String, Error> {
    let path = folder.join(FILE_NAME);
    let io = |source| Error::Io {
        path: path.display().to_string(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(io)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => return parse(&text, &path),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let made = uuid::Uuid::new_v4().simple().to_string();
    // Written whole beside and linked into place: the link fails if another program was first, and nobody reads a half id.
    let beside = folder.join(format!("{FILE_NAME}.{made}"));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside).map_err(io)?;
    file.write_all(made.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io)?;
    let linked = std::fs::hard_link(&beside, &path);
    std::fs::remove_file(&beside).map_err(io)?;
    match linked {
        Ok(()) => Ok(made),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            parse(&std::fs::read_to_string(&path).map_err(io)?, &path)
        }
        Err(error) => Err(io(error)),
    }
}

fn parse(text: &str, path: &Path) -> Result<String, Error> {
    let id = text.trim();
    let fits = (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits {
        Ok(id.to_owned())
    } else {
        Err(Error::Malformed {
            path: path.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_lasts_and_is_its_owners_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("not/yet/there");
        let first = load_or_create(&inner).expect("made");
        assert_eq!(load_or_create(&inner).expect("read"), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(inner.join(FILE_NAME))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn two_installations_differ() {
        let (one, other) = (
            tempfile::tempdir().expect("a folder"),
            tempfile::tempdir().expect("a folder"),
        );
        assert_ne!(
            load_or_create(one.path()).expect("made"),
            load_or_create(other.path()).expect("made")
        );
    }

    #[test]
    fn a_damaged_file_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE_NAME), "no id at all").expect("written");
        assert!(matches!(load_or_create(folder.path()), Err(Error::Malformed { .. })));
    }
}
