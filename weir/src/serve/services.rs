//! Builds ingest, query and maintenance from the settings and the opened parts.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use weir_aggregator::{
    AggregatorError, Maintenance, MaintenanceHandle, MaintenanceOptions, MaintenanceParts,
};
use weir_catalog::CatalogError;
use weir_ingest::{IngestKeys, IngestOptions, IngestService};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::event::EventLimits;
use weir_meter::hash::HashKey;
use weir_proto::{FILE_DESCRIPTOR_SET, PositionKey};
use weir_query::{LogEnds, QueryOptions, QueryParts, QueryService};

use super::ServeError;
use super::access::{Access, Openness};
use super::keys::{self, Keys};
use super::listen::{FAREWELL, ListenerOptions};
use super::parts::Parts;
use crate::settings::Settings;

pub(super) fn ingest(settings: &Settings, parts: &Parts, entropy: &Arc<dyn Entropy>) -> Arc<IngestService> {
    let installation = parts.catalog.installation();
    let options = IngestOptions {
        events: EventLimits {
            batch_events_max: settings.batch_events_max,
            event_bytes_max: settings.event_bytes_max,
            attributes_max: settings.attributes_max,
            attribute_bytes_max: settings.attribute_bytes_max,
            depth_max: settings.nesting_max,
        },
        wire_bytes_max: settings.body_bytes_max,
        decoded_bytes_max: settings.body_bytes_max,
        buffered_bytes_max: settings.buffered_bytes_max,
        body_timeout: settings.body_timeout,
        ..IngestOptions::default()
    };
    let keys = IngestKeys {
        hash: HashKey::new(installation.hash_key),
        position: PositionKey::new(installation.position_key),
        incarnation: installation.incarnation,
    };
    IngestService::new(options, Arc::clone(&parts.log), keys, Arc::clone(entropy))
}

/// The bounds of everything that listens.
pub(super) fn listener(settings: &Settings) -> ListenerOptions {
    ListenerOptions {
        connections_max: settings.connections_max,
        header_timeout: settings.header_timeout,
        idle_timeout: settings.idle_timeout,
        write_timeout: settings.write_timeout,
        header_bytes_max: settings.header_bytes_max,
        streams_max: u32::try_from(settings.streams_max).unwrap_or(u32::MAX),
        // Most of the grace is for requests under way.
        farewell: FAREWELL.min(settings.shutdown_grace / 2),
    }
}

/// Only after the aggregator has recovered: it closes every writer that it finds open.
pub(super) async fn maintenance(
    settings: &Settings,
    parts: &Parts,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<(Maintenance, MaintenanceHandle), AggregatorError> {
    let options = MaintenanceOptions {
        fanout: settings.compaction_fanout,
        segments_kept_for: settings.segments_kept_for,
        forget_margin: settings.query_deadline.saturating_add(Duration::from_secs(60)),
        retention: settings.retention,
        minute_windows_kept_for: settings.minute_windows_kept_for,
        wide_groups_max: settings.wide_groups_max as u64,
        refold_rows: settings.refold_events as u64,
        memory_max: settings.maintenance_memory_max,
        ..MaintenanceOptions::default()
    };
    let parts = MaintenanceParts {
        store: Arc::clone(&parts.store),
        catalog: Arc::clone(&parts.catalog),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        hash_key: HashKey::new(parts.catalog.installation().hash_key),
    };
    Maintenance::start(parts, options).await
}

pub(super) fn query(
    settings: &Settings,
    parts: &Parts,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Arc<QueryService> {
    let options = QueryOptions {
        concurrent_queries_max: settings.query_concurrency,
        waiting_queries_max: settings.query_waiting_max,
        light_bytes_max: settings.query_light_bytes as u64,
        deadline: settings.query_deadline,
        position_wait: settings.query_position_wait,
        rows_folded_max: settings.query_events_max as u64,
        windows_folded_max: settings.query_windows_max,
        folded_bytes_max: settings.query_folded_bytes_max,
        segments_kept_for: settings.segments_kept_for,
        result_rows_max: settings.query_result_rows_max,
        result_bytes_max: settings.query_result_bytes_max,
        memory_bytes_max: settings.query_memory_max,
        memory_total_max: settings.query_memory_total_max,
        body_bytes_max: settings.query_body_bytes_max,
        body_wait: settings.query_body_wait,
        unread_wait: settings.query_unread_wait,
    };
    let log = Arc::clone(&parts.log);
    let log_ends: Arc<LogEnds> = Arc::new(move || {
        (0..log.partitions()).map(|partition| (partition, *log.durable_end(partition).borrow())).collect()
    });
    let parts = QueryParts {
        store: Arc::clone(&parts.store),
        catalog: Arc::clone(&parts.catalog),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        log_ends,
    };
    Arc::new(QueryService::new(options, parts))
}

/// Who is let in; looks for changes of keys until the server stops.
pub(super) async fn access(
    settings: &Settings,
    parts: &Parts,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) -> Result<Arc<Access>, CatalogError> {
    let openness = Openness::of(settings);
    let access = Arc::new(Access::open(Arc::clone(&parts.catalog), Arc::clone(clock), openness).await?);
    if openness == Openness::Everywhere {
        tracing::warn!("insecure_open: everybody who reaches this server is let in, with every right");
    }
    tokio::spawn(Arc::clone(&access).follow(stop.clone()));
    Ok(access)
}

pub(super) fn keys(
    access: &Arc<Access>,
    parts: &Parts,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Router {
    keys::routes(Keys {
        access: Arc::clone(access),
        catalog: Arc::clone(&parts.catalog),
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
    })
}

/// The gRPC services: ingest, health and reflection.
pub(super) async fn grpc(ingest: Arc<IngestService>) -> Result<Router, ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let service = weir_ingest::grpc_service(ingest);
    serving(&reporter, &service).await;
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |error| ServeError::Task(format!("gRPC reflection: {error}"));
    // Older clients know only the alpha.
    let (reflection, reflection_alpha) =
        (described().build_v1().map_err(broken)?, described().build_v1alpha().map_err(broken)?);
    // Routes of their own, without a fallback: what is not found is answered by the router around.
    let routes = tonic::service::Routes::new(service).add_service(health);
    Ok(routes.add_service(reflection).add_service(reflection_alpha).into_axum_router())
}

async fn serving<S: tonic::server::NamedService>(reporter: &tonic_health::server::HealthReporter, _: &S) {
    reporter.set_serving::<S>().await;
}
