//! Where values come from, which are refused, and what is printed.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};

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
    assert_eq!(settings.flush_bytes, 256 << 20);
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
fn variables_without_effect_are_told_with_the_nearest_match() {
    let variables = |names: &[(&str, &str)]| {
        stray_variables(names.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    };
    for spec in SPECS {
        let name = format!("WEIR_{}", spec.name.to_ascii_uppercase());
        assert!(variables(&[(&name, "1")]).is_empty(), "{name}");
    }
    let quiet = [
        ("WEIR_CONFIG", "weir.toml"),
        ("WEIR_URL", "http://127.0.0.1:1"),
        ("WEIR_PHASE_FILE", "/tmp/phase"),
        ("WEIR_SERVICE_HOST", "10.0.0.1"),
        ("WEIR_SERVICE_PORT", "80"),
        ("WEIR_SERVICE_PORT_HTTP", "80"),
        ("WEIR_PORT", "tcp://10.0.0.1:80"),
        ("WEIR_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("WEIR_QUERY_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
        ("WEIRD", "yes"),
    ];
    assert_eq!(variables(&quiet), Vec::<String>::new());
    insta::assert_snapshot!(
        variables(&[("WEIR_LISTN", "1"), ("weir_partitions", "2"), ("WEIR_CONFG", "3"), ("WEIR_ZZZZ", "4")]).join("\n"),
        @r"
    the environment variable WEIR_CONFG is no setting and has no effect (did you mean WEIR_CONFIG?); `weir config` prints all settings
    the environment variable WEIR_LISTN is no setting and has no effect (did you mean WEIR_LISTEN?); `weir config` prints all settings
    the environment variable WEIR_ZZZZ is no setting and has no effect; `weir config` prints all settings
    the environment variable weir_partitions is no setting and has no effect (did you mean WEIR_PARTITIONS?); `weir config` prints all settings
    "
    );
    assert_eq!(variables(&[("WEIR_PORT", "8888")]).len(), 1, "a port that nobody reads");
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
fn a_value_that_is_too_large_is_told_so() {
    let digits = "99999999999999999999999";
    insta::assert_snapshot!(
        complaint(&[flags(&[("meters_max", digits)])]),
        @"--meters-max `99999999999999999999999`: too large, at most 4294967295"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("body_bytes_max", digits)])]),
        @"--body-bytes-max `99999999999999999999999`: too large, at most 8589934591 GiB"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("body_bytes_max", "99999999TiB")])]),
        @"--body-bytes-max `99999999TiB`: `TiB` is no unit of size here; use B, kB, MB, GB, KiB, MiB or GiB"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("query_deadline", "200000000d")])]),
        @"--query-deadline `200000000d`: days are not taken here; write hours, such as 48h"
    );
    let long = "--query-deadline `876001h`: too long, at most 876000h; that is a hundred years";
    assert_eq!(complaint(&[flags(&[("query_deadline", "876001h")])]), long);
    let much_longer = complaint(&[flags(&[("query_deadline", "1h 99999999999999999999s")])]);
    assert!(much_longer.ends_with("too long, at most 876000h; that is a hundred years"), "{much_longer}");
    for much in ["36501d", "9999999999999999999d", "99999999999999999999999d", "876001h"] {
        let told = complaint(&[flags(&[("retention", much)])]);
        assert!(told.ends_with("too long, at most 36500d; write `forever` to keep everything"), "{told}");
    }
    for fine in [("meters_max", "4294967295"), ("retention", "36500d"), ("query_position_wait", "876000h")] {
        Settings::resolve(&[flags(&[fine])]).unwrap();
    }
    for (wrong, told) in
        [("0", "at least 1"), ("-1", "at least 1"), ("1.5", "at least 1"), ("", "at least 1")]
    {
        let complaint = complaint(&[flags(&[("meters_max", wrong)])]);
        assert!(complaint.contains(told), "{complaint}");
    }
}

