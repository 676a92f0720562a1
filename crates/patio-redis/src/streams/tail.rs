//! Reads the end of the streams, for all namespaces of a server: each entry once and in its order, also those that were
//! appended while there was no connection.

use std::{
    collections::HashMap,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::future::select_all;
use parking_lot::Mutex;
use patio_adapter::AdapterError;
use tokio::time::{Instant, sleep};

use super::{broker::Place, lane::Histories, names::Names};
use crate::{
    client::{Client, CommandError, Entry, Publisher, StreamReader},
    link::Companion,
    throttle::Throttle,
};

/// How long one command waits for entries. Node's `blockTimeInMs`.
const PATIENCE: Duration = Duration::from_secs(5);

/// When a stream that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Before all entries.
const BEGINNING: &str = "0-0";

pub(super) struct Tail {
    read_count: usize,
    max_len: usize,
    pub(super) histories: Histories,
    state: Mutex<State>,
}

struct State {
    streams: Vec<Stream>,
    places: HashMap<String, Weak<Place>>,
}

struct Stream {
    name: Bytes,
    /// Up to where it was read; `None` before that was first found out.
    position: Option<String>,
    /// When to look for its position: with each connection, and after a while when Redis refuses to have it read. That may be
    /// no stream, or not for us: one namespace's misfortune, which is not to be that of all. `None`: it can be read.
    look: Option<Instant>,
    /// That entries may be missing before the next one has been told.
    is_gap_known: bool,
    /// How many entries were read in full pages since the stream was empty. There is no entry then by which to know whether
    /// others have left.
    since_empty: Option<usize>,
    refusals: Throttle,
    gaps: Throttle,
}

impl State {
    fn stream(&mut self, name: &[u8]) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.name == name)
    }
}

impl Tail {
    pub(super) fn new(names: &Names, read_count: usize, max_len: usize) -> Self {
        let stream = |name: &Bytes| Stream {
            name: name.clone(),
            position: None,
            look: None,
            is_gap_known: false,
            since_empty: None,
            refusals: Throttle::default(),
            gaps: Throttle::default(),
        };
        let streams = names.all.iter().map(stream).collect();
        let state = Mutex::new(State { streams, places: HashMap::new() });
        Self { read_count, max_len, histories: Histories::new(), state }
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

    /// The namespaces whose events are in this stream.
    pub(super) fn places(&self, stream: &[u8]) -> Vec<Arc<Place>> {
        let state = self.state.lock();
        state.places.values().filter_map(Weak::upgrade).filter(|place| place.stream == stream).collect()
    }

    /// Finds out from where to read, of those streams of these for which it is time.
    async fn find_positions(&self, publisher: &Publisher, names: &[Bytes]) -> Result<(), CommandError> {
        let now = Instant::now();
        let due: Vec<_> = {
            let state = self.state.lock();
            let is_due = |stream: &&Stream| {
                names.contains(&stream.name) && stream.look.is_some_and(|time| time <= now)
            };
            let due = state.streams.iter().filter(is_due);
            due.map(|stream| (stream.name.clone(), stream.position.clone())).collect()
        };
        for (name, position) in due {
            match self.find_position(publisher, &name, position).await {
                Ok((position, is_gap)) => {
                    if let Some(stream) = self.state.lock().stream(&name) {
                        stream.since_empty = (position == BEGINNING && !is_gap).then_some(0);
                        (stream.position, stream.look, stream.is_gap_known) = (Some(position), None, is_gap);
                    }
                    if is_gap {
                        self.report_gap(&name);
                    }
                }
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => self.refused(&name, &error),
            }
        }
        Ok(())
    }

    /// From the end at first, then from where it was; and whether entries may be missing there. An id and not Node's `$`, which
    /// means another place at each command until something was read.
    async fn find_position(
        &self,
        publisher: &Publisher,
        stream: &[u8],
        position: Option<String>,
    ) -> Result<(String, bool), CommandError> {
        let last = publisher.last(stream).await?.map_or_else(|| BEGINNING.to_owned(), |entry| entry.id);
        let Some(position) = position else { return Ok((last, false)) };
        if is_after(&position, &last) {
            // It has been made anew, or has lost its end with its server.
            return Ok((last, true));
        }
        let is_gap = has_left(publisher, stream, &position).await?;
        Ok((position, is_gap))
    }

    fn report_gap(&self, name: &[u8]) {
        if self.state.lock().stream(name).is_some_and(|stream| stream.gaps.due()) {
            tracing::warn!(
                stream = %name.escape_ascii(),
                "entries may have left the stream before they were read here"
            );
        }
        self.places(name).iter().for_each(|place| place.missed_history());
    }

    /// Redis refuses to have a stream read.
    fn refused(&self, name: &[u8], error: &CommandError) {
        let is_due = self.state.lock().stream(name).is_some_and(|stream| {
            stream.look = Some(Instant::now() + RETRY);
            stream.refusals.due()
        });
        if is_due {
            tracing::error!(stream = %name.escape_ascii(), %error, "Redis refuses to have a stream read");
        }
        self.places(name).iter().for_each(|place| place.read_failed());
    }

    /// Reads these streams, until it cannot any more.
    async fn follow(&self, publisher: &Publisher, reader: &StreamReader, names: &[Bytes]) -> AdapterError {
        loop {
            if let Err(error) = self.read(publisher, reader, names).await {
                return error.into();
            }
        }
    }

    /// Reads once. Error: the connection is lost.
    async fn read(
        &self,
        publisher: &Publisher,
        reader: &StreamReader,
        names: &[Bytes],
    ) -> Result<(), CommandError> {
        self.find_positions(publisher, names).await?;
        let (after, next) = self.readable(names);
        let patience = next.map_or(PATIENCE, |next| next.duration_since(Instant::now())).min(PATIENCE);
        // 0 would be without end.
        let patience = patience.max(Duration::from_millis(1));
        if after.is_empty() {
            sleep(patience).await;
            return Ok(());
        }
        let error = match reader.read(&after, self.read_count, Some(patience)).await {
            Ok(read) => return self.hand_on_all(publisher, &after, read).await,
            Err(error) => error,
        };
        if error.is_fatal() {
            return Err(error);
        }
        // It does not say for which of them.
        let mut is_found = false;
        for one in after.iter().filter(|_| after.len() > 1) {
            match reader.read(slice::from_ref(one), self.read_count, None).await {
                Ok(read) => self.hand_on_all(publisher, slice::from_ref(one), read).await?,
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    is_found = true;
                    self.refused(&one.0, &error);
                }
            }
        }
        if !is_found {
            // Again and again without a pause, it would be asked for what it refuses.
            after.iter().for_each(|(name, _)| self.refused(name, &error));
        }
        Ok(())
    }

