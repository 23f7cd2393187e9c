//! Exports are read back by the formats' own readers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir::export::{Events, FileFormat, Output, WindowsOf, run_events, run_windows};
use weir::output::Style;
use weir_meter::Namespace;

use crate::folder::{EVENTS, Folder, Server, sum_below};

fn output(file: PathBuf) -> Output {
    Output { file, format: None, force: false }
}

fn events() -> Events {
    Events {
        namespace: Namespace::default(),
        event_type: None,
        subjects: Vec::new(),
        from_us: None,
        to_us: None,
    }
}

fn parquet(path: &Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.build().unwrap().map(|batch| batch.unwrap()).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_with_their_types_beside_a_running_server() {
    let folder = Folder::filled().await;
    let server = Server::start(&folder.data).await;
    let file = folder.path("events.parquet");
    run_events(&folder.place(), &events(), &output(file.clone())).await.unwrap();
    let batches = parquet(&file);
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64,
        EVENTS,
        "duplicates do not count"
    );
    let first = &batches[0];
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(first.schema().field(0).data_type(), &utc);
    let names: Vec<String> = first.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected = "time subject type source id data attributes record_time epoch partition offset";
    assert_eq!(names.join(" "), expected);
    let id: i64 = first["id"].as_string::<i32>().value(0).parse().unwrap();
    let time_us = first["time"].as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(time_us, 1_767_225_600_000_000 + id * 61_000_000);
    assert_eq!(
        first["data"].as_string::<i32>().value(0),
        format!(r#"{{"n":"{id}.25","model":"m{}"}}"#, id % 3)
    );

    // A part of them, as text.
    let file = folder.path("some.csv");
    let some = Events {
        subjects: vec!["s3".to_owned()],
        from_us: Some(1_767_225_600_000_000 + 61_000_000 * 13),
        to_us: Some(1_767_225_600_000_000 + 61_000_000 * 43),
        event_type: Some("request".to_owned()),
        ..events()
    };
    run_events(&folder.place(), &some, &output(file.clone())).await.unwrap();
    let mut ids: Vec<String> =
        lines(&file)[1..].iter().map(|line| line.split(',').nth(4).unwrap().to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["13", "23", "33"]);
    assert!(lines(&file)[1].contains(r#""{""n"":""#), "{}", lines(&file)[1]);
    server.stop().await;

    // Nothing is overwritten unasked, and nothing is left of what failed.
    let refused = run_events(&folder.place(), &events(), &output(file.clone())).await.unwrap_err();
    assert!(refused.render(Style::PLAIN).contains("--force"));
    let forced = Output { force: true, ..output(file.clone()) };
    run_events(&folder.place(), &events(), &forced).await.unwrap();
    assert_eq!(lines(&file).len() as u64, EVENTS + 1);
    let unnamed = run_events(&folder.place(), &events(), &output(folder.path("events.txt"))).await;
    assert!(unnamed.unwrap_err().render(Style::PLAIN).contains("--format"));
    let other = Events { namespace: Namespace::new("other"), ..events() };
    let csv = Output { format: Some(FileFormat::Csv), ..output(folder.path("events.txt")) };
    run_events(&folder.place(), &other, &csv).await.unwrap();
    assert_eq!(lines(&folder.path("events.txt")).len(), 1, "another namespace sees nothing");
    let left = fs::read_dir(folder.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".weir-export"));
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_come_with_every_digit() {
    let folder = Folder::filled().await;
    let windows = WindowsOf {
        namespace: Namespace::default(),
        meter: "amount".to_owned(),
        window_size: Some("HOUR"),
        zone: None,
        from: None,
        to: None,
        group_by: Vec::new(),
    };
    let file = folder.path("hours.parquet");
    run_windows(&folder.place(), &windows, &output(file.clone())).await.unwrap();
    let batches = parquet(&file);
    let names: Vec<String> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["window_start", "window_end", "subject", "model", "value"]);
    let quarters: f64 = batches
        .iter()
        .flat_map(|batch| {
            batch["value"].as_string::<i32>().iter().map(|value| value.unwrap().parse::<f64>().unwrap())
        })
        .sum();
    assert_eq!(quarters.to_string(), sum_below(EVENTS));

    let file = folder.path("days.csv");
    let days = WindowsOf {
        window_size: Some("DAY"),
        zone: Some("America/New_York".to_owned()),
        group_by: vec!["model".to_owned()],
        ..windows.clone()
    };
    run_windows(&folder.place(), &days, &output(file.clone())).await.unwrap();
    let lines = lines(&file);
    assert_eq!(lines[0], "window_start,window_end,model,value");
    assert!(lines[1].starts_with("2025-12-31T00:00:00-05:00,2026-01-01T00:00:00-05:00,m0,"), "{}", lines[1]);
    let nothing = WindowsOf { meter: "nothing".to_owned(), ..windows };
    let refused = run_windows(&folder.place(), &nothing, &output(folder.path("x.csv"))).await.unwrap_err();
    assert!(refused.render(Style::PLAIN).contains("there is no meter `nothing`"));
    assert!(!folder.path("x.csv").exists());
}