#[test]
fn requests_that_could_never_be_taken_are_told_by_their_settings() {
    insta::assert_snapshot!(
        complaint(&[flags(&[("log_queue_bytes", "1 MiB")])]),
        @"body_bytes_max (16777216 bytes) and batch_events_max (10000 events, 512 bytes around each) let in requests of up to 21897216 bytes, which log_queue_bytes (1048576 bytes) would never let into the log; raise log_queue_bytes to that, or lower body_bytes_max or batch_events_max"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("body_bytes_max", "1 GiB"), ("log_queue_bytes", "4 GiB"), ("buffered_bytes_max", "8 GiB")])]),
        @"body_bytes_max (1073741824 bytes) and batch_events_max (10000 events, 512 bytes around each) let in requests of up to 1078861824 bytes, and the log takes at most 1073741824 at once; lower body_bytes_max or batch_events_max"
    );
    insta::assert_snapshot!(
        complaint(&[flags(&[("buffered_bytes_max", "15 MiB")])]),
        @"buffered_bytes_max (15728640 bytes) has no room for one request of body_bytes_max (16777216 bytes), which takes up to 50335744 as it comes, decompressed and as JSON, so it would be answered 503 for ever; raise buffered_bytes_max to that, or lower body_bytes_max"
    );
    // What the sentences say to set is enough, and one byte less is not.
    for (name, enough) in [("log_queue_bytes", 21_897_216_u64), ("buffered_bytes_max", 50_335_744)] {
        Settings::resolve(&[flags(&[(name, &enough.to_string())])]).unwrap();
        assert!(complaint(&[flags(&[(name, &(enough - 1).to_string())])]).contains("to that, or lower"));
    }
    let at_the_frame = |events: &str| {
        let body = (contradictions::FRAME_BYTES_MAX - 512 * 1_000).to_string();
        let layer = flags(&[
            ("body_bytes_max", &body),
            ("batch_events_max", events),
            ("log_queue_bytes", "4 GiB"),
            ("buffered_bytes_max", "8 GiB"),
        ]);
        Settings::resolve(&[layer])
    };
    assert_eq!(at_the_frame("1000").unwrap().append_bytes_max(), contradictions::FRAME_BYTES_MAX);
    assert!(at_the_frame("1001").is_err());
}

/// What the settings allow the log must take, or the start would fail there, without a setting's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_settings_let_in_suits_the_parts() {
    let body = (contradictions::FRAME_BYTES_MAX - 512 * 1_000).to_string();
    let least_queue = vec![("log_queue_bytes", "21897216")];
    let most_at_once = vec![
        ("batch_events_max", "1000"),
        ("body_bytes_max", &body),
        ("log_queue_bytes", "1 GiB"),
        ("buffered_bytes_max", "4 GiB"),
    ];
    for mut values in [least_queue, most_at_once] {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data").display().to_string();
        values.extend([("data_dir", data_dir.as_str()), ("listen", "127.0.0.1:0")]);
        let settings = Settings::resolve(&[flags(&values)]).unwrap();
        crate::serve::start(settings).await.unwrap().stop().await.unwrap();
    }
}

#[test]
fn a_switch_is_turned_on_by_its_name() {
    let on = |layer: Layer| Settings::resolve(&[layer]).unwrap().insecure_open;
    assert!(!on(flags(&[])) && on(flags(&[("insecure_open", "true")])));
    assert!(on(file("insecure_open = true").unwrap()) && !on(file("insecure_open = \"false\"").unwrap()));
    assert!(on(environment(&[("WEIR_INSECURE_OPEN", "true")])));
    insta::assert_snapshot!(
        complaint(&[environment(&[("WEIR_INSECURE_OPEN", "1")])]),
        @"WEIR_INSECURE_OPEN=`1`: neither `true` nor `false`"
    );
    let command = |args: &[&str]| {
        let matches = SettingFlags::augment_args(clap::Command::new("x")).get_matches_from(args);
        SettingFlags::from_arg_matches(&matches).unwrap().layer
    };
    assert!(on(command(&["x", "--insecure-open"])) && on(command(&["x", "--insecure-open=true"])));
    assert!(!on(command(&["x", "--insecure-open=false"])) && !on(command(&["x"])));
}

#[test]
fn who_can_reach_the_server() {
    for (listen, reachable) in [
        ("127.0.0.1:1", false),
        ("127.9.9.9:1", false),
        ("[::1]:1", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("0.0.0.0:1", true),
        ("[::]:1", true),
        ("192.168.0.1:1", true),
    ] {
        let settings = Settings::resolve(&[flags(&[("listen", listen)])]).unwrap();
        assert_eq!(settings.is_reachable(), reachable, "{listen}");
    }
}

#[test]
fn two_listeners_do_not_take_one_address() {
    insta::assert_snapshot!(
        complaint(&[flags(&[("telemetry_listen", "127.0.0.1:8888")])]),
        @"listen (127.0.0.1:8888) and telemetry_listen (127.0.0.1:8888) take the same port of the same address; give one of them another port"
    );
    for (listen, telemetry, fine) in [
        ("0.0.0.0:8888", "127.0.0.1:8888", false),
        ("127.0.0.1:8888", "0.0.0.0:8888", false),
        ("[::1]:8888", "[::1]:8888", false),
        ("127.0.0.1:0", "127.0.0.1:0", true),
        ("127.0.0.1:8888", "127.0.0.2:8888", true),
        ("127.0.0.1:8888", "[::1]:8888", true),
        ("127.0.0.1:8888", "127.0.0.1:8889", true),
    ] {
        let resolved = Settings::resolve(&[flags(&[("listen", listen), ("telemetry_listen", telemetry)])]);
        assert_eq!(resolved.is_ok(), fine, "{listen} {telemetry}");
    }
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
