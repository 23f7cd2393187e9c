//! Talks to a Weir server over its public HTTP API, as any SDK would. Shared by every command that
//! is a client; bodies come back as text, because parsing their numbers could cost digits.

mod problem;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use url::Url;

use crate::keys::body::{KeyCreate, KeyRoll};

pub use problem::{EventError, RemoteProblem};

/// Where a local server listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8888";

/// Carries a position: from ingest what was taken, to a query what the answer must include.
pub const POSITION_HEADER: &str = "weir-position";

/// The most meters that one request may list.
const METERS_PAGE: usize = 1_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Above every deadline a server has by default, so that its own explanation arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Url(String),
    #[error("cannot reach Weir at {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("the connection to {url} broke off: {reason}")]
    BrokenOff { url: String, reason: String },
    #[error("the server answered {} {}: {}", .0.status, .0.title, .0.detail)]
    Refused(RemoteProblem),
    #[error("{url} does not answer as Weir does: {reason}")]
    Strange { url: String, reason: String },
}

impl ClientError {
    /// True if the same request may work later. Events may be sent twice: their identity counts once.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::BrokenOff { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 429 | 502 | 503 | 504),
            Self::Url(_) | Self::Strange { .. } => false,
        }
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }

    /// What a person could do about it.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Url(_) => None,
            Self::Unreachable { .. } => {
                Some("start a server with `weir serve`, or name another address with --url or WEIR_URL")
            }
            Self::BrokenOff { .. } => Some("run the same again; events that were already taken count once"),
            Self::Strange { .. } => Some("see that --url or WEIR_URL names a Weir server"),
            Self::Refused(problem) => problem.advice(),
        }
    }
}

/// A server, and the connections to it. Clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// Marked as sensitive, so that it is not printed.
    authorization: Option<HeaderValue>,
}

