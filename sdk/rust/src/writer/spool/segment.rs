//! One file of a spool: a header, then records that are only ever added.
//!
//! The one thing to believe: a record counts if its length, its seq and its bytes give its checksum, and nothing after the first
//! one that does not is read. So a process that died in the middle of a write costs the event that it had not yet taken.
//!
//! ```text
//! header   magic 8 | length of writer id, u32 | writer id
//! record   length of body, u32 | seq, u64 | checksum 8 | body: an EventAppend; empty: all up to seq is acknowledged
//! ```
//! Numbers are little-endian. The checksum is the first 8 bytes of SHA-256 over length, seq and body.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use bellboard_proto::v1::EventAppend;
use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::failed;
use crate::error::{Error, Result};
use crate::writer::queue::APPEND_BYTES_MAX;

const MAGIC: &[u8; 8] = b"BBSPOOL1";
const RECORD_HEAD_BYTES: usize = 4 + 8 + 8;

/// A seq takes at most so many bytes more than were counted when the append was taken.
const SEQ_BYTES_MAX: usize = 16;

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    bytes: u64,
}

/// What was read of one.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) appends: Vec<EventAppend>,
    /// The last seq that it says was acknowledged.
    pub(super) acknowledged: u64,
    /// What could not be read.
    pub(super) torn_bytes: u64,
}

impl Segment {
    /// Begins one; a file of that name is what a crash left and is worth nothing.
    pub(super) fn create(path: &Path, writer_id: &str) -> io::Result<Segment> {
        let mut file = File::create(path)?;
        let mut header = Vec::with_capacity(MAGIC.len() + 4 + writer_id.len());
        header.put_slice(MAGIC);
        header.put_u32_le(u32::try_from(writer_id.len()).map_err(io::Error::other)?);
        header.put_slice(writer_id.as_bytes());
        file.write_all(&header)?;
        Ok(Segment {
            file,
            bytes: header.len() as u64,
        })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a record by one write. A failed one is taken back, so that the next is not written behind half a record.
    pub(super) fn append(&mut self, append: &EventAppend) -> io::Result<()> {
        self.write(&record(append.seq, &append.encode_to_vec())?)
    }

    /// Adds that all up to this seq is acknowledged.
    pub(super) fn mark(&mut self, acknowledged: u64) -> io::Result<()> {
        self.write(&record(acknowledged, &[])?)
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(record) {
            self.file.set_len(self.bytes)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes += record.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Reads a segment as far as it goes.
pub(super) fn read(path: &Path, writer_id: &str) -> Result<Read> {
    let bytes = fs::read(path).map_err(|error| failed(path, error))?;
    let mut rest = bytes.as_slice();
    let mut read = Read::default();
    match header(&mut rest) {
        Some(owner) if owner == writer_id.as_bytes() => {}
        Some(_) => {
            return Err(Error::Spool {
                path: path.display().to_string(),
                problem: "it belongs to another writer; give each writer its own folder".to_owned(),
                source: None,
            });
        }
        // The process died before the header was whole: nothing was taken into it.
        None => {
            read.torn_bytes = bytes.len() as u64;
            return Ok(read);
        }
    }
    while !rest.is_empty() {
        let before = rest;
        match next(&mut rest) {
            Some(Record::Append(append)) => read.appends.push(*append),
            Some(Record::Acknowledged(seq)) => read.acknowledged = read.acknowledged.max(seq),
            None => {
                read.torn_bytes = before.len() as u64;
                break;
            }
        }
    }
    Ok(read)
}

fn header<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let after_magic = rest.strip_prefix(MAGIC.as_slice())?;
    *rest = after_magic;
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let (owner, records) = rest.split_at_checked(length)?;
    *rest = records;
    Some(owner)
}

/// One record.
enum Record {
    Append(Box<EventAppend>),
    /// All up to this seq is acknowledged.
    Acknowledged(u64),
}

fn next(rest: &mut &[u8]) -> Option<Record> {
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    let seq = rest.try_get_u64_le().ok()?;
    let told = rest.try_get_u64_le().ok()?;
    if length > APPEND_BYTES_MAX + SEQ_BYTES_MAX {
        return None;
    }
    let (body, records) = rest.split_at_checked(length)?;
    if checksum(seq, body) != told {
        return None;
    }
    *rest = records;
    if body.is_empty() {
        return Some(Record::Acknowledged(seq));
    }
    let append = EventAppend::decode(body).ok()?;
    Some(Record::Append(Box::new(EventAppend { seq, ..append })))
}

fn record(seq: u64, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut record = Vec::with_capacity(RECORD_HEAD_BYTES + body.len());
    record.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
    record.put_u64_le(seq);
    record.put_u64_le(checksum(seq, body));
    record.put_slice(body);
    Ok(record)
}

fn checksum(seq: u64, body: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update((body.len() as u64).to_le_bytes());
    hash.update(seq.to_le_bytes());
    hash.update(body);
    hash.finalize().as_slice().get_u64_le()
}
