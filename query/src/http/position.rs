//! The position of everything acknowledged so far.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use weir_proto::Problem;

use super::Tenant;
use crate::service::QueryService;

#[derive(Serialize)]
pub(super) struct Current {
    position: String,
}

pub(super) async fn current(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
) -> Result<Json<Current>, Problem> {
    Ok(Json(Current { position: service.current_position(&namespace).await? }))
}
