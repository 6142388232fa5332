//! What a server's disk may hold after the power failed: built from a record of its writes and syncs.

use std::path::{Path, PathBuf};

use crate::harness::{chance::Chance, database::folder};

/// The smallest piece that a disk writes whole.
const SECTOR: usize = 512;

/// The library that is preloaded into a server to record what it does; built once for each use.
pub(crate) fn recorder() -> PathBuf {
    let library = folder().join(format!("record-{}.so", uuid::Uuid::new_v4().simple()));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/disk/record.c");
    let built = std::process::Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
        ])
        .arg(&library)
        .args([source, "-ldl", "-lpthread"])
        .output()
        .expect("a C compiler runs: ./test installs one");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    library
}

/// One thing that was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Write,
    Truncate,
    Synced,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) deed: Deed,
    /// 0 is the database, 1 its write-ahead log.
    pub(crate) file: usize,
    /// Where it was written, or the length that was left.
    pub(crate) offset: usize,
    /// Where its bytes are in the recording.
    bytes: (usize, usize),
    /// Where it ends in the recording.
    pub(crate) end: usize,
}

/// What becomes of writes that were not synced when the power failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsynced {
    None,
    /// Some of them, in any order.
    Some,
    /// Some sectors of some of them.
    Torn,
}

/// All that a server did, in order.
pub(crate) struct Recording {
    log: Vec<u8>,
    pub(crate) records: Vec<Record>,
    /// The files as they were before.
    start: [Vec<u8>; 2],
}

impl Recording {
    /// Reads what was recorded so far, over a database that was this before.
    pub(crate) fn read(log: &Path, before: Vec<u8>) -> Self {
        let log = std::fs::read(log).unwrap();
        let mut records = Vec::new();
        let mut at = 0;
        while at < log.len() {
            let number = |from: usize| {
                let bytes = log[at + from..at + from + 8].try_into().unwrap();
                usize::try_from(u64::from_ne_bytes(bytes)).unwrap()
            };
            let (kind, file) = (log[at], usize::from(log[at + 1]));
            let (offset, length) = (number(8), number(16));
            assert!(file < 2, "there is no journal beside a write-ahead log");
            at += 24;
            let (deed, offset, bytes) = match kind {
                b'w' => (Deed::Write, offset, (at, at + length)),
                b't' => (Deed::Truncate, length, (at, at)),
                b's' => (Deed::Synced, 0, (at, at)),
                // Of the write-ahead log, by the look at the file at the start: nothing is in it then.
                b'u' if file == 1 => (Deed::Truncate, 0, (at, at)),
                other => panic!(
                    "{:?} is nothing that a running server does",
                    char::from(other)
                ),
            };
            at = bytes.1;
            records.push(Record {
                deed,
                file,
                offset,
                bytes,
                end: at,
            });
        }
        Self {
            log,
            records,
            start: [before, Vec::new()],
        }
    }

    /// The database and its write-ahead log as they may be when the power fails after so many records.
    pub(crate) fn image(
        &self,
        count: usize,
        unsynced: Unsynced,
        chance: &mut Chance,
    ) -> [Vec<u8>; 2] {
        let mut files = self.start.clone();
        let records = &self.records[..count];
        for (number, file) in files.iter_mut().enumerate() {
            let of_file = || records.iter().filter(|record| record.file == number);
            let synced = of_file().rposition_of_sync();
            for (at, record) in of_file().enumerate() {
                if synced.is_some_and(|synced| at < synced) {
                    self.apply(record, file, |_| true);
                    continue;
                }
                match unsynced {
                    Unsynced::None => {}
                    Unsynced::Some => {
                        if chance.below(2) == 0 {
                            self.apply(record, file, |_| true);
                        }
                    }
                    Unsynced::Torn => {
                        if chance.below(4) > 0 {
                            self.apply(record, file, |_| chance.below(2) == 0);
                        }
                    }
                }
            }
        }
        files
    }

    /// Does to `file` what was done, but for the sectors that are left out.
    fn apply(&self, record: &Record, file: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        match record.deed {
            Deed::Synced => {}
            Deed::Truncate => file.resize(record.offset, 0),
            Deed::Write => {
                let bytes = &self.log[record.bytes.0..record.bytes.1];
                let mut at = 0;
                while at < bytes.len() {
                    let place = record.offset + at;
                    // Up to the end of the sector on the disk.
                    let length = (SECTOR - place % SECTOR).min(bytes.len() - at);
                    if keeps(place / SECTOR) {
                        if file.len() < place + length {
                            file.resize(place + length, 0);
                        }
                        file[place..place + length].copy_from_slice(&bytes[at..at + length]);
                    }
                    at += length;
                }
            }
        }
    }
}

trait LastSync {
    /// How many records come before the last one that says that they are durable.
    fn rposition_of_sync(self) -> Option<usize>;
}

impl<'a, I: Iterator<Item = &'a Record>> LastSync for I {
    fn rposition_of_sync(self) -> Option<usize> {
        self.enumerate()
            .filter(|(_, record)| record.deed == Deed::Synced)
            .last()
            .map(|(at, _)| at)
    }
}
