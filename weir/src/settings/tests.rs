//! Where values come from, which are refused, and what is printed.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::*;

fn file(text: &str) -> Result<Layer, SettingsError> {
    Layer::toml(Path::new("weir.toml"), text)
}

fn environment(variables: &[(&str, &str)]) -> Layer {
    Layer::environment(variables.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))))
}

fn flags(values: &[(&'static str, &str)]) -> Layer {
    Layer::of(Origin::Flag, values.iter().map(|(n, v)| (*n, (*v).to_owned())))
}

fn complaint(layers: &[Layer]) -> String {
    Settings::resolve(layers).unwrap_err().to_string()
}

#[test]
fn defaults_are_as_documented() {
    let settings = Settings::resolve(&[]).unwrap();
    assert_eq!(settings.data_dir, Path::new("./weir-data"));
    assert_eq!(settings.listen, "127.0.0.1:8888".parse().unwrap());
    assert_eq!(settings.telemetry_listen, None);
    assert_eq!(settings.log, LogUrl::File("./weir-data/log".into()));
    assert_eq!(settings.store, StoreUrl::File("./weir-data/store".into()));
    assert_eq!(settings.catalog, CatalogUrl::Sqlite("./weir-data/catalog.db".into()));
    assert_eq!(settings.flush_interval, Duration::from_secs(300));
    assert_eq!(settings.flush_events, 262_144);
    assert_eq!(settings.flush_bytes, 64 << 20);
    assert_eq!(settings.body_bytes_max, 16 << 20);
    assert_eq!(settings.batch_events_max, 10_000);
    assert_eq!(settings.event_bytes_max, 900_000);
    assert_eq!(settings.partitions, None);
    assert_eq!(settings.compaction_fanout, 8);
    assert_eq!(settings.segments_kept_for, Duration::from_secs(86_400));
    assert_eq!((settings.retention, settings.minute_windows_kept_for), (None, None));
    assert_eq!((settings.wide_groups_max, settings.refold_events), (200_000, 1_000_000));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(10));
    assert_eq!(settings.log_format, LogFormat::Text);
}

#[test]
fn later_layers_win_and_each_value_knows_its_origin() {
    let file = file("partitions = 2\nflush_interval = \"1m\"\nflush_events = 7").unwrap();
    let environment = environment(&[
        ("WEIR_PARTITIONS", "3"),
        ("WEIR_FLUSH_INTERVAL", "2m"),
        ("WEIR_PORT", "tcp://10.0.0.1:80"),
        ("weir_flush_events", "9"),
    ]);
    let settings = Settings::resolve(&[file, environment, flags(&[("partitions", "4")])]).unwrap();
    assert_eq!(settings.partitions, Some(4));
    assert_eq!(settings.flush_interval, Duration::from_secs(120));
    assert_eq!(settings.flush_events, 7);
    let rendered = settings.render();
    assert!(rendered.contains("\npartitions = 4  # from the flag --partitions\n"), "{rendered}");
    assert!(
        rendered.contains("\nflush_interval = \"2m\"  # from the environment, WEIR_FLUSH_INTERVAL\n"),
        "{rendered}"
    );
    assert!(rendered.contains("\nflush_events = 7  # from weir.toml\n"), "{rendered}");
}

#[test]
fn places_follow_the_data_folder_unless_given() {
    let settings =
        Settings::resolve(&[flags(&[("data_dir", "/srv/w"), ("store", "file:///big/store")])]).unwrap();
    assert_eq!(settings.log, LogUrl::File("/srv/w/log".into()));
    assert_eq!(settings.store, StoreUrl::File("/big/store".into()));
    assert_eq!(settings.catalog, CatalogUrl::Sqlite("/srv/w/catalog.db".into()));
}

#[test]
fn unknown_keys_are_refused_by_name_with_the_nearest_match() {
    insta::assert_snapshot!(
        file("flush-intervall = \"1m\"").unwrap_err().to_string(),
        @"weir.toml has an unknown setting `flush-intervall` (did you mean `flush_interval`?); `weir config` prints all there are"
    );
    insta::assert_snapshot!(
        file("[server]\nport = 1").unwrap_err().to_string(),
        @"weir.toml has an unknown setting `server`; `weir config` prints all there are"
    );
}

#[test]
fn a_bad_value_names_its_place_and_what_would_be_right() {
    insta::assert_snapshot!(
        complaint(&[file("partitions = 0").unwrap()]),
        @"partitions = `0` in weir.toml: not a whole number from 1 to 256, or `auto`"
    );
    insta::assert_snapshot!(
        complaint(&[environment(&[("WEIR_FLUSH_INTERVAL", "soon")])]),
        @"WEIR_FLUSH_INTERVAL=`soon`: not a duration longer than zero, such as 250ms, 10s, 5m or 1h 30m"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("log", "kafka://broker/topic")])]),
        @"--log `kafka://broker/topic`: `kafka` is not available; this version has one kind of log: file:FOLDER"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("catalog", "catalog.db")])]),
        @"--catalog `catalog.db`: not an address; this version has one kind of catalog: sqlite:FILE"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("listen", "8888")])]),
        @"--listen `8888`: not an address with a port, such as 127.0.0.1:8888, 0.0.0.0:8888 or [::1]:8888"
    );
    insta::assert_snapshot!(
        file("partitions = true").unwrap_err().to_string(),
        @"partitions in weir.toml: is a boolean, and must be a text or a whole number"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("retention", "3h")])]),
        @"--retention `3h`: not a duration of at least a day, such as 400d or 36h, nor `forever`"
    );
    assert!(complaint(&[flags(&[("compaction_fanout", "1")])]).contains("from 2 to 64"));
    assert!(complaint(&[flags(&[("event_bytes_max", "1 GiB")])]).contains("raise body_bytes_max"));
    assert!(complaint(&[flags(&[("segments_kept_for", "59s")])]).contains("raise segments_kept_for"));
}

