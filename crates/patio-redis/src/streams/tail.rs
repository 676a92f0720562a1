//! Reads the end of the streams, for all namespaces of a server: each entry once and in its order, also those that were
//! appended while there was no connection.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::future::select_all;
use parking_lot::Mutex;
use patio_adapter::AdapterError;

use super::{broker::Place, lane::Histories, names::Names};
use crate::{
    client::{Client, Entry, Publisher, StreamReader},
    link::Companion,
};

/// How long one command waits for entries. Node's `blockTimeInMs`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Before all entries.
const BEGINNING: &str = "0-0";

pub(super) struct Tail {
    read_count: usize,
    pub(super) histories: Histories,
    state: Mutex<State>,
}

struct State {
    /// Up to where each stream was read; `None` before the first connection.
    positions: Vec<(Bytes, Option<String>)>,
    places: HashMap<String, Weak<Place>>,
}

impl Tail {
    pub(super) fn new(names: &Names, read_count: usize) -> Self {
        let positions = names.all.iter().map(|name| (name.clone(), None)).collect();
        Self {
            read_count,
            histories: Histories::new(),
            state: Mutex::new(State { positions, places: HashMap::new() }),
        }
    }

    /// Gives the entries of a namespace to `place`.
    pub(super) fn add(&self, namespace: &str, place: &Arc<Place>) {
        self.state.lock().places.insert(namespace.to_owned(), Arc::downgrade(place));
    }

    pub(super) fn remove(&self, namespace: &str, place: &Arc<Place>) {
        let mut state = self.state.lock();
        let is_own = |other: &Weak<Place>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(place));
        if state.places.get(namespace).is_some_and(is_own) {
            state.places.remove(namespace);
        }
    }

    pub(super) fn places(&self) -> Vec<Arc<Place>> {
        self.state.lock().places.values().filter_map(Weak::upgrade).collect()
    }

    /// Finds out from where to read: from the end at first, then from where it was. An id and not Node's `$`, which means
    /// another place at each command until something was read.
    async fn find_positions(&self, publisher: &Publisher) -> Result<(), AdapterError> {
        let known = self.state.lock().positions.clone();
        let mut found = Vec::new();
        for (stream, position) in known {
            let last = publisher.last(&stream).await?.map_or_else(|| BEGINNING.to_owned(), |entry| entry.id);
            let position = match position {
                None => last,
                Some(position) if is_after(&position, &last) => {
                    // It has been made anew, or has lost its end with its server.
                    self.report_gap(&stream);
                    last
                }
                Some(position) => {
                    let before = publisher.range(&stream, "-", &position, 1).await?;
                    if position != BEGINNING && before.is_empty() {
                        self.report_gap(&stream);
                    }
                    position
                }
            };
            found.push((stream, Some(position)));
        }
        self.state.lock().positions = found;
        Ok(())
    }

    fn report_gap(&self, stream: &[u8]) {
        tracing::warn!(
            stream = %stream.escape_ascii(),
            "entries may have left the stream before they were read here"
        );
        self.places().iter().for_each(|place| place.missed_history());
    }

    /// Reads these streams, until it cannot any more.
    async fn follow(&self, reader: &StreamReader, streams: &[Bytes]) -> AdapterError {
        loop {
            let positions = self.state.lock().positions.clone();
            let after: Vec<_> = positions
                .into_iter()
                .filter(|(stream, _)| streams.contains(stream))
                .map(|(stream, position)| (stream, position.unwrap_or_else(|| BEGINNING.to_owned())))
                .collect();
            let read = match reader.read(&after, self.read_count, PATIENCE).await {
                Ok(read) => read,
                Err(error) => return error.into(),
            };
            for (stream, entries) in read {
                entries.iter().for_each(|entry| self.hand_on(&stream, entry));
            }
        }
    }

    /// Gives an entry to its namespace. Whatever comes of it, the next one is read next.
    fn hand_on(&self, stream: &Bytes, entry: &Entry) {
        let place = {
            let mut state = self.state.lock();
            if let Some((_, position)) = state.positions.iter_mut().find(|(name, _)| name == stream) {
                *position = Some(entry.id.clone());
            }
            let namespace = entry.field("nsp").and_then(|nsp| std::str::from_utf8(nsp).ok());
            namespace.and_then(|namespace| state.places.get(namespace)).and_then(Weak::upgrade)
        };
        if let Some(place) = place
            && catch_unwind(AssertUnwindSafe(|| place.receive_entry(entry))).is_err()
        {
            tracing::error!(id = entry.id, "an entry made its receiver panic");
        }
    }
}

impl Companion for Tail {
    fn begin<'a>(
        &'a self,
        client: &'a Arc<Client>,
        publisher: &'a Publisher,
    ) -> BoxFuture<'a, Result<BoxFuture<'a, AdapterError>, AdapterError>> {
        Box::pin(async move {
            if client.is_replica(publisher).await? {
                return Err(AdapterError::failed("finding a master", Replica));
            }
            let streams: Vec<_> =
                self.state.lock().positions.iter().map(|(stream, _)| stream.clone()).collect();
            let readers = client.stream_readers(&streams, PATIENCE).await;
            let readers = readers.map_err(|error| AdapterError::failed("the connection to Redis", error))?;
            self.find_positions(publisher).await?;
            let opened = self.histories.open(client);
            Ok(Box::pin(async move {
                let _until_end = opened;
                let each = readers.iter().map(|(reader, streams)| Box::pin(self.follow(reader, streams)));
                select_all(each).await.0
            }) as BoxFuture<'a, AdapterError>)
        })
    }
}

/// A server that was a master has another one now.
#[derive(Debug, thiserror::Error)]
#[error("the server is a replica, which takes no entries")]
struct Replica;

/// Whether one id is behind another.
fn is_after(id: &str, other: &str) -> bool {
    match (position(id), position(other)) {
        (Some(id), Some(other)) => id > other,
        _ => true,
    }
}

/// Milliseconds, and a number within them: `1795340994377-0`.
pub(super) fn position(id: &str) -> Option<(u64, u64)> {
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (millis, n) = id.split_once('-')?;
    Some((number(millis)?, number(n)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_numbers() {
        assert!(is_after("10-0", "9-5"));
        assert!(is_after("9-10", "9-9"));
        assert!(!is_after("9-9", "9-9"));
        for id in ["", "1", "1-", "-1", "+1-0", "1-0x", "99999999999999999999-0", "1-2-3"] {
            assert_eq!(position(id), None, "{id}");
        }
    }
}
