//! Wires the services to their log, store and catalog, and runs them in this process.

mod access;
mod clock;
mod descriptors;
mod health;
mod http;
mod keys;
mod listen;
mod metrics;
pub(crate) mod parts;
mod refusals;
mod services;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_aggregator::AggregatorError;
use weir_catalog::{Catalog, CatalogError};
use weir_ingest::IngestService;
use weir_log::{Log, LogError};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::hash::HashKey;
use weir_store::StoreError;

use crate::data::FolderLock;
use crate::environment::{OsEntropy, SystemClock};
use crate::settings::{LogUrl, Settings};
use health::Health;
use listen::ListenerOptions;
use refusals::{Refusals, Watched};

/// Bytes of records that are taken and folded in one step.
const STEP_BYTES: usize = 512 * 1024;
/// How long a drained server may take to bring its head to rest. What does not make it is in the log.
const FLUSH_GRACE: Duration = Duration::from_secs(60);

/// Why the server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{path} is in use by another Weir process; stop that one, or choose another --data-dir")]
    InUse { path: String },
    #[error("cannot use {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error(
        "the catalog {catalog} is missing or empty, but {data} holds data that belongs to one; bring the catalog back, \
         or choose an empty --data-dir"
    )]
    LostCatalog { catalog: String, data: String },
    #[error(
        "the log {log} is missing, but the catalog counts events of it; bring it back from a copy, or choose an \
         empty --data-dir"
    )]
    LostLog { log: String },
    #[error(
        "{store} is missing, or its file {marker} is, but the catalog lists {segments} segments in it; bring the \
         store back from a copy, or choose an empty --data-dir"
    )]
    LostStore { store: String, marker: &'static str, segments: usize },
    #[error("cannot open the catalog {path}: {context}: {reason}; {advice}")]
    CatalogOpen { path: String, context: &'static str, reason: String, advice: &'static str },
    #[error("{path} {what}; {advice}")]
    Copy { path: String, what: &'static str, advice: &'static str },
    #[error(
        "the log was made with {stored} partitions, the settings ask for {asked}; identities cannot move, so set \
         partitions = {stored}, or `auto`"
    )]
    Partitions { stored: u32, asked: u32 },
    #[error(
        "this machine's clock shows {now}, which cannot be right; set it, best by NTP, and start again: what is \
         stored would stay dated by it for good"
    )]
    Clock { now: String },
    #[error(
        "this process may have {found} files open at a time, and needs at least {needed} with {partitions} partitions; \
         raise the limit of open files (`ulimit -n`, or LimitNOFILE of the systemd unit; 4096 is plenty for most), and \
         start again"
    )]
    OpenFiles { found: usize, needed: usize, partitions: u32 },
    #[error(
        "other machines can reach {address}, and there is no key, so everybody would be let in; make a key first \
         (`weir keys create NAME --data-dir {data_dir}`), or listen on 127.0.0.1 only, or say --insecure-open if that is \
         what you want"
    )]
    NoKeys { address: SocketAddr, data_dir: String },
    #[error(
        "insecure_open asks to let in everybody, and there are keys, by which somebody means to keep others out; start \
         without insecure_open"
    )]
    OpenWithKeys,
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("metrics cannot be set up: {0}")]
    Metrics(String),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Aggregator(#[from] AggregatorError),
    #[error("a part of the server stopped unexpectedly: {0}")]
    Task(String),
}

