//! Every setting of the server, each explained where it is defined. A value comes from the default,
//! the file, the environment or a flag, the later ones winning, and `weir config` prints which.

mod contradictions;
mod layers;
mod render;
pub mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use layers::{Layer, Origin, SettingFlags, SettingsError, stray_variables};
pub use values::{CatalogUrl, LogFormat, LogUrl, StoreUrl};

/// What is known about a setting besides its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// The lines of its explanation.
    pub(crate) doc: &'static [&'static str],
    /// As one would write it; `DATA_DIR` stands for the value of `data_dir`.
    pub(crate) default: &'static str,
    /// What the help calls the value.
    pub(crate) placeholder: &'static str,
}

impl Spec {
    /// Whether its value is true or false.
    pub(crate) fn is_switch(&self) -> bool {
        matches!(self.default, "true" | "false")
    }
}

/// Makes the struct, its table of specs, and the ways from and to text out of one list, so that a
/// setting cannot exist without an explanation, a flag and a place in the file.
macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $name:ident : $type:ty = $codec:ident($default:literal), $placeholder:literal; )+) => {
        /// Every setting of the server, in force. See each field; made by [`Settings::resolve`].
        #[derive(Clone, Debug)]
        pub struct Settings {
            $( $(#[doc = $doc])+ pub $name: $type, )+
            /// Where each value came from, in the order of the fields.
            pub(crate) origins: Vec<Origin>,
        }

        pub(crate) const SPECS: &[Spec] = &[ $( Spec {
            name: stringify!($name),
            doc: &[$($doc),+],
            default: $default,
            placeholder: $placeholder,
        }, )+ ];

        impl Settings {
            fn from_chosen(chosen: &layers::Chosen) -> Result<Self, SettingsError> {
                Ok(Self {
                    $( $name: chosen.parsed(stringify!($name), values::$codec::parse)?, )+
                    origins: chosen.origins(),
                })
            }

            /// Every value as the file would have it, in the order of the fields.
            fn shown(&self) -> Vec<toml::Value> {
                vec![ $( values::$codec::show(&self.$name), )+ ]
            }
        }
    };
}

settings! {
    /// Folder for everything Weir keeps. It is made if it is missing.
    data_dir: PathBuf = path("./weir-data"), "DIR";
    /// Address for the HTTP API. 127.0.0.1 is reachable from this machine only; 0.0.0.0 from all.
    listen: SocketAddr = address("127.0.0.1:8888"), "ADDR:PORT";
    /// Whether everybody who reaches `listen` is let in without a key, also from other machines. Without it, a
    /// server that others can reach starts only once there is a key.
    insecure_open: bool = switch("false"), "BOOL";
    /// Address for metrics and health, apart from the API's, or `off`.
    telemetry_listen: Option<SocketAddr> = optional_address("off"), "ADDR:PORT";
    /// The durable log of events: `file:FOLDER`.
    log: LogUrl = log_url("file:DATA_DIR/log"), "URL";
    /// Events and windows at rest: `file:FOLDER`, written as Parquet.
    store: StoreUrl = store_url("file:DATA_DIR/store"), "URL";
    /// Meters and commit records: `sqlite:FILE`.
    catalog: CatalogUrl = catalog_url("sqlite:DATA_DIR/catalog.db"), "URL";
    /// Partitions of the log, 1 to 256, or `auto`: as many as the machine has cores. Read once, when the
    /// log is made: it decides for good where each identity lies. A log that is there keeps its number.
    partitions: Option<u32> = partitions("auto"), "COUNT";
    /// Longest time that folded events stay in memory only. They are durable in the log meanwhile.
    flush_interval: Duration = duration("5m"), "DURATION";
    /// Most events that are folded in memory before they are written to the store.
    flush_events: usize = count("262144"), "COUNT";
    /// Most bytes of events, and of the windows they make, that are folded in memory before they are written to the
    /// store. More makes fewer and larger segments.
    flush_bytes: usize = bytes("256 MiB"), "SIZE";
    /// Segments of the store that become one larger one, 2 or more. A higher number writes less and
    /// leaves more segments for queries to read.
    compaction_fanout: usize = fanout("8"), "COUNT";
    /// For how long segments stay that larger ones have replaced, so that queries at old positions find
    /// them. At least twice query_deadline.
    segments_kept_for: Duration = duration("24h"), "DURATION";
    /// For how long events are kept, by their own time and in whole days of UTC: `forever`, or at least
    /// one day, such as `400d`. Older ones are first hidden from queries, then deleted.
    retention: Option<Duration> = kept_for("forever"), "DURATION";
    /// For how long windows of a minute are kept where windows of an hour stand for them: `forever`, or
    /// such as `90d`. Without minutes, queries with other bounds than whole hours read events there.
    minute_windows_kept_for: Option<Duration> = kept_for("forever"), "DURATION";
    /// Most identities of past events that are remembered in memory as they are, about 100 bytes each at the
    /// worst. All others of the last 35 days are in files under DATA_DIR/index, and take some 2.4 bytes.
    identities_in_memory: usize = count("1835008"), "COUNT";
    /// Most groups (subject and group-by values) of one hour that a meter may have windows of. Queries of
    /// a meter with more read its events.
    wide_groups_max: usize = count("200000"), "COUNT";
    /// Most events that are folded at once in memory for meters that were made after them.
    refold_events: usize = count("1000000"), "COUNT";
    /// Most memory of what goes on in the background: merging segments, and folding events for meters that
    /// were made after them. A meter that would need more than a third of it for one hour of one subject
    /// gets no windows.
    maintenance_memory_max: usize = bytes("1 GiB"), "SIZE";
    /// Size at which the log begins a new file. Whole files are dropped once the store has their events.
    log_segment_bytes: u64 = file_bytes("128 MiB"), "SIZE";
    /// Most bytes of events that wait for the log's disk. Beyond it, requests are answered 503.
    log_queue_bytes: usize = bytes("64 MiB"), "SIZE";
    /// Largest body of a request with events, as it comes and after decompression.
    body_bytes_max: usize = bytes("16 MiB"), "SIZE";
    /// Most bytes of such bodies that are held at one time, in any form. Beyond it, requests are
    /// answered 503.
    buffered_bytes_max: usize = bytes("512 MiB"), "SIZE";
    /// Longest time that a client may take to send its body.
    body_timeout: Duration = duration("30s"), "DURATION";
    /// Most events in one request.
    batch_events_max: usize = count("10000"), "COUNT";
    /// Largest event, as sent.
    event_bytes_max: usize = bytes("900000"), "SIZE";
    /// Most attributes of one event, extensions among them.
    attributes_max: usize = count("128"), "COUNT";
    /// Longest attribute, and longest name of one.
    attribute_bytes_max: usize = bytes("1024"), "SIZE";
    /// Deepest nesting of objects and arrays, 1 to 128, the event itself being the first level.
    nesting_max: usize = nesting("64"), "COUNT";
    /// Most connections at one time. Another one takes the place of the one that has been idle longest,
    /// or is answered 503 where none is. At most half of the files that the process may open.
    connections_max: usize = count("4096"), "COUNT";
    /// Longest time from a new connection to the end of its first request's headers.
    header_timeout: Duration = duration("10s"), "DURATION";
    /// Longest time that a connection stays without a request. Above that of any proxy in front.
    idle_timeout: Duration = duration("2m"), "DURATION";
    /// Longest time that a client may leave an answer unread.
    write_timeout: Duration = duration("30s"), "DURATION";
    /// Most bytes of a request's headers.
    header_bytes_max: usize = header_bytes("64 KiB"), "SIZE";
    /// Most requests at one time on one HTTP/2 connection. Others wait on the client's side.
    streams_max: usize = count("200"), "COUNT";
    /// Heavy queries that run at the same time, and as many light ones beside them: those that read little
    /// never wait behind those that read much. Others wait for their turn, within their deadline.
    query_concurrency: usize = count("4"), "COUNT";
    /// Queries of each kind, light and heavy, that may wait for their turn. Beyond it they are answered 503.
    query_waiting_max: usize = count("256"), "COUNT";
    /// Most bytes that a query would read of the store to be called light.
    query_light_bytes: usize = bytes("16 MiB"), "SIZE";
    /// Longest time that a query may take, with its waiting.
    query_deadline: Duration = duration("30s"), "DURATION";
    /// Longest time that a query waits for the position it was given.
    query_position_wait: Duration = duration("10s"), "DURATION";
    /// Most memory of one query: what it sums up in, what it folds, and its answer.
    query_memory_max: usize = bytes("512 MiB"), "SIZE";
    /// Most memory of all queries together, answers that are being sent included. Queries beyond it are
    /// answered 503.
    query_memory_total_max: usize = bytes("1 GiB"), "SIZE";
    /// Most events that one query may read one by one, where no window answers.
    query_events_max: usize = count("20000000"), "COUNT";
    /// Most windows and distinct values that one query may fold of events.
    query_windows_max: usize = count("2000000"), "COUNT";
    /// Most memory of the windows that one query may fold of events.
    query_folded_bytes_max: usize = bytes("256 MiB"), "SIZE";
    /// Most rows of an answer.
    query_result_rows_max: usize = count("100000"), "COUNT";
    /// Most bytes of an answer.
    query_result_bytes_max: usize = bytes("64 MiB"), "SIZE";
    /// Largest body of a query or a meter.
    query_body_bytes_max: usize = bytes("1 MiB"), "SIZE";
    /// Longest time that the body of a query or a meter may take to arrive.
    query_body_wait: Duration = duration("10s"), "DURATION";
    /// For how long a client may read nothing of a large answer before it is thrown away.
    query_unread_wait: Duration = duration("30s"), "DURATION";
    /// Most meters at a time.
    meters_max: usize = count("1000"), "COUNT";
    /// Most meters ever, deleted ones and each change of a group-by included.
    meters_ever_max: usize = count("100000"), "COUNT";
    /// Most keys of a namespace, ended ones aside.
    keys_max: usize = count("100"), "COUNT";
    /// Most keys of all namespaces, ended ones that are still kept included.
    keys_total_max: usize = count("100000"), "COUNT";
    /// Time that requests under way are given when the server is told to stop.
    shutdown_grace: Duration = duration("10s"), "DURATION";
    /// Form of the server's own log on stderr: `text` for people, `json` for machines.
    log_format: LogFormat = log_format("text"), "FORMAT";
    /// How much the server tells: `error`, `warn`, `info`, `debug`, `trace`, also by part, as in
    /// `info,weir_log=debug`.
    log_level: String = log_level("info"), "LEVEL";
}

impl Settings {
    /// Puts the layers over the defaults, the last one winning, and checks the outcome.
    pub fn resolve(layers: &[Layer]) -> Result<Self, SettingsError> {
        let settings = Self::from_chosen(&layers::Chosen::of(layers))?;
        settings.check()?;
        Ok(settings)
    }

    /// The defaults, with everything under one folder.
    pub fn in_folder(data_dir: &Path) -> Result<Self, SettingsError> {
        Self::resolve(&[Layer::of(Origin::Flag, [("data_dir", data_dir.display().to_string())])])
    }
}

#[cfg(test)]
mod tests;