#[test]
fn what_is_rendered_reads_back_as_the_same() {
    let odd = flags(&[
        ("data_dir", "/srv/we \"ir\""),
        ("telemetry_listen", "127.0.0.1:9"),
        ("flush_interval", "1h 30m"),
        ("flush_bytes", "1_000_001"),
        ("log_segment_bytes", "3 GiB"),
        ("log_level", "info,weir_log=debug"),
        ("query_deadline", "250ms"),
        ("partitions", "auto"),
        ("retention", "400d"),
        ("minute_windows_kept_for", "36h"),
    ]);
    let settings = Settings::resolve(&[odd]).unwrap();
    let again = Settings::resolve(&[file(&settings.render()).unwrap()]).unwrap();
    assert_eq!(again.shown(), settings.shown());
}

#[test]
fn sizes_and_durations_are_humane() {
    let bytes = values::file_bytes::parse;
    assert_eq!(bytes("64 MiB"), Ok(64 << 20));
    assert_eq!(bytes("64MiB"), Ok(64 << 20));
    assert_eq!(bytes("16 MB"), Ok(16_000_000));
    assert_eq!(bytes("900_000"), Ok(900_000));
    for wrong in ["", "MiB", "-1", "0", "1.5 GiB", "99999999999 GiB", "64 mebi"] {
        assert!(bytes(wrong).is_err(), "{wrong}");
    }
    let duration = values::duration::parse;
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    for wrong in ["", "5", "0s", "-1s", "ever"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
    let kept_for = values::kept_for::parse;
    assert_eq!(kept_for("2d"), Ok(Some(Duration::from_secs(172_800))));
    assert_eq!(kept_for("36h"), Ok(Some(Duration::from_secs(129_600))));
    assert_eq!(kept_for("forever"), Ok(None));
    for wrong in ["", "0d", "d", "-1d", "23h", "1.5d", "9999999999999999999d", "ever"] {
        assert!(kept_for(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_start_tells_names_and_values_apart() {
    let given: Vec<(&'static str, String)> = SPECS
        .iter()
        .zip(Settings::resolve(&[]).unwrap().shown())
        .map(|(spec, value)| (spec.name, value.to_string().trim_matches('"').to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let all = Settings::resolve(&[Layer::of(Origin::Flag, given)]).unwrap().summary();
    for spec in SPECS {
        let line = all.lines().find(|line| line.trim_start().starts_with(spec.name));
        let line = line.unwrap_or_else(|| panic!("{} is missing in {all}", spec.name));
        assert!(line.trim_start()[spec.name.len()..].starts_with("  "), "{line}");
    }
}
