//! One call of a backend: a signed POST of JSON, within a time, with so many at once for an address, and none to one that
//! fails. What became of it is counted.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{breaker::Breaker, sign::Secrets};
use crate::expiry::now;

/// The most bytes of an answer.
const MAX_ANSWER: usize = 1024 * 1024;

/// How calls are made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) secrets: Secrets,
    /// How long a call may take, the wait for its turn included.
    pub(crate) timeout: Duration,
    /// How many calls one address gets at once.
    pub(crate) concurrency: usize,
    /// How often a call that may be repeated is.
    pub(crate) retries: u32,
}

/// Where a hook is: `http://` or `https://`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HookUrl(Url);

impl HookUrl {
    /// Error: what is wrong with it.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
        match (url.scheme(), url.host_str()) {
            ("http" | "https", Some(_)) => Ok(Self(url)),
            _ => Err("must begin with http:// or https://".to_owned()),
        }
    }

    pub(crate) fn as_url(&self) -> Url {
        self.0.clone()
    }

    /// The address, whose calls are limited together.
    fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

/// Without what may be secret in it.
impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.0.path())
    }
}

/// Why a call has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("the backend did not answer in time")]
    Timeout,
    #[error("the backend has failed too often and is not called for a while")]
    Spared,
    #[error("too many calls wait")]
    Busy,
    #[error("the backend could not be reached: {0}")]
    Transport(String),
    #[error("the backend answered with status {0}")]
    Status(StatusCode),
    #[error("the backend's answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("the backend's answer is not what it should be: {0}")]
    Invalid(String),
}

impl HookError {
    /// Whether the same call may come to another end later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Timeout | Self::Spared | Self::Busy | Self::Transport(_) => true,
            Self::Status(status) => status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429),
            Self::TooLarge | Self::Invalid(_) => false,
        }
    }
}

/// What has become of calls.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) repeats: AtomicU64,
    /// Calls that were given up, or never made because too many waited.
    pub(crate) dropped: AtomicU64,
    /// How long they took, all together.
    pub(crate) millis: AtomicU64,
}

/// Chooses the cryptography of TLS for this process.
pub(crate) fn install_tls() {
    // An error: it is chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How many bytes may wait to be sent, for all sockets together.
const MAX_WAITING: usize = 256 * 1024 * 1024;

/// Calls backends. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Hooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    settings: Settings,
    addresses: Mutex<HashMap<String, Arc<Address>>>,
    counters: Counters,
    /// Bytes that wait to be sent.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Address {
    turns: Semaphore,
    breaker: Breaker,
}

/// One message, the same when it is sent again.
pub(crate) struct Message {
    id: String,
    body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("bodies of hooks can be written");
        Self { id: format!("msg_{:032x}", fastrand::u128(..)), body }
    }

    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }
}

impl Hooks {
    /// Error: TLS cannot be used on this machine.
    pub(crate) fn new(settings: Settings) -> anyhow::Result<Self> {
        install_tls();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .user_agent(concat!("patio/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true)
            // Where backends are is what the configuration says.
            .no_proxy()
            .build()?;
        let counters = Counters::default();
        Ok(Self(Arc::new(Inner {
            client,
            settings,
            addresses: Mutex::default(),
            counters,
            waiting: AtomicUsize::new(0),
        })))
    }

    pub(crate) fn retries(&self) -> u32 {
        self.0.settings.retries
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Takes room for what is to wait. False: there is none.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let fits = |waiting: usize| Some(waiting + bytes).filter(|sum| *sum <= MAX_WAITING);
        self.0.waiting.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Gives it back.
    pub(super) fn release(&self, bytes: usize) {
        self.0.waiting.fetch_sub(bytes, Relaxed);
    }

    /// Counts a call that was not made, because too many waited.
    pub(crate) fn refused(&self) {
        self.0.counters.dropped.fetch_add(1, Relaxed);
    }

    /// One call. The answer of any status below 500 is an answer; what it says is the caller's to read.
    pub(crate) async fn call(
        &self,
        url: &HookUrl,
        message: &Message,
    ) -> Result<(StatusCode, Json), HookError> {
        let Inner { settings, counters, .. } = &*self.0;
        counters.calls.fetch_add(1, Relaxed);
        let began = Instant::now();
        let deadline = began + settings.timeout;
        let called = timeout_at(deadline, self.call_in_turn(url, message)).await;
        let called = called.unwrap_or(Err(HookError::Timeout));
        counters.millis.fetch_add(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
        if let Err(error) = &called {
            self.failed(url, error);
        }
        called
    }

    /// Counts and logs a failure, also of an answer that was not what it should be.
    pub(crate) fn failed(&self, url: &HookUrl, error: &HookError) {
        self.0.counters.failures.fetch_add(1, Relaxed);
        tracing::warn!(?url, %error, "a hook has failed");
    }

    async fn call_in_turn(&self, url: &HookUrl, message: &Message) -> Result<(StatusCode, Json), HookError> {
        let address = self.address(url);
        // Never closed.
        let Ok(_turn) = address.turns.acquire().await else { return Err(HookError::Spared) };
        let Some(attempt) = address.breaker.attempt() else { return Err(HookError::Spared) };
        match self.send(url, message).await {
            Ok(answer) => {
                attempt.succeeded();
                Ok(answer)
            }
            Err(error) => {
                match error.is_temporary() {
                    true => attempt.failed(),
                    false => attempt.succeeded(),
                }
                Err(error)
            }
        }
    }

    async fn send(&self, url: &HookUrl, message: &Message) -> Result<(StatusCode, Json), HookError> {
        let Inner { client, settings, .. } = &*self.0;
        let timestamp = now();
        let mut request = client
            .post(url.as_url())
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp);
        if !settings.secrets.is_empty() {
            let signature = settings.secrets.sign(&message.id, timestamp, &message.body);
            request = request.header("webhook-signature", signature);
        }
        let transport = |error: reqwest::Error| HookError::Transport(error.without_url().to_string());
        let mut answer = request.body(message.body.clone()).send().await.map_err(transport)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(HookError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_server_error() || status.is_redirection() || matches!(status.as_u16(), 408 | 425 | 429) {
            return Err(HookError::Status(status));
        }
        // Nothing is an answer, too: 204, or a backend that only listens.
        let json = match body.trim_ascii() {
            b"" => Json::Null,
            text => serde_json::from_slice(text)
                .map_err(|error| HookError::Invalid(format!("it is no JSON: {error}")))?,
        };
        Ok((status, json))
    }

    fn address(&self, url: &HookUrl) -> Arc<Address> {
        let mut addresses = self.0.addresses.lock();
        let new =
            || Address { turns: Semaphore::new(self.0.settings.concurrency), breaker: Breaker::default() };
        addresses.entry(url.origin()).or_insert_with(|| Arc::new(new())).clone()
    }
}
