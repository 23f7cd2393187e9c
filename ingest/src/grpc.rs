//! Ingest over gRPC. Each protobuf event is rendered as JSON once and goes the same way as all others,
//! so the same event gets the same hashes over both transports.

mod convert;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use weir_meter::event::BodyShape;
use weir_meter::{Namespace, RequestId};
use weir_proto::v1::ingest_service_server::{IngestService as IngestRpc, IngestServiceServer};
use weir_proto::v1::{IngestRequest, IngestResponse};

use crate::error::IngestError;
use crate::metrics;
use crate::service::{Accepted, IngestService};

/// The gRPC face of the service.
#[derive(Clone, Debug)]
pub struct GrpcIngest(Arc<IngestService>);

/// The tonic service. As over HTTP, a layer around it puts the credential's [`Namespace`] into the
/// request's extensions.
pub fn grpc_service(service: Arc<IngestService>) -> IngestServiceServer<GrpcIngest> {
    let bytes_max = service.options().wire_bytes_max;
    IngestServiceServer::new(GrpcIngest(service)).max_decoding_message_size(bytes_max)
}

#[tonic::async_trait]
impl IngestRpc for GrpcIngest {
    async fn ingest(&self, request: Request<IngestRequest>) -> Result<Response<IngestResponse>, Status> {
        let started = Instant::now();
        let outcome = self.take(request).await;
        metrics::request("grpc", outcome.as_ref().err(), started.elapsed());
        match outcome {
            Ok(accepted) => Ok(Response::new(IngestResponse {
                position: accepted.position,
                events: u32::try_from(accepted.events).unwrap_or(u32::MAX),
            })),
            Err(error) => {
                error.log();
                Err(Status::from(&error))
            }
        }
    }
}

impl GrpcIngest {
    async fn take(&self, request: Request<IngestRequest>) -> Result<Accepted, IngestError> {
        let service = &self.0;
        service.check_open()?;
        let namespace = request.extensions().get::<Namespace>().cloned().ok_or_else(|| {
            IngestError::Internal("no layer has put a namespace into the request's extensions".to_owned())
        })?;
        let request_id = request.extensions().get::<RequestId>().copied();
        let message = request.into_inner();

        let message_bytes = message.encoded_len();
        let mut reservation = service.budget().open();
        reservation.grow(message_bytes)?;
        let bytes_max = service.options().decoded_bytes_max;
        let json = if message_bytes <= service.options().inline_bytes_max {
            convert::render(message.events, message_bytes, bytes_max)?
        } else {
            tokio::task::spawn_blocking(move || convert::render(message.events, message_bytes, bytes_max))
                .await
                .map_err(|error| IngestError::Internal(format!("rendering a request: {error}")))??
        };
        reservation.grow(json.len())?;
        service.ingest(&namespace, Bytes::from(json), BodyShape::Batch, request_id).await
    }
}
