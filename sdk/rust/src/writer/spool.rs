//! Events on disk, so that they outlive their process.
//!
//! The one thing to believe: the disk is a mirror of the queue, written before `append` returns and thinned as the hub
//! acknowledges. A generation of files replaces the one before as a whole, by one rename, so that a seq on disk always means the
//! event that the hub would be sent under it.
//!
//! ```text
//! lock                        held exclusively while the spool is open
//! 00000003-00000000.spool     generation 3, its first segment: what waited when it began
//! 00000003-00000001.spool     its next one
//! 00000004.new                generation 4, being written; worth nothing until it is renamed
//! ```

mod segment;

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellboard_proto::v1::EventAppend;

use crate::error::{Error, Result};
use segment::Segment;

/// A segment is followed by the next one from this size on. It is freed as a whole, so it bounds what acknowledged events
/// still take.
const SEGMENT_BYTES: u64 = 1024 * 1024;

const SUFFIX: &str = "spool";

/// An open spool.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    writer_id: String,
    /// Holds the lock until it is dropped.
    _lock: File,
    generation: u32,
    /// Segments before the newest, with the first seq that is not in them.
    full: VecDeque<(PathBuf, u64)>,
    /// The one that is written to. `None` until the generation begins.
    newest: Option<(Segment, u32)>,
}

/// What a spool held when it was opened.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// In their order, with the seqs that they were given.
    pub(super) appends: Vec<EventAppend>,
    /// The last seq that is known to have been acknowledged; 0 where none is.
    pub(super) acknowledged: u64,
    pub(super) torn_bytes: u64,
}

/// Opens a spool: makes its folder, locks it, and reads what is in it.
pub(super) async fn open(dir: PathBuf, writer_id: String) -> Result<(Disk, Contents)> {
    tokio::task::spawn_blocking(move || Disk::open(dir, writer_id))
        .await
        .map_err(|_| Error::Closed)?
}

impl Disk {
    fn open(dir: PathBuf, writer_id: String) -> Result<(Disk, Contents)> {
        let lock = lock(&dir)?;
        let mut segments = list(&dir).map_err(|error| failed(&dir, error))?;
        let generation = segments.iter().map(|(generation, ..)| *generation).max().unwrap_or(0);
        // An older one is what a crash left of the change to the newest, which holds all that waited.
        segments.retain(|(segment_generation, ..)| *segment_generation == generation);
        let mut contents = Contents::default();
        for (.., path) in &segments {
            let read = segment::read(path, &writer_id)?;
            contents.torn_bytes += read.torn_bytes;
            contents.acknowledged = contents.acknowledged.max(read.acknowledged);
            contents.appends.extend(read.appends);
        }
        if let Some(first) = contents.appends.first() {
            // What lay before it was freed, which only acknowledged events are.
            contents.acknowledged = contents.acknowledged.max(first.seq.saturating_sub(1));
        }
        if contents.torn_bytes > 0 {
            tracing::warn!(torn_bytes = contents.torn_bytes, dir = %dir.display(), "the spool's end was torn and is cut off");
        }
        let disk = Disk {
            dir,
            writer_id,
            _lock: lock,
            generation,
            full: VecDeque::new(),
            newest: None,
        };
        Ok((disk, contents))
    }