/// A server that runs in this process.
pub struct Running {
    pub addr: SocketAddr,
    pub telemetry_addr: Option<SocketAddr>,
    health: Arc<Health>,
    ingest: Arc<IngestService>,
    log: Arc<dyn Log>,
    catalog: Arc<dyn Catalog>,
    stop_serving: CancellationToken,
    stop_telemetry: CancellationToken,
    stop_folding: CancellationToken,
    stop_maintenance: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    telemetry: Option<JoinHandle<()>>,
    folding: JoinHandle<Result<(), AggregatorError>>,
    maintaining: JoinHandle<()>,
    shutdown_grace: Duration,
    /// Goes last: nobody else may open the folders before everything is closed.
    _lock: FolderLock,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Runs until the process is told to stop; calls `ready` once requests are taken.
pub async fn run(settings: Settings, ready: impl FnOnce(SocketAddr)) -> Result<(), ServeError> {
    let mut running = start(settings).await?;
    // Whoever reads that it runs may stop it in the same moment, and that must not be its death.
    let stop = stop_signal();
    ready(running.addr);
    tokio::select! {
        signal = stop => {
            tracing::info!(signal, "stopping: finishing requests, then flushing");
            running.stop().await
        }
        folded = &mut running.folding => Err(folding_error(folded)),
    }
}

/// Starts the server and returns once it takes requests.
pub async fn start(settings: Settings) -> Result<Running, ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    clock::refuse_impossible(clock.now_us())?;
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::default());
    let prometheus = metrics::recorder()?;
    outlive_file_limit();
    // Before anything is opened: the parts hold files, each run of the identity index one.
    let partitions = settings.partitions.unwrap_or_else(parts::cores);
    descriptors::refuse_too_few(partitions)?;
    let mut parts = parts::open(&settings, &clock, &entropy).await?;
    // A folder that was there keeps its own number of them.
    let limits = descriptors::within(services::listener(&settings), parts.epoch.partitions)?;
    let LogUrl::File(log_dir) = settings.log.clone();
    let refusals = Refusals::in_folder(log_dir);
    parts.log = Arc::new(Watched::new(parts.log, Arc::clone(&refusals)));
    clock::warn_if_log_is_ahead(clock.now_us(), &*parts.catalog.listing().await?);
    if let Some(path) = std::env::var_os("WEIR_PHASE_FILE") {
        let path = std::path::PathBuf::from(path);
        weir_log::phase::install(&path)
            .map_err(|source| ServeError::Folder { path: path.display().to_string(), source })?;
    }
    let hash_key = HashKey::new(parts.catalog.installation().hash_key);

    let (service, aggregator) = weir_aggregator::Service::start(
        weir_aggregator::Parts {
            log: Arc::clone(&parts.log),
            store: Arc::clone(&parts.store),
            catalog: Arc::clone(&parts.catalog),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            hash_key,
            index: parts.index.clone(),
        },
        weir_aggregator::Options {
            flush_interval: settings.flush_interval,
            flush_records: settings.flush_events,
            flush_bytes: settings.flush_bytes,
            step_bytes: STEP_BYTES,
            identity_window_us: i64::try_from(parts.epoch.identity_window_s.saturating_mul(1_000_000))
                .unwrap_or(i64::MAX),
            identities_in_memory: settings.identities_in_memory,
            wide_groups_max: settings.wide_groups_max as u64,
        },
    )
    .await?;
    let (maintenance, maintained) = services::maintenance(&settings, &parts, &clock, &entropy).await?;

    let health = Arc::new(Health {
        log: Arc::clone(&parts.log),
        refusals,
        aggregator,
        aggregator_stopped: AtomicBool::new(false),
        maintenance: maintained,
        draining: AtomicBool::new(false),
    });
    let ingest = services::ingest(&settings, &parts, &entropy);
    let query = services::query(&settings, &parts, &clock, &entropy);
    let stop_serving = CancellationToken::new();
    let access = services::access(&settings, &parts, &clock, &stop_serving).await?;
    let routes = weir_ingest::router(Arc::clone(&ingest))
        .merge(weir_query::router(query))
        .merge(services::keys(&access, &parts, &clock, &entropy));
    let grpc = services::grpc(Arc::clone(&ingest)).await?;
    let api = http::router(routes, grpc, health::routes(Arc::clone(&health)), access, Arc::clone(&entropy));

    let stop_telemetry = CancellationToken::new();
    let listener = bind(settings.listen).await?;
    let addr =
        listener.local_addr().map_err(|source| ServeError::Listen { address: settings.listen, source })?;
    let mut telemetry_addr = None;
    let mut telemetry = None;
    if let Some(address) = settings.telemetry_listen {
        let listener = bind(address).await?;
        telemetry_addr = listener.local_addr().ok();
        tracing::info!(address = ?telemetry_addr.unwrap_or(address), "serving metrics and probes");
        let routes = metrics::routes(prometheus).merge(health::routes(Arc::clone(&health)));
        let routes = routes.layer(axum::middleware::from_fn(http::with_one_host));
        telemetry = Some(serve_routes(listener, routes, limits, stop_telemetry.clone()));
    }
    let stop_folding = CancellationToken::new();
    let folding = tokio::spawn(watch_folding(service, stop_folding.clone(), Arc::clone(&health)));
    let stop_maintenance = CancellationToken::new();
    let maintaining = tokio::spawn(maintenance.run(stop_maintenance.clone()));
    let servers = vec![serve_routes(listener, api, limits, stop_serving.clone())];
    Ok(Running {
        addr,
        telemetry_addr,
        health,
        ingest,
        log: parts.log,
        catalog: parts.catalog,
        stop_serving,
        stop_telemetry,
        stop_folding,
        stop_maintenance,
        servers,
        telemetry,
        folding,
        maintaining,
        shutdown_grace: settings.shutdown_grace,
        _lock: parts.lock,
    })
}

