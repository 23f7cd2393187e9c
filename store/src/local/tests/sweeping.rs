//! A sweep removes exactly what it may, and a folder of somebody else is refused.

use std::collections::HashSet;
use std::fs;

use proptest::prelude::*;
use weir_meter::SegmentId;

use super::*;
use crate::StoreError;
use crate::local::files;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn only_unlisted_files_of_closed_writers_go(
        present in prop::collection::vec((0..3_usize, 0..4_u128, 0..6_u128), 0..20),
        closed in prop::collection::hash_set(0..4_u128, 0..4),
        kept in prop::collection::hash_set(0..6_u128, 0..6),
    ) {
        let fixture = Fixture::new();
        let (mut gone, mut unknown) = (HashSet::new(), HashSet::new());
        for (kind, writer, segment) in present {
            let name = files::location(files::KINDS[kind], WriterId(writer), SegmentId(segment));
            fs::write(fixture.dir.path().join(&name), b"x").unwrap();
            if !kept.contains(&segment) {
                if closed.contains(&writer) { gone.insert(name) } else { unknown.insert(name) };
            }
        }
        let before = count_files(&fixture);
        let closed = closed.into_iter().map(WriterId).collect();
        let kept = kept.into_iter().map(SegmentId).collect();
        let report = block_on(fixture.store.sweep(&closed, &kept)).unwrap();
        prop_assert_eq!(report.removed.iter().cloned().collect::<HashSet<_>>(), gone.clone());
        prop_assert_eq!(report.unknown.into_iter().collect::<HashSet<_>>(), unknown);
        for name in &gone {
            prop_assert!(!fixture.dir.path().join(name).exists());
        }
        prop_assert_eq!(count_files(&fixture), before - gone.len());
    }
}

fn count_files(fixture: &Fixture) -> usize {
    files::KINDS.iter().map(|k| fs::read_dir(fixture.dir.path().join(k.name())).unwrap().count()).sum()
}

#[test]
fn files_of_an_unknown_shape_stay() {
    let fixture = Fixture::new();
    let good = files::location(SegmentKind::Rows, WriterId(0xab), SegmentId(1));
    let upper = good.replace("ab", "AB");
    let strange = ["rows/notes.txt", "rows/1-2.parquet", "windows/.parquet", upper.as_str()];
    for name in strange {
        fs::write(fixture.dir.path().join(name), b"x").unwrap();
    }
    fs::create_dir(fixture.dir.path().join(&good)).unwrap();
    let closed = [WriterId(0xab), WriterId(1)].into();
    let report = block_on(fixture.store.sweep(&closed, &HashSet::new())).unwrap();
    assert_eq!(report.removed, Vec::<String>::new());
    assert_eq!(report.unknown.len(), 5);
    assert!(strange.iter().all(|name| fixture.dir.path().join(name).exists()));
}

#[test]
fn a_folder_of_another_installation_is_refused() {
    let fixture = Fixture::new();
    assert!(open(&fixture.dir, INSTALLATION).is_ok());
    let error = open(&fixture.dir, InstallationId(5)).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch(_)));
    let text = error.to_string();
    assert!(
        text.contains(&INSTALLATION.to_string()) && text.contains(&InstallationId(5).to_string()),
        "{text}"
    );
}

#[test]
fn a_newer_format_an_unreadable_marker_and_a_lost_one_are_refused() {
    let fixture = Fixture::new();
    let marker = fixture.dir.path().join("weir-store");
    fs::write(&marker, format!("format 2\ninstallation {INSTALLATION}\n")).unwrap();
    let error = open(&fixture.dir, INSTALLATION).unwrap_err().to_string();
    assert!(error.contains("format 2"), "{error}");
    fs::write(&marker, [0xff, 0xfe]).unwrap();
    let error = open(&fixture.dir, INSTALLATION).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    fs::remove_file(&marker).unwrap();
    // An empty store is nobody's; one with files is.
    assert!(open(&fixture.dir, INSTALLATION).is_ok());
    fs::remove_file(&marker).unwrap();
    fs::write(fixture.dir.path().join("rows/x"), b"x").unwrap();
    let error = open(&fixture.dir, INSTALLATION).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}
