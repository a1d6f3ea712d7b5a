//! `serve.lock`: one server for one data folder.
//!
//! Believe this: the lock is the system's, held by an open file, so it ends with the process however that ends. What is written in the
//! file is only for people and programs that ask who holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file's name in the data folder.
pub const FILE_NAME: &str = "serve.lock";

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another server has it.
    #[error(
        "a server already runs on {data_dir} ({holder}); use it, stop it, or choose another folder with --data-dir",
        data_dir = data_dir.display()
    )]
    Held {
        /// The folder.
        data_dir: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// The file cannot be used.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Who holds a lock, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: Option<u32>,
    /// Where it listens, as a URL. None while it is starting.
    pub url: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.url) {
            (Some(pid), Some(url)) => write!(f, "process {pid}, at {url}"),
            (Some(pid), None) => write!(f, "process {pid}, which is starting"),
            (None, _) => f.write_str("process unknown"),
        }
    }
}

/// The lock. Dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only so that nobody reads an old name; the lock itself ends with the file.
        let _ = self.file.set_len(0);
    }
}

impl Lock {
    /// Takes the lock of a data folder.
    ///
    /// # Errors
    /// [`Error::Held`] when another server has it.
    pub fn take(data_dir: &Path) -> Result<Lock, Error> {
        let path = data_dir.join(FILE_NAME);
        let (file, lock) = open(&path)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let data_dir = data_dir.to_owned();
                let holder = read(&path).unwrap_or_default();
                return Err(Error::Held { data_dir, holder });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(&path)(source)),
        }
        let mut lock = Lock { file, path };
        lock.write("")?;
        Ok(lock)
    }

    /// Writes down where the holder listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn tell(&mut self, url: &str) -> Result<(), Error> {
        self.write(url)
    }

    fn write(&mut self, url: &str) -> Result<(), Error> {
        let text = format!("{} {url}\n", std::process::id());
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(unusable(&self.path))
    }
}

/// Who serves a data folder now; none when nobody does.
///
/// # Errors
/// When the file cannot be used.
pub fn holder(data_dir: &Path) -> Result<Option<Holder>, Error> {
    let path = data_dir.join(FILE_NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unusable(&path)(source)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => read(&path).map(Some).map_err(unusable(&path)),
        Err(TryLockError::Error(source)) => Err(unusable(&path)(source)),
    }
}

/// Appending, so that what is written after the file was emptied stands at its beginning.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn read(path: &Path) -> io::Result<Holder> {
    let text = fs::read_to_string(path)?;
    let (pid, url) = text.split_once(' ').unwrap_or((&text, ""));
    let url = url.trim();
    Ok(Holder {
        pid: pid.parse().ok(),
        url: (!url.is_empty()).then(|| url.to_owned()),
    })
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_and_told_who_has_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        let mut lock = Lock::take(dir.path()).unwrap();
        let me = std::process::id();
        let refusal = |url: &str| {
            let error = Lock::take(dir.path()).unwrap_err();
            let Error::Held { holder: told, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(Some(told), holder(dir.path()).unwrap().as_ref());
            assert!(error.to_string().contains(&format!("(process {me}{url})")), "{error}");
        };
        refusal(", which is starting");
        lock.tell("http://127.0.0.1:2355").unwrap();
        refusal(", at http://127.0.0.1:2355");
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None);
        Lock::take(dir.path()).unwrap();
    }
}