    /// Replaces all that the spool holds by these, durably. All up to `acknowledged` is. Blocks.
    pub(super) fn begin_generation<'a>(
        &mut self,
        acknowledged: u64,
        waiting: impl Iterator<Item = &'a EventAppend>,
    ) -> Result<()> {
        let generation = self.generation + 1;
        let path = self.path(generation, 0);
        let beside = self.dir.join(format!("{generation:08x}.new"));
        let begin = || -> io::Result<Segment> {
            let mut segment = Segment::create(&beside, &self.writer_id)?;
            segment.mark(acknowledged)?;
            for append in waiting {
                segment.append(append)?;
            }
            segment.sync()?;
            fs::rename(&beside, &path)?;
            File::open(&self.dir)?.sync_all()?;
            Ok(segment)
        };
        let segment = begin().map_err(|error| failed(&self.dir, error))?;
        self.newest = Some((segment, 0));
        self.full.clear();
        self.generation = generation;
        self.remove_older();
        Ok(())
    }

    /// Writes an event into the system's cache: it outlives the process from here on.
    pub(super) fn append(&mut self, append: &EventAppend) -> Result<()> {
        self.rotate(append.seq).map_err(|error| failed(&self.dir, error))?;
        match &mut self.newest {
            Some((segment, _)) => segment.append(append).map_err(|error| failed(&self.dir, error)),
            None => Err(Error::Closed),
        }
    }

    /// All before this seq is acknowledged: frees what holds nothing else.
    pub(super) fn acknowledged_until(&mut self, seq: u64) {
        while let Some((path, _)) = self.full.pop_front_if(|(_, until)| *until <= seq) {
            remove(&path);
        }
    }

    /// Notes that all up to this seq is acknowledged, for whoever opens the spool next. It is a help and no more: one that is not written
    /// leaves the hub to find out less.
    pub(super) fn mark(&mut self, acknowledged: u64) {
        if let Some((segment, _)) = &mut self.newest
            && let Err(error) = segment.mark(acknowledged)
        {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot note in the spool what is acknowledged");
        }
    }

    /// What is still here of these seqs. Blocks.
    pub(super) fn kept(&self, seqs: Range<u64>) -> Result<Vec<EventAppend>> {
        let mut kept = Vec::new();
        for (generation, _, path) in list(&self.dir).map_err(|error| failed(&self.dir, error))? {
            if generation == self.generation {
                let read = segment::read(&path, &self.writer_id)?;
                kept.extend(read.appends.into_iter().filter(|append| seqs.contains(&append.seq)));
            }
        }
        Ok(kept)
    }

    fn rotate(&mut self, next_seq: u64) -> io::Result<()> {
        let Some((segment, number)) = &self.newest else {
            return Ok(());
        };
        if segment.bytes() < SEGMENT_BYTES {
            return Ok(());
        }
        let (full, number) = (self.path(self.generation, *number), number + 1);
        let path = self.path(self.generation, number);
        let segment = Segment::create(&path, &self.writer_id)?;
        self.full.push_back((full, next_seq));
        self.newest = Some((segment, number));
        Ok(())
    }

    fn remove_older(&self) {
        for (generation, _, path) in list(&self.dir).unwrap_or_default() {
            if generation < self.generation {
                remove(&path);
            }
        }
    }

    fn path(&self, generation: u32, number: u32) -> PathBuf {
        self.dir.join(format!("{generation:08x}-{number:08x}.{SUFFIX}"))
    }
}

/// A file that stays costs room, not correctness: it is older than the newest generation, or wholly acknowledged.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove an old spool file");
    }
}

fn lock(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| failed(dir, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Spool {
            path: dir.display().to_string(),
            problem: "another process has it open; give each writer its own folder".to_owned(),
            source: None,
        }),
        Err(TryLockError::Error(error)) => Err(failed(dir, error)),
    }
}

/// All segments: generation, number, path; in that order.
fn list(dir: &Path) -> io::Result<Vec<(u32, u32, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some((generation, number)) = parse(&path) {
            segments.push((generation, number, path));
        }
    }
    segments.sort();
    Ok(segments)
}

fn parse(path: &Path) -> Option<(u32, u32)> {
    if path.extension()? != SUFFIX {
        return None;
    }
    let (generation, number) = path.file_stem()?.to_str()?.split_once('-')?;
    Some((
        u32::from_str_radix(generation, 16).ok()?,
        u32::from_str_radix(number, 16).ok()?,
    ))
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::Spool {
        path: path.display().to_string(),
        problem: error.kind().to_string(),
        source: Some(Arc::new(error)),
    }
}

#[cfg(test)]
mod tests;
