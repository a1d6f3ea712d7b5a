//! A resume token in a file of its own.
//!
//! The one thing to believe: the file holds one whole token at every instant. A new one is written beside it, flushed to the
//! disk, and renamed over it. The rename itself is not flushed: a loss of power may leave the token before, never half of one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use super::ResumeTokenStore;

/// The contract's bound on a resume token. A file that holds more is not one of ours.
const RESUME_TOKEN_BYTES_MAX: usize = 128;

/// Keeps the resume token in a file. Its folder is made when the first one is saved.
#[derive(Debug, Clone)]
pub struct FileResumeTokenStore {
    path: PathBuf,
}

impl FileResumeTokenStore {
    /// Keeps it in this file. A sibling with `.new` at its end is used while one is written.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> FileResumeTokenStore {
        FileResumeTokenStore { path: path.into() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ResumeTokenStore for FileResumeTokenStore {
    fn load(&self) -> BoxFuture<'_, io::Result<Option<String>>> {
        let path = self.path.clone();
        Box::pin(blocking(move || read(&path)))
    }

    fn save(&self, resume_token: String) -> BoxFuture<'_, io::Result<()>> {
        let path = self.path.clone();
        Box::pin(blocking(move || replace(&path, &resume_token)))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let resume_token = text.trim();
    if resume_token.is_empty() || resume_token.len() > RESUME_TOKEN_BYTES_MAX {
        // Taken as "none", it would start somewhere else without a word.
        let problem = format!("{} holds no resume token; delete it to start anew", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(Some(resume_token.to_owned()))
}

fn replace(path: &Path, resume_token: &str) -> io::Result<()> {
    let beside = beside(path);
    let mut file = match File::create(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create(&beside)?
        }
        created => created?,
    };
    writeln!(file, "{resume_token}")?;
    file.sync_data()?;
    drop(file);
    fs::rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &tempfile::TempDir) -> FileResumeTokenStore {
        FileResumeTokenStore::new(dir.path().join("a/b/place"))
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_and_before_that_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        assert_eq!(store.load().await.unwrap(), None);
        store.save("one".to_owned()).await.unwrap();
        store.save("two".to_owned()).await.unwrap();
        assert_eq!(store.load().await.unwrap(), Some("two".to_owned()));
        let names: Vec<_> = fs::read_dir(dir.path().join("a/b"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["place"], "nothing is left beside it");
    }

    #[tokio::test]
    async fn a_save_that_dies_half_way_leaves_the_token_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        store.save("one".to_owned()).await.unwrap();
        fs::write(dir.path().join("a/b/place.new"), "tw").unwrap();
        assert_eq!(store.load().await.unwrap(), Some("one".to_owned()));
        store.save("three".to_owned()).await.unwrap();
        assert_eq!(store.load().await.unwrap(), Some("three".to_owned()));
    }

    #[tokio::test]
    async fn a_save_that_fails_leaves_the_token_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        store.save("one".to_owned()).await.unwrap();
        // A folder in the way of the new file makes the write fail.
        fs::create_dir(dir.path().join("a/b/place.new")).unwrap();
        store.save("two".to_owned()).await.unwrap_err();
        assert_eq!(store.load().await.unwrap(), Some("one".to_owned()));
    }

    #[tokio::test]
    async fn an_emptied_file_is_an_error_and_not_a_start_from_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("place");
        fs::write(&path, "\n").unwrap();
        let error = FileResumeTokenStore::new(path).load().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