impl Client {
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let mut base = Url::parse(url).map_err(|reason| {
            ClientError::Url(format!("`{url}` is no address ({reason}); write one such as {DEFAULT_URL}"))
        })?;
        match base.scheme() {
            "http" if base.has_host() => {}
            "https" => {
                return Err(ClientError::Url(format!(
                    "`{url}`: this version of the command line speaks http only; use http:// where the network \
                     is trusted, or a local proxy that adds TLS"
                )));
            }
            _ => return Err(ClientError::Url(format!("`{url}` is no http address, such as {DEFAULT_URL}"))),
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|reason| ClientError::Url(reason.to_string()))?;
        Ok(Self { http, base, authorization: None })
    }

    /// Sends this key with every request.
    pub fn with_key(self, key: Option<&str>) -> Result<Self, ClientError> {
        let Some(key) = key.map(str::trim).filter(|key| !key.is_empty()) else { return Ok(self) };
        let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| ClientError::Url("--key or WEIR_KEY holds characters that no key has".to_owned()))?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    /// The address, without a slash at its end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends a JSON array of events. Once this returns, all of them are durable; the position, if
    /// the server gave one, makes a query include them.
    pub async fn ingest(&self, batch: Bytes) -> Result<Option<String>, ClientError> {
        let request = self
            .request(Method::POST, &["events"])
            .header(header::CONTENT_TYPE, "application/cloudevents-batch+json")
            .body(batch);
        let response = self.answer(request).await?;
        Ok(position_of(&response))
    }

    /// Every living meter, each as the JSON text the server wrote.
    pub async fn meters(&self) -> Result<Vec<Box<serde_json::value::RawValue>>, ClientError> {
        let mut meters = Vec::new();
        for page in 1.. {
            let paging = [("page", page.to_string()), ("pageSize", METERS_PAGE.to_string())];
            let text = self.text(self.request_with(Method::GET, &["meters"], &paging)).await?;
            let more: Vec<Box<serde_json::value::RawValue>> = self.parsed(&text)?;
            let complete = more.len() < METERS_PAGE;
            meters.extend(more);
            if complete {
                break;
            }
        }
        Ok(meters)
    }

    /// Makes a meter; the answer is the meter as JSON.
    pub async fn create_meter(&self, meter: &Value) -> Result<String, ClientError> {
        self.text(self.request(Method::POST, &["meters"]).json(meter)).await
    }

    /// A meter as JSON.
    pub async fn meter(&self, id_or_slug: &str) -> Result<String, ClientError> {
        self.text(self.request(Method::GET, &["meters", id_or_slug])).await
    }

    /// Changes a meter; the answer is the meter as JSON.
    pub async fn update_meter(&self, id_or_slug: &str, change: &Value) -> Result<String, ClientError> {
        self.text(self.request(Method::PUT, &["meters", id_or_slug]).json(change)).await
    }

    /// How far a meter's windows have come, as JSON.
    pub async fn progress(&self, id_or_slug: &str) -> Result<String, ClientError> {
        self.text(self.request(Method::GET, &["info", "progress", id_or_slug])).await
    }

    pub async fn delete_meter(&self, id_or_slug: &str) -> Result<(), ClientError> {
        self.answer(self.request(Method::DELETE, &["meters", id_or_slug])).await.map(|_| ())
    }

    /// Asks a meter; the answer is JSON text. With a position, the answer includes all up to it.
    pub async fn query(
        &self,
        meter: &str,
        question: &Value,
        position: Option<&str>,
    ) -> Result<String, ClientError> {
        self.query_with_position(meter, question, position).await.map(|(answer, _)| answer)
    }

    /// As [`Client::query`], with the position that the answer is as of.
    pub async fn query_with_position(
        &self,
        meter: &str,
        question: &Value,
        position: Option<&str>,
    ) -> Result<(String, Option<String>), ClientError> {
        let mut request = self.request(Method::POST, &["meters", meter, "query"]).json(question);
        if let Some(position) = position {
            request = request.header(POSITION_HEADER, position);
        }
        let response = self.answer(request).await?;
        let answered = position_of(&response);
        Ok((self.body(response).await?, answered))
    }

    /// The position of everything that the server has acknowledged so far.
    pub async fn position(&self) -> Result<String, ClientError> {
        #[derive(serde::Deserialize)]
        struct Body {
            position: String,
        }
        let text = self.text(self.request(Method::GET, &["position"])).await?;
        Ok(self.parsed::<Body>(&text)?.position)
    }

    /// Makes a key; the answer is the key as JSON, with its text.
    pub async fn create_key(&self, key: &KeyCreate) -> Result<String, ClientError> {
        self.text(self.request(Method::POST, &["keys"]).json(key)).await
    }

    /// One page of the keys that this client's key may see, as JSON.
    pub async fn keys(&self, page: usize, page_size: usize, ended: bool) -> Result<String, ClientError> {
        let paging = [
            ("page", page.to_string()),
            ("pageSize", page_size.to_string()),
            ("includeEnded", ended.to_string()),
        ];
        self.text(self.request_with(Method::GET, &["keys"], &paging)).await
    }

    /// Makes a key in the place of another; the answer is as that of [`Client::create_key`].
    pub async fn roll_key(&self, id: &str, roll: &KeyRoll) -> Result<String, ClientError> {
        self.text(self.request(Method::POST, &["keys", id, "roll"]).json(roll)).await
    }

    pub async fn revoke_key(&self, id: &str) -> Result<(), ClientError> {
        self.answer(self.request(Method::DELETE, &["keys", id])).await.map(|_| ())
    }

    /// Reads JSON that the server sent.
    pub fn parsed<'a, T: serde::Deserialize<'a>>(&self, text: &'a str) -> Result<T, ClientError> {
        serde_json::from_str(text)
            .map_err(|reason| ClientError::Strange { url: self.url().to_owned(), reason: reason.to_string() })
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    fn request_with(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        // Only an address without a host has no path segments, and such a one was refused.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(self.refusal(status, response).await)
    }

    async fn text(&self, request: RequestBuilder) -> Result<String, ClientError> {
        let response = self.answer(request).await?;
        self.body(response).await
    }

    async fn body(&self, response: Response) -> Result<String, ClientError> {
        let body = response.bytes().await.map_err(|error| self.transport(&error))?;
        String::from_utf8(body.into()).map_err(|_| ClientError::Strange {
            url: self.url().to_owned(),
            reason: "the answer is not UTF-8".to_owned(),
        })
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> ClientError {
        let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = seconds.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        // A body that breaks off leaves the status, which says enough.
        let body = response.bytes().await.unwrap_or_default();
        ClientError::Refused(RemoteProblem::read(status, &body, retry_after))
    }

    fn transport(&self, error: &reqwest::Error) -> ClientError {
        let url = self.url().to_owned();
        // The outermost errors name the layer; the innermost names the reason.
        let mut innermost: &dyn Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let reason = innermost.to_string();
        if error.is_connect() {
            ClientError::Unreachable { url, reason }
        } else if error.is_timeout() {
            let reason = format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs());
            ClientError::BrokenOff { url, reason }
        } else {
            ClientError::BrokenOff { url, reason }
        }
    }
}

fn position_of(response: &Response) -> Option<String> {
    response.headers().get(POSITION_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
