//! Small values that servers share for a while, for applications that have this Redis anyway: who has begun something, and
//! what came of it.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::{
    client::{Client, CommandError, ConnectError, Publisher},
    connect::ConnectOptions,
};

/// Values in Redis, by name, each for a time. It connects when it is first needed, and again when it has lost its connection.
///
/// ```no_run
/// use std::time::Duration;
/// use patio_redis::Store;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::new("redis://127.0.0.1", "my-app:")?;
/// let minute = Duration::from_secs(60);
/// match store.claim("order-7", b"begun", minute).await? {
///     None => store.put("order-7", b"done", minute).await?,
///     Some(found) => println!("somebody was here before: {found:?}"),
/// }
/// # Ok(()) }
/// ```
pub struct Store {
    client: Client,
    prefix: String,
    connection: Mutex<Option<Publisher>>,
}

/// Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no connection.
    #[error(transparent)]
    Connect(ConnectError),
    /// It refused, or did not answer.
    #[error("a command to Redis failed: {0}")]
    Command(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Store {
    /// Values whose keys begin with `prefix`. Errors: the options can never work.
    pub fn new(options: impl Into<ConnectOptions>, prefix: impl Into<String>) -> Result<Self, ConnectError> {
        let client = Client::new(&options.into())?;
        Ok(Self { client, prefix: prefix.into(), connection: Mutex::new(None) })
    }

    /// Sets a value for a time, if there is none. `None`: it was set; else what was found, which may expire just then and be
    /// empty.
    pub async fn claim(
        &self,
        name: &str,
        value: &[u8],
        time: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.key(name);
        let redis = self.connection().await?;
        match redis.keep(&key, value, time, true).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(self.settle(redis.kept(&key).await).await?.unwrap_or_default())),
            Err(error) => self.settle(Err(error)).await,
        }
    }

    /// The value, if there is one.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let redis = self.connection().await?;
        self.settle(redis.kept(&self.key(name)).await).await
    }

    /// Sets a value for a time.
    pub async fn put(&self, name: &str, value: &[u8], time: Duration) -> Result<(), StoreError> {
        let redis = self.connection().await?;
        self.settle(redis.keep(&self.key(name), value, time, false).await.map(drop)).await
    }

    /// Forgets a value.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let redis = self.connection().await?;
        self.settle(redis.take(&self.key(name)).await.map(drop)).await
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn connection(&self) -> Result<Publisher, StoreError> {
        let mut connection = self.connection.lock().await;
        if let Some(publisher) = &*connection {
            return Ok(publisher.clone());
        }
        let publisher = self.client.publisher().await.map_err(StoreError::Connect)?;
        Ok(connection.insert(publisher).clone())
    }

    /// What came of a command. A connection that is of no more use is forgotten.
    async fn settle<T>(&self, result: Result<T, CommandError>) -> Result<T, StoreError> {
        if result.as_ref().is_err_and(CommandError::is_fatal) {
            *self.connection.lock().await = None;
        }
        result.map_err(|error| StoreError::Command(error.into()))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