impl Running {
    /// Readiness goes false, clients are told to go elsewhere, requests under way finish, what is durable is
    /// folded and flushed, files are closed. An error says what is not at rest; it is in the log and comes
    /// back at the next start.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.health.draining.store(true, Ordering::Release);
        self.ingest.drain();
        self.stop_serving.cancel();
        // What it has half done is chosen again at the next start.
        self.stop_maintenance.cancel();
        for mut server in self.servers {
            if tokio::time::timeout(self.shutdown_grace, &mut server).await.is_err() {
                tracing::warn!(grace = ?self.shutdown_grace, "requests were still under way; they are cut off");
                server.abort();
            }
        }
        // Folding reads the log to its end, so the log is closed after it. Nobody appends any more;
        // a request that was cut off just now and did append comes back at the next start.
        self.stop_folding.cancel();
        let folded = match tokio::time::timeout(FLUSH_GRACE, self.folding).await {
            Ok(Ok(result)) => result.map_err(ServeError::from),
            Ok(Err(error)) => Err(ServeError::Task(error.to_string())),
            Err(_) => Err(ServeError::Task(format!("the last flush took longer than {FLUSH_GRACE:?}"))),
        };
        if let Err(error) = self.maintaining.await {
            tracing::error!(%error, "maintenance had broken off");
        }
        self.log.close().await;
        self.catalog.close().await;
        self.stop_telemetry.cancel();
        if let Some(telemetry) = self.telemetry {
            telemetry.abort();
        }
        folded
    }
}

async fn watch_folding(
    service: weir_aggregator::Service,
    stop: CancellationToken,
    health: Arc<Health>,
) -> Result<(), AggregatorError> {
    let result = service.run(stop).await;
    health.aggregator_stopped.store(true, Ordering::Release);
    if let Err(error) = &result {
        tracing::error!(%error, "the aggregator stopped");
    }
    result
}

fn folding_error(folded: Result<Result<(), AggregatorError>, tokio::task::JoinError>) -> ServeError {
    match folded {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) => ServeError::Task("folding ended although nobody asked it to".to_owned()),
        Err(error) => ServeError::Task(error.to_string()),
    }
}

/// A write beyond the limit on a file's length is an error like that of a full disk, and not the process's end.
fn outlive_file_limit() {
    use tokio::signal::unix::{SignalKind, signal};
    // Once registered, the handler stays when the listener goes.
    if let Err(error) = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())) {
        tracing::warn!(%error, "a limit on the length of files would end the process");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

fn serve_routes(
    listener: TcpListener,
    routes: Router,
    limits: ListenerOptions,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(listen::serve(listener, routes, limits, stop))
}

/// SIGTERM or Ctrl-C, whichever comes first; listens for them from the call on, not only once it is waited for.
fn stop_signal() -> impl Future<Output = &'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (term, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        tokio::select! {
            () = heard(term) => "SIGTERM",
            () = heard(interrupt) => "Ctrl-C",
        }
    }
}

async fn heard(signal: std::io::Result<tokio::signal::unix::Signal>) {
    match signal {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
