//! Keys that an identity provider publishes (JWKS): fetched when a token names one that is not known yet.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use parking_lot::RwLock;
use reqwest::{Client, redirect};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout},
};

use super::tokens::Key;
use crate::hooks::{HookUrl, install_tls};

/// How often they are fetched at most, whatever tokens say.
const PAUSE: Duration = Duration::from_secs(30);

/// How long that may take.
const TIME: Duration = Duration::from_secs(5);

/// The most bytes of such a document.
const MAX_BYTES: usize = 1024 * 1024;

/// The keys at one address, for one algorithm. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: HookUrl,
    algorithm: Algorithm,
    client: Client,
    keys: RwLock<Vec<Key>>,
    /// When they were last fetched, or that was tried. Locked meanwhile, so that all who wait have one answer.
    fetched: AsyncMutex<Option<Instant>>,
}

impl Jwks {
    /// Error: what is wrong.
    pub(crate) fn new(algorithm: Algorithm, url: HookUrl) -> Result<Self, String> {
        install_tls();
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build();
        let client = client.map_err(|error| format!("cannot be fetched from: {error}"))?;
        let (keys, fetched) = (RwLock::default(), AsyncMutex::default());
        Ok(Self(Arc::new(Inner { url, algorithm, client, keys, fetched })))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// Those that are known.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.0.keys.read().clone()
    }

    /// Fetches them, unless that was done a moment ago.
    pub(super) async fn refresh(&self) {
        let Inner { url, keys, fetched, .. } = &*self.0;
        let mut fetched = fetched.lock().await;
        if fetched.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        let result =
            timeout(TIME, self.fetch()).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        *fetched = Some(Instant::now());
        match result {
            Ok(new) => *keys.write() = new,
            // Those that were known still count.
            Err(error) => tracing::warn!(?url, %error, "keys for tokens cannot be fetched"),
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let Inner { url, algorithm, client, .. } = &*self.0;
        let said = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = client.get(url.as_url()).send().await.map_err(said)?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(said)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err("the answer is too large".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let set: JwkSet =
            serde_json::from_slice(&body).map_err(|error| format!("the answer is none: {error}"))?;
        Ok(set.keys.iter().filter_map(|jwk| key(jwk, *algorithm)).collect())
    }
}

/// A key that is good for this algorithm. Others may stand beside it.
fn key(jwk: &Jwk, algorithm: Algorithm) -> Option<Key> {
    let common = &jwk.common;
    let named = match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        // A secret is published nowhere.
        _ => return None,
    };
    let fits = common.key_algorithm.is_none_or(|own| own == named)
        && common.public_key_use.as_ref().is_none_or(|own| *own == PublicKeyUse::Signature);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|key| fits && key.family() == algorithm.family())?;
    Some(Key::published(algorithm, common.key_id.clone(), key))
}
