//! A power cut, seen from the files: up to the synced length everything stands, after it anything may.

use std::fs;

use weir_log::Log;

use crate::fixture::{Fixture, append_each, assert_holds, length, read_all};

/// After each acknowledged append the files' lengths are taken; the log goes on. What a power cut at
/// that moment could leave is the synced part and any remains of the frame that came after it.
#[tokio::test]
async fn what_was_acknowledged_survives_at_its_synced_length() {
    let fixture = Fixture::on_disk();
    let log = fixture.open();
    let mut moments = Vec::new();
    for number in 0..20 {
        append_each(&log, number..number + 1).await;
        let lengths: Vec<_> = fixture.files().into_iter().map(|path| (length(&path), path)).collect();
        moments.push((number + 1, lengths));
    }
    for (acknowledged, lengths) in moments {
        for remains in ["nothing", "zeros", "first half", "second half"] {
            let copy = Fixture::on_disk();
            fs::create_dir_all(copy.partition(0)).unwrap();
            for (synced, path) in &lengths {
                let mut bytes = fs::read(path).unwrap();
                let unsynced = bytes.split_off(*synced);
                let half = unsynced.len().min(180) / 2;
                match remains {
                    "nothing" => {}
                    "zeros" => bytes.resize(bytes.len() + unsynced.len(), 0),
                    "first half" => bytes.extend_from_slice(&unsynced[..half]),
                    _ => {
                        bytes.resize(bytes.len() + half, 0);
                        bytes.extend_from_slice(&unsynced[half..unsynced.len().min(180)]);
                    }
                }
                fs::write(copy.partition(0).join(path.file_name().unwrap()), bytes).unwrap();
            }
            let log = copy.open();
            assert_eq!(*log.durable_end(0).borrow(), acknowledged, "{remains}");
            assert_holds(&log, 0..acknowledged).await;
            append_each(&log, acknowledged..acknowledged + 3).await;
            assert_eq!(read_all(&log, 0, 500).await.len() as u64, acknowledged + 3);
        }
    }
}
