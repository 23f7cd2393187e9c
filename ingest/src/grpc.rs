//! Ingest over gRPC. A message is taken off the wire with the bounds of any body, each protobuf event is
//! rendered as JSON once, and from there on everything goes the same way, so the same event gets the
//! same hashes over both transports. The call is answered here and not by tonic's own codec, which would
//! hold messages that nobody has counted, wait for them without end, and call a client's broken bytes an
//! internal error.

mod convert;
mod frame;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::request::Parts;
use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;
use weir_meter::event::BodyShape;
use weir_meter::{Namespace, RequestId};
use weir_proto::v1::IngestResponse;
use weir_proto::v1::ingest_service_server::SERVICE_NAME;

use crate::allowance::EventAllowance;
use crate::decode::Encoding;
use crate::error::IngestError;
use crate::metrics;
use crate::receive;
use crate::service::{Accepted, IngestService};

const INGEST_PATH: &str = "/weir.v1.IngestService/Ingest";
const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// The gRPC face of the service.
#[derive(Clone, Debug)]
pub struct GrpcIngest(Arc<IngestService>);

/// The gRPC service. As over HTTP, a layer around it puts the credential's [`Namespace`] into the
/// request's extensions.
pub fn grpc_service(service: Arc<IngestService>) -> GrpcIngest {
    GrpcIngest(service)
}

impl NamedService for GrpcIngest {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for GrpcIngest {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move { Ok(answer(&service, request).await) })
    }
}

async fn answer(service: &IngestService, request: Request<Body>) -> Response<Body> {
    if request.method() != Method::POST || !is_grpc(&request) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    if request.uri().path() != INGEST_PATH {
        let path = crate::decode::shortened(request.uri().path());
        return Status::new(Code::Unimplemented, format!("there is no method {path}")).into_http();
    }
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let outcome = take(service, &parts, axum::body::Body::new(body)).await;
    metrics::request("grpc", outcome.as_ref().err(), started.elapsed());
    let mut response = match outcome {
        Ok(accepted) => frame::response(&IngestResponse {
            position: accepted.position,
            events: u32::try_from(accepted.events).unwrap_or(u32::MAX),
        }),
        Err(error) => {
            error.log();
            Status::from(&error).into_http()
        }
    };
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip,zstd,identity"));
    response
}

fn is_grpc(request: &Request<Body>) -> bool {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return false };
    let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(media_type.trim_ascii(), b"application/grpc" | b"application/grpc+proto")
}

async fn take(
    service: &IngestService,
    parts: &Parts,
    mut body: axum::body::Body,
) -> Result<Accepted, IngestError> {
    service.check_open()?;
    let namespace = parts.extensions.get::<Namespace>().ok_or_else(|| {
        IngestError::Internal("no layer has put a namespace into the request's extensions".to_owned())
    })?;
    let encoding = match parts.headers.get(ENCODING) {
        Some(value) => Encoding::named(value)?,
        None => None,
    };

    let options = *service.options();
    // What a client is told is about its message; the five bytes around it are not its affair.
    let bytes_max = options.wire_bytes_max.saturating_add(frame::HEADER_BYTES);
    let mut reservation = service.budget().open();
    let wire = receive::body_in_time(service, &parts.headers, &mut body, bytes_max, &mut reservation)
        .await
        .map_err(|error| match error {
        IngestError::TooLarge { what, .. } => {
            IngestError::TooLarge { what, bytes_max: options.wire_bytes_max }
        }
        other => other,
    })?;
    let (message, mut reservation) = match frame::message(wire, encoding, options.wire_bytes_max)? {
        (message, None) => (message, reservation),
        (message, Some(encoding)) => receive::decoded_apart(service, message, encoding, reservation).await?,
    };

    let bounds = convert::Bounds { events: options.events, bytes_max: options.decoded_bytes_max };
    let json = if message.len() <= options.inline_bytes_max {
        convert::render(message, bounds)?
    } else {
        tokio::task::spawn_blocking(move || convert::render(message, bounds))
            .await
            .map_err(|error| IngestError::Internal(format!("rendering a request: {error}")))??
    };
    reservation.grow(json.len())?;
    let request_id = parts.extensions.get::<RequestId>().copied();
    let allowance = parts.extensions.get::<EventAllowance>();
    service.ingest(namespace, Bytes::from(json), BodyShape::Batch, request_id, allowance).await
}
