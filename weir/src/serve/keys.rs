//! `/api/v1/keys`: making, listing, rolling and revoking keys. A key of a namespace with `admin` sees and changes
//! those of its namespace, an operator's key all; what is another's is as if it were not there. A key's text is
//! in the answer that makes it, and in no other.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use weir_catalog::{CatalogError, Grant, KeyId, KeyQuery, KeysOf, Roll};
use weir_meter::Namespace;
use weir_meter::environment::{Clock, Entropy};
use weir_proto::Problem;

use super::access::{Access, Caller};
use super::metrics;
use crate::keys::body::{KeyBody, KeyCreate, KeyRoll};
use crate::keys::token::Token;

const PAGE_SIZE: u64 = 100;
const PAGE_SIZE_MAX: u64 = 1_000;
/// More than any key needs.
const BODY_BYTES_MAX: usize = 16 << 10;
const BODY_WAIT: Duration = Duration::from_secs(10);
const RETRY_AFTER_S: u32 = 2;

/// What the handlers work with.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access: Arc<Access>,
    pub(super) catalog: Arc<dyn weir_catalog::Catalog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

pub(super) fn routes(keys: Keys) -> Router {
    Router::new()
        .route("/api/v1/keys", get(list).post(create))
        .route("/api/v1/keys/{key}", delete(revoke))
        .route("/api/v1/keys/{key}/roll", post(roll))
        .with_state(keys)
}

type KeyPath = Result<Path<String>, PathRejection>;

/// Whose keys a caller may see and change, and for which namespace it makes one unless it says so.
fn reach(caller: &Caller) -> (KeysOf, Option<Namespace>) {
    let own = match caller {
        Caller::Anybody => Namespace::default(),
        Caller::Key(Grant::Tenant { namespace, .. }) => namespace.clone(),
        Caller::Key(Grant::Operator) => return (KeysOf::Everyone, None),
    };
    (KeysOf::Namespace(own.clone()), Some(own))
}

async fn create(
    State(keys): State<Keys>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !keys.access.may_create(&caller) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this server lets in everybody by its setting insecure_open, and whoever comes first must not lock out the \
             others; stop it, make a key with `weir keys create --data-dir`, and start it without insecure_open",
        ));
    }
    let create: KeyCreate = json(&headers, body).await?;
    let (of, own) = reach(&caller);
    let token = Token::random(keys.entropy.as_ref()).map_err(|_| Problem::internal())?;
    let now_us = keys.clock.now_us();
    let new = create
        .draft(own.as_ref(), token.id().clone(), token.hash(), now_us)
        .map_err(|sentence| Problem::invalid("invalid-key", sentence))?;
    if !of.covers(&new.grant) {
        let detail = "this key manages the keys of its own namespace only; leave namespace and operator away, or ask \
                      an operator";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    let made = keys.access.create(&caller, new, now_us).await.map_err(problem)?;
    tracing::info!(key = %made.id, name = made.name, "a key was made");
    Ok(revealing(&KeyBody::revealing(&made, token.reveal())))
}

