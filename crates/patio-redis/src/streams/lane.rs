//! The connection over which histories are read. It is one of its own: a long answer, or one that is late, holds up nothing
//! that is published. It is made when a client first comes back, and ends with the link's.

use std::sync::Arc;

use parking_lot::Mutex;
use patio_adapter::AdapterError;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit};

use crate::client::{Client, CommandError, Entry, Publisher};

/// For how many clients histories are read at the same time. Each may bring megabytes, so others wait.
const READERS: usize = 4;

/// Where the namespaces of a server get their [`Turn`]s.
pub(super) struct Histories {
    turns: Semaphore,
    /// `None` while the link is not connected.
    lane: Mutex<Option<Arc<Lane>>>,
}

/// The connection, for as long as the link has its own.
struct Lane {
    client: Arc<Client>,
    /// Held while it is made, so that it is made once.
    connection: AsyncMutex<Connection>,
}

#[derive(Default)]
struct Connection {
    publisher: Option<Publisher>,
    /// Counts how often it was made.
    number: u64,
}

/// While a link is connected.
pub(super) struct Opened<'a>(&'a Histories);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        *self.0.lane.lock() = None;
    }
}

impl Histories {
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(READERS), lane: Mutex::new(None) }
    }

    /// The link is connected, until what is returned is dropped.
    pub(super) fn open(&self, client: &Arc<Client>) -> Opened<'_> {
        *self.lane.lock() =
            Some(Arc::new(Lane { client: client.clone(), connection: AsyncMutex::default() }));
        Opened(self)
    }

    /// Waits until it is this client's turn. Error: there is no connection to Redis.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, AdapterError> {
        let lane = || self.lane.lock().clone().ok_or_else(AdapterError::disconnected);
        // Who has nothing to wait for does not wait.
        lane()?;
        let permit = self.turns.acquire().await.map_err(|_| AdapterError::closed())?;
        Ok(Turn { lane: lane()?, _permit: permit })
    }
}

impl Lane {
    async fn connection(&self) -> Result<(Publisher, u64), AdapterError> {
        let mut connection = self.connection.lock().await;
        if let Some(publisher) = &connection.publisher {
            return Ok((publisher.clone(), connection.number));
        }
        let made = self.client.publisher().await;
        let publisher = made.map_err(|error| AdapterError::failed("the connection to Redis", error))?;
        *connection = Connection { publisher: Some(publisher.clone()), number: connection.number + 1 };
        Ok((publisher, connection.number))
    }

    /// A connection is of no more use.
    async fn forget(&self, number: u64) {
        let mut connection = self.connection.lock().await;
        if connection.number == number {
            connection.publisher = None;
        }
    }
}

/// The right to read a history.
pub(super) struct Turn<'a> {
    lane: Arc<Lane>,
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// As [`Publisher::range`].
    pub(super) async fn range(
        &self,
        stream: &[u8],
        start: &str,
        end: &str,
        most: usize,
    ) -> Result<Vec<Entry>, AdapterError> {
        self.ask(true, |redis| async move { redis.range(stream, start, end, most).await }).await
    }

    /// As [`Publisher::kept`].
    pub(super) async fn kept(&self, key: &str) -> Result<Option<Vec<u8>>, AdapterError> {
        self.ask(true, |redis| async move { redis.kept(key).await }).await
    }

    /// As [`Publisher::take`].
    pub(super) async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, AdapterError> {
        // Nobody knows what became of it: it may have been taken.
        self.ask(false, |redis| async move { redis.take(key).await }).await
    }

    /// Asks, if so told once more over a new connection: a server may have ended the former because it was idle.
    async fn ask<T, F: Future<Output = Result<T, CommandError>>>(
        &self,
        again: bool,
        question: impl Fn(Publisher) -> F,
    ) -> Result<T, AdapterError> {
        let (redis, number) = self.lane.connection().await?;
        match question(redis).await {
            Err(error) if error.is_fatal() => {
                self.lane.forget(number).await;
                if !again || error.is_timeout() {
                    return Err(error.into());
                }
            }
            answered => return Ok(answered?),
        }
        let (redis, number) = self.lane.connection().await?;
        match question(redis).await {
            Err(error) if error.is_fatal() => {
                self.lane.forget(number).await;
                Err(error.into())
            }
            answered => Ok(answered?),
        }
    }
}
