use std::io::{Seek as _, SeekFrom, Write as _};

use bellboard_proto::v1::Event;
use tempfile::TempDir;

use super::*;

const WRITER: &str = "w";

fn append(seq: u64) -> EventAppend {
    EventAppend {
        event: Some(Event {
            event_id: format!("e-{seq}"),
            ..Event::default()
        }),
        seq,
        ..EventAppend::default()
    }
}

fn large(seq: u64) -> EventAppend {
    EventAppend {
        dedupe_key: "x".repeat(300 * 1024),
        ..append(seq)
    }
}

fn open(dir: &TempDir) -> (Disk, Contents) {
    Disk::open(dir.path().join("spool"), WRITER.to_owned()).unwrap()
}

/// A spool that a process with these events left behind.
fn left_behind(dir: &TempDir, seqs: std::ops::RangeInclusive<u64>) {
    let (mut disk, _) = open(dir);
    disk.begin_generation(0, [].into_iter()).unwrap();
    for seq in seqs {
        disk.append(&append(seq)).unwrap();
    }
}

fn seqs(contents: &Contents) -> Vec<u64> {
    contents.appends.iter().map(|append| append.seq).collect()
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    list(&dir.path().join("spool"))
        .unwrap()
        .into_iter()
        .map(|(.., path)| path)
        .collect()
}

fn only_file(dir: &TempDir) -> PathBuf {
    let files = files(dir);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_a_dead_process_left_is_there_in_order() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 5..=7);
    let (_, contents) = open(&dir);
    assert_eq!(contents.appends, [append(5), append(6), append(7)]);
    assert_eq!(contents.torn_bytes, 0);
}

#[test]
fn a_torn_end_costs_the_event_that_was_not_yet_taken() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 1..=3);
    let path = only_file(&dir);
    let whole = fs::metadata(&path).unwrap().len();
    let last = record_bytes(3);
    // Cut within the last record, at every byte of it.
    for cut in 1..=last {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(whole - cut).unwrap();
        let (_, contents) = open(&dir);
        assert_eq!(seqs(&contents), [1, 2], "cut by {cut}");
        assert_eq!(contents.torn_bytes, last - cut);
    }
}

fn record_bytes(seq: u64) -> u64 {
    use prost::Message as _;
    4 + 8 + 8 + append(seq).encoded_len() as u64
}

#[test]
fn a_damaged_byte_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 1..=2);
    let path = only_file(&dir);
    let whole = fs::read(&path).unwrap();
    let last = usize::try_from(record_bytes(2)).unwrap();
    for position in whole.len() - last..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 1;
        fs::write(&path, damaged).unwrap();
        let (_, contents) = open(&dir);
        assert_eq!(seqs(&contents), [1], "byte {position}");
        assert!(contents.torn_bytes > 0);
    }
}

#[test]
fn a_length_beyond_all_reason_is_torn_and_not_allocated() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 1..=1);
    let mut file = File::options().append(true).open(only_file(&dir)).unwrap();
    file.write_all(&[0xff; 64]).unwrap();
    let (_, contents) = open(&dir);
    assert_eq!(seqs(&contents), [1]);
    assert_eq!(contents.torn_bytes, 64);
}

#[test]
fn two_processes_cannot_share_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(&dir);
    let error = Disk::open(dir.path().join("spool"), WRITER.to_owned()).unwrap_err();
    assert!(error.to_string().contains("another process has it open"), "{error}");
    drop(held);
    open(&dir);
}

#[test]
fn a_spool_belongs_to_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 1..=1);
    let error = Disk::open(dir.path().join("spool"), "other".to_owned()).unwrap_err();
    assert!(error.to_string().contains("belongs to another writer"), "{error}");
}

#[test]
fn a_new_generation_replaces_the_one_before_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 5..=9);
    let (mut disk, _) = open(&dir);
    disk.begin_generation(0, [append(1), append(2)].iter()).unwrap();
    disk.append(&append(3)).unwrap();
    drop(disk);
    only_file(&dir);
    let (_, contents) = open(&dir);
    assert_eq!(seqs(&contents), [1, 2, 3]);
}

#[test]
fn a_crash_while_a_generation_begins_leaves_the_one_before_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 5..=6);
    let old = only_file(&dir);
    // Before the rename: half a file beside.
    fs::write(dir.path().join("spool/00000002.new"), b"BBSP").unwrap();
    assert_eq!(seqs(&open(&dir).1), [5, 6]);
    // After the rename, before the removal: both are there, and the new one counts alone.
    let kept = fs::read(&old).unwrap();
    let (mut disk, _) = open(&dir);
    disk.begin_generation(0, [append(1)].iter()).unwrap();
    drop(disk);
    fs::write(&old, kept).unwrap();
    assert_eq!(seqs(&open(&dir).1), [1]);
}

#[test]
fn acknowledged_segments_are_removed_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = open(&dir);
    disk.begin_generation(0, [].into_iter()).unwrap();
    for seq in 1..=12 {
        disk.append(&large(seq)).unwrap();
    }
    let before = files(&dir).len();
    assert!(before >= 3, "{before} segments");
    disk.acknowledged_until(6);
    let after = files(&dir).len();
    assert!(after < before);
    disk.acknowledged_until(13);
    assert_eq!(files(&dir).len(), 1, "the newest stays open");
    drop(disk);
    let (_, contents) = open(&dir);
    assert!(seqs(&contents).ends_with(&[12]));
}

#[test]
fn what_is_acknowledged_is_known_as_far_as_it_was_noted() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 5..=7);
    assert_eq!(
        open(&dir).1.acknowledged,
        4,
        "what lay before is gone, so it was acknowledged"
    );
    let (mut disk, _) = open(&dir);
    disk.begin_generation(6, [append(7)].iter()).unwrap();
    for seq in 8..=9 {
        disk.append(&append(seq)).unwrap();
    }
    assert_eq!(disk.kept(8..10).unwrap(), [append(8), append(9)]);
    assert_eq!(disk.kept(1..7).unwrap(), []);
    drop(disk);
    let (mut disk, contents) = open(&dir);
    assert_eq!((contents.acknowledged, seqs(&contents)), (6, vec![7, 8, 9]));
    disk.begin_generation(8, [].into_iter()).unwrap();
    disk.append(&append(9)).unwrap();
    disk.mark(9);
    drop(disk);
    let (_, contents) = open(&dir);
    assert_eq!((contents.acknowledged, seqs(&contents)), (9, vec![9]));
}

#[test]
fn a_header_that_was_cut_holds_nothing_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 1..=2);
    fs::write(dir.path().join("spool/00000001-00000001.spool"), b"BBSPOOL1").unwrap();
    let (_, contents) = open(&dir);
    assert_eq!(seqs(&contents), [1, 2]);
    assert_eq!(contents.torn_bytes, 8);
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&dir, 1..=1);
    let path = dir.path().join("spool/notes.txt");
    let mut notes = File::create(&path).unwrap();
    notes.seek(SeekFrom::Start(0)).unwrap();
    notes.write_all(b"mine").unwrap();
    let (mut disk, contents) = open(&dir);
    assert_eq!(seqs(&contents), [1]);
    disk.begin_generation(0, [].into_iter()).unwrap();
    assert!(path.exists());
}
