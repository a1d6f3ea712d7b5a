//! The data folder.
//!
//! Believe this: what lies in it is its owner's alone. A folder that is made here has mode 0700; one that others can write to is
//! refused, because they could put their own key or database there.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Readable, writable and to be entered by its owner, by nobody else.
const MODE: u32 = 0o700;

/// Write permission of the group and of all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made, or looked at.
    #[error("cannot use the data folder {path}; choose one that you may write to, with --data-dir", path = path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may write to it.
    #[error(
        "the data folder {path} has mode {mode:o}, so that others may write to it; change that with: chmod go-w {path}",
        path = path.display()
    )]
    Shared {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// Makes the folder, and those above it, if it is not there.
///
/// # Errors
/// See [`Error`].
pub fn make(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(MODE).create(path);
    let unusable = |source| Error::Unusable {
        path: path.to_owned(),
        source,
    };
    made.map_err(unusable)?;
    let mode = path.metadata().map_err(unusable)?.permissions().mode() & 0o777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        let path = path.to_owned();
        return Err(Error::Shared { path, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_data_folder_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        make(&folder).unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        make(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(make(&folder), Err(Error::Shared { mode: 0o770, .. })));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(make(&dir.path().join("file")), Err(Error::Unusable { .. })));
    }
}