    /// Those streams of these that can be read, each with its position, and when to look for another.
    fn readable(&self, names: &[Bytes]) -> (Vec<(Bytes, String)>, Option<Instant>) {
        let state = self.state.lock();
        let own = || state.streams.iter().filter(|stream| names.contains(&stream.name));
        let after = own().filter(|stream| stream.look.is_none()).filter_map(|stream| {
            let position = stream.position.clone()?;
            Some((stream.name.clone(), position))
        });
        (after.collect(), own().filter_map(|stream| stream.look).min())
    }

    /// Gives what was read after these ids to the namespaces, and finds out whether anything was missing before it.
    async fn hand_on_all(
        &self,
        publisher: &Publisher,
        after: &[(Bytes, String)],
        read: Vec<(Bytes, Vec<Entry>)>,
    ) -> Result<(), CommandError> {
        for (name, entries) in read {
            entries.iter().for_each(|entry| self.hand_on(&name, entry));
            let is_full = entries.len() >= self.read_count;
            let (is_known, is_too_many) = {
                let mut state = self.state.lock();
                let Some(stream) = state.stream(&name) else { continue };
                let since_empty = stream.since_empty.map(|so_far| so_far + entries.len());
                // As long as there are fewer, none has left.
                let is_too_many = since_empty.is_some_and(|entries| entries >= self.max_len);
                stream.since_empty = since_empty.filter(|_| is_full && !is_too_many);
                (mem::take(&mut stream.is_gap_known), is_too_many)
            };
            let position = after.iter().find(|(other, _)| *other == name).map(|(_, position)| position);
            let is_gap = match position {
                _ if is_known => false,
                _ if is_too_many => true,
                // Whoever is behind by less than a page is not asked for again: that is how most entries come.
                Some(position) if is_full => match has_left(publisher, &name, position).await {
                    Err(error) if error.is_fatal() => return Err(error),
                    has_left => has_left.unwrap_or(false),
                },
                _ => false,
            };
            if is_gap {
                self.report_gap(&name);
            }
        }
        Ok(())
    }

    /// Gives an entry to its namespace. Whatever comes of it, the next one is read next.
    fn hand_on(&self, stream: &Bytes, entry: &Entry) {
        let place = {
            let mut state = self.state.lock();
            if let Some(stream) = state.stream(stream) {
                stream.position = Some(entry.id.clone());
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
            let names: Vec<_> = {
                let mut state = self.state.lock();
                let now = Instant::now();
                state.streams.iter_mut().for_each(|stream| stream.look = Some(now));
                state.streams.iter().map(|stream| stream.name.clone()).collect()
            };
            let readers = client.stream_readers(&names, PATIENCE).await;
            let readers = readers.map_err(|error| AdapterError::failed("the connection to Redis", error))?;
            self.find_positions(publisher, &names).await?;
            let opened = self.histories.open(client);
            Ok(Box::pin(async move {
                let _until_end = opened;
                let each =
                    readers.iter().map(|(reader, names)| Box::pin(self.follow(publisher, reader, names)));
                select_all(each).await.0
            }) as BoxFuture<'a, AdapterError>)
        })
    }
}

/// A server that was a master has another one now.
#[derive(Debug, thiserror::Error)]
#[error("the server is a replica, which takes no entries")]
struct Replica;

/// Whether the entry at this position has left its stream, and maybe others behind it: then there is nothing up to there.
async fn has_left(publisher: &Publisher, stream: &[u8], position: &str) -> Result<bool, CommandError> {
    Ok(position != BEGINNING && publisher.range(stream, "-", position, 1).await?.is_empty())
}

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