async fn list(
    State(keys): State<Keys>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<KeyBody>>, Problem> {
    let (of, _) = reach(&caller);
    let query = key_query(query.as_deref().unwrap_or_default(), of, keys.clock.now_us())
        .map_err(|sentence| Problem::invalid("invalid-parameter", sentence))?;
    let found = keys.catalog.keys().page(&query).await.map_err(problem)?;
    Ok(Json(found.iter().map(KeyBody::of).collect()))
}

async fn roll(
    State(keys): State<Keys>,
    Extension(caller): Extension<Caller>,
    key: KeyPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Path(text) = key?;
    let how: KeyRoll = json(&headers, body).await?;
    let id: KeyId = text.parse().map_err(|_| no_key(&text))?;
    let token = Token::random(keys.entropy.as_ref()).map_err(|_| Problem::internal())?;
    let now_us = keys.clock.now_us();
    let roll = Roll {
        new_id: token.id().clone(),
        new_secret_hash: token.hash(),
        old_expires_us: how.old_expires_us(now_us),
    };
    let rolled = keys.access.roll(&reach(&caller).0, &id, roll, now_us).await.map_err(problem)?;
    let made = rolled.ok_or_else(|| no_key(&text))?;
    tracing::info!(key = %id, new = %made.id, "a key was rolled");
    Ok(revealing(&KeyBody::revealing(&made, token.reveal())))
}

async fn revoke(
    State(keys): State<Keys>,
    Extension(caller): Extension<Caller>,
    key: KeyPath,
) -> Result<StatusCode, Problem> {
    let Path(text) = key?;
    let id: KeyId = text.parse().map_err(|_| no_key(&text))?;
    let revoked = keys.access.revoke(&reach(&caller).0, &id, keys.clock.now_us()).await.map_err(problem)?;
    if !revoked {
        return Err(no_key(&text));
    }
    tracing::info!(key = %id, "a key was revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// An answer that holds a key, for nobody to keep on its way.
fn revealing(body: &KeyBody) -> Response {
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn no_key(id: &str) -> Problem {
    let shown: String = id.chars().take(40).collect();
    Problem::not_found(format!("key not found: {shown}"))
}

fn problem(error: CatalogError) -> Problem {
    match error {
        CatalogError::Conflict(detail) => Problem::conflict(detail),
        CatalogError::NotFound(detail) => Problem::not_found(detail),
        CatalogError::Full { setting, detail } => {
            metrics::refused(setting);
            Problem::new(StatusCode::CONFLICT, "too-many-keys", detail).with("limit", setting)
        }
        CatalogError::Unusable(reason) => {
            tracing::error!(reason, "the catalog cannot be used for keys");
            Problem::internal()
        }
        CatalogError::Database { .. } => {
            tracing::error!(%error, "the catalog did not answer");
            let detail = "the catalog does not answer now, and whether the change was made is not known; list the keys \
                          in a moment";
            Problem::unavailable("catalog-unavailable", detail, RETRY_AFTER_S)
        }
    }
}

/// A body of JSON, bounded. It must say that it is JSON: a page in a browser cannot, unless this server lets it.
async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::invalid("invalid-content-type", "send application/json as the content type"));
    }
    let too_long = || {
        let detail =
            format!("the body has more than {BODY_BYTES_MAX} bytes, or broke off; send it again, shorter");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
    };
    let read = tokio::time::timeout(BODY_WAIT, axum::body::to_bytes(body, BODY_BYTES_MAX)).await;
    let bytes = read
        .map_err(|_| {
            let detail = "the body did not arrive within 10 seconds; send it again";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail)
        })?
        .map_err(|_| too_long())?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let sentence: String = error.to_string().chars().take(300).collect();
        Problem::invalid("invalid-request", format!("the body is not as it should be: {sentence}"))
    })
}

fn key_query(text: &str, mut of: KeysOf, now_us: i64) -> Result<KeyQuery, String> {
    let (mut page, mut limit, mut ended) = (1_u64, PAGE_SIZE, false);
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let number = |most: u64| {
            let number = value.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{name} must be an integer from 1 to {most}"))
        };
        match &*name {
            "page" => page = number(u64::from(u32::MAX))?,
            "pageSize" => limit = number(PAGE_SIZE_MAX)?,
            "includeEnded" => {
                ended = value.parse().map_err(|_| "includeEnded must be true or false".to_owned())?;
            }
            // Who sees one namespace only sees no more of it by naming another.
            "namespace" if of == KeysOf::Everyone => of = KeysOf::Namespace(Namespace::new(&value)),
            "namespace" => {
                return Err("namespace is for operators' keys; this one lists the keys of its own".to_owned());
            }
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(format!(
                    "unknown parameter {shown:?}; there are page, pageSize, includeEnded and namespace"
                ));
            }
        }
    }
    Ok(KeyQuery { of, ended, now_us, offset: (page - 1).saturating_mul(limit), limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_asked_for_in_pages() {
        let query =
            key_query("page=3&pageSize=10&includeEnded=true&namespace=a", KeysOf::Everyone, 7).unwrap();
        let of = KeysOf::Namespace(Namespace::new("a"));
        assert_eq!(query, KeyQuery { of: of.clone(), ended: true, now_us: 7, offset: 20, limit: 10 });
        let usual = KeyQuery { of: of.clone(), ended: false, now_us: 7, offset: 0, limit: PAGE_SIZE };
        assert_eq!(key_query("", of.clone(), 7).unwrap(), usual);
        for wrong in ["page=0", "pageSize=1001", "page=x", "includeEnded=1", "namespace=b", "x=1"] {
            key_query(wrong, of.clone(), 7).unwrap_err();
        }
    }
}
