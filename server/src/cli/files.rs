//! Files that appear whole or not at all.
//!
//! Believe this: [`place`] never writes over anything, and what it has put in its place is there after a loss of power.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Gives a finished file the name that it is for.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is something of that name. The finished file is then still where it was.
pub(super) fn place(finished: &Path, name: &Path) -> io::Result<()> {
    // Unlike a rename, a link refuses to replace.
    fs::hard_link(finished, name)?;
    fs::remove_file(finished)?;
    sync_folder_of(name)
}

/// Makes names in a file's folder as lasting as files.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
