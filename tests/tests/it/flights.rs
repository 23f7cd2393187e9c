//! A month of real flights, shuffled and sent twice by eight clients at once, against totals that a
//! Python script of a few lines computed (`tests/data/flights_totals.py`). `WEIR_FLIGHTS` names the file
//! with the whole year instead.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use weir_tests::generate::Rng8;
use weir_tests::http::{Api, BATCH};
use weir_tests::reference::{Aggregation, Meter};
use weir_tests::server::Options;

use crate::settings;

const CLIENTS: usize = 8;
const BATCH_EVENTS: usize = 500;
const TIMES_SENT: usize = 2;

/// Meters by the column of the table that they must equal.
const METERS: [(&str, Aggregation, Option<&str>); 6] = [
    ("flights", Aggregation::Count, None),
    ("distance", Aggregation::Sum, Some("$.distance")),
    ("air_time", Aggregation::Sum, Some("$.air_time")),
    ("average", Aggregation::Avg, Some("$.air_time")),
    ("shortest", Aggregation::Min, Some("$.air_time")),
    ("longest", Aggregation::Max, Some("$.air_time")),
];

/// Month and carrier to the texts of the columns, for one zone.
type Table = BTreeMap<(String, String), BTreeMap<String, String>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_per_carrier_and_month_in_two_zones() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, table) = match env::var_os("WEIR_FLIGHTS") {
        Some(path) => (PathBuf::from(path), "flights-2013.csv"),
        None => (here.join("../examples/flights-2013-03.ndjson.gz"), "flights-2013-03.csv"),
    };
    let mut lines = lines_of(&path);
    let flights = lines.len();
    lines = std::iter::repeat_n(lines, TIMES_SENT).flatten().collect();
    let seed = settings::number("WEIR_TEST_SEED", 20_130_301);
    println!("flights: {flights} from {}, seed {seed}", path.display());
    lines.shuffle(&mut Rng8::seed_from_u64(seed));

    let folder = tempfile::tempdir().unwrap();
    let server = Options::new(&folder.path().join("data"), &["--flush-events", "10000"]).start();
    let api = Api::new(&server.url);
    // Some meters are there before the flights, some come after them.
    let (before, after) = METERS.split_at(3);
    for meter in before {
        api.create_meter(&meter_of(meter)).await;
    }
    send(&api, &lines).await;
    for meter in after {
        api.create_meter(&meter_of(meter)).await;
    }
    let position = api.position().await;
    for zone in ["America/New_York", "Asia/Tokyo"] {
        let wanted = read_table(&here.join("data").join(table), zone);
        for meter in METERS {
            let found = totals(&api, meter.0, zone, &position).await;
            let wanted: BTreeMap<_, _> = wanted
                .iter()
                .map(|(place, columns)| (place.clone(), columns[meter.0].clone()))
                .filter(|(_, total)| !total.is_empty())
                .collect();
            assert!(wanted.len() >= 14, "the table knows too few totals of {} in {zone}", meter.0);
            assert_eq!(found, wanted, "{} in {zone}", meter.0);
        }
    }
    server.stop();
}

fn lines_of(path: &Path) -> Vec<String> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn meter_of((slug, aggregation, property): &(&str, Aggregation, Option<&str>)) -> Meter {
    Meter {
        slug: (*slug).to_owned(),
        event_type: "flight".to_owned(),
        aggregation: *aggregation,
        value_property: property.map(str::to_owned),
        group_by: BTreeMap::from([("origin".to_owned(), "$.origin".to_owned())]),
        event_from: None,
    }
}

async fn send(api: &Api, lines: &[String]) {
    let batches: Vec<String> =
        lines.chunks(BATCH_EVENTS).map(|batch| format!("[{}]", batch.join(","))).collect();
    let per_client = batches.len().div_ceil(CLIENTS);
    let clients: Vec<_> = batches
        .chunks(per_client)
        .map(|batches| {
            let (api, batches) = (api.clone(), batches.to_vec());
            tokio::spawn(async move {
                for batch in batches {
                    api.post("/api/v1/events", BATCH, batch).await.expect(204);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

/// The server's totals, by month and carrier.
async fn totals(api: &Api, slug: &str, zone: &str, position: &str) -> BTreeMap<(String, String), String> {
    let path = format!("/api/v1/meters/{slug}/query?windowSize=MONTH&windowTimeZone={zone}&groupBy=subject");
    let reply = api.get_at(&path, position).await.expect(200).json();
    let rows = reply.get("data").unwrap().items();
    let totals: BTreeMap<_, _> = rows
        .iter()
        .map(|row| {
            let start = row.text("windowStart");
            // In the zone's own time a month begins on its first day, at midnight.
            let month = start.split_once("-01T00:00:00").unwrap_or_else(|| panic!("{start} in {zone}")).0;
            let weir_tests::reference::json::Json::Number(value) = row.get("value").unwrap() else {
                panic!("{row:?}")
            };
            ((month.to_owned(), row.text("subject").to_owned()), value.clone())
        })
        .collect();
    assert_eq!(totals.len(), rows.len(), "a month and carrier has two rows");
    totals
}

fn read_table(path: &Path, zone: &str) -> Table {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    lines
        .filter(|row| row[0] == zone)
        .map(|row| ((row[1].clone(), row[2].clone()), header.iter().cloned().zip(row).collect()))
        .collect()
}
