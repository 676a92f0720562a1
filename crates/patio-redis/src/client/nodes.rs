//! The masters of a Redis Cluster: which of them has which slot, and a connection to each.
//!
//! The client library has connections to clusters too, which subscribe again by themselves after a loss and tell nobody. Here
//! a loss must be told: whoever holds these connections makes them all anew.

use std::collections::BTreeMap;

use crc::{CRC_16_XMODEM, Crc};
use futures_util::future::try_join_all;
use parking_lot::RwLock;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    Value, aio::MultiplexedConnection,
};

use super::Post;

const SLOTS: u16 = 16_384;

pub(super) struct Nodes {
    /// Any of them says where the others are.
    seeds: Vec<Client>,
    config: AsyncConnectionConfig,
    state: RwLock<State>,
}

#[derive(Clone, Default)]
struct State {
    /// First and last slot, and the index of the master that has them.
    ranges: Vec<(u16, u16, usize)>,
    masters: Vec<(ConnectionAddr, MultiplexedConnection)>,
}

impl Nodes {
    /// Connects to all masters, as the first of the `seeds` that answers knows them.
    pub(super) async fn connect(seeds: Vec<Client>, config: AsyncConnectionConfig) -> RedisResult<Self> {
        let nodes = Self { seeds, config, state: RwLock::default() };
        nodes.refresh().await?;
        Ok(nodes)
    }

    /// Finds out anew which master has which slot.
    async fn refresh(&self) -> RedisResult<()> {
        let known = self.state.read().clone();
        let (seed, ranges) = self.ask().await?;
        let mut state = State::default();
        for (first, last, address) in ranges {
            let index = match state.masters.iter().position(|(known, _)| *known == address) {
                Some(index) => index,
                None => {
                    let connection = match known.masters.iter().find(|(known, _)| *known == address) {
                        Some((_, connection)) => connection.clone(),
                        None => self.open(seed, &address, &self.config).await?,
                    };
                    state.masters.push((address, connection));
                    state.masters.len() - 1
                }
            };
            state.ranges.push((first, last, index));
        }
        if state.masters.is_empty() {
            return Err((ErrorKind::InvalidClientConfig, "the cluster has no slots").into());
        }
        *self.state.write() = state;
        Ok(())
    }

    async fn open(
        &self,
        seed: &Client,
        address: &ConnectionAddr,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let info = seed.get_connection_info().clone().set_addr(address.clone());
        Client::open(info)?.get_multiplexed_async_connection_with_config(config).await
    }

    /// What the first seed that answers says: ranges of slots with the addresses of their masters.
    async fn ask(&self) -> RedisResult<(&Client, Vec<(u16, u16, ConnectionAddr)>)> {
        let mut failed =
            RedisError::from((ErrorKind::InvalidClientConfig, "no address of a cluster is known"));
        for seed in &self.seeds {
            // Not with the push sender: its end would be taken for that of the subscriber.
            let asked = async {
                let mut connection =
                    seed.get_multiplexed_async_connection_with_config(&super::config()).await?;
                redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut connection).await
            };
            match asked.await {
                Ok(slots) => {
                    let own = seed.get_connection_info().addr();
                    return Ok((seed, ranges(slots, own).ok_or_else(unreadable)?));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The master that has a key or a channel, by its index, and the connection to it.
    fn index_of(&self, key: &[u8]) -> RedisResult<usize> {
        let slot = slot(key);
        let state = self.state.read();
        let range = state.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        range
            .map(|(.., index)| *index)
            .ok_or_else(|| (ErrorKind::InvalidClientConfig, "nobody in the cluster has this slot").into())
    }

    pub(super) fn of(&self, key: &[u8]) -> RedisResult<MultiplexedConnection> {
        let index = self.index_of(key)?;
        Ok(self.state.read().masters[index].1.clone())
    }

    /// One of them, always the same.
    pub(super) fn any(&self) -> MultiplexedConnection {
        self.state.read().masters[0].1.clone()
    }

    pub(super) fn all(&self) -> Vec<MultiplexedConnection> {
        self.state.read().masters.iter().map(|(_, connection)| connection.clone()).collect()
    }

    /// One more connection to the master that has a key, for a command that waits.
    pub(super) async fn another(
        &self,
        key: &[u8],
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let index = self.index_of(key)?;
        let address = self.state.read().masters[index].0.clone();
        self.open(&self.seeds[0], &address, config).await
    }

    /// Hands each to the master that has its key, in order for each master. What became of each; an error if nobody knows.
    /// Those whose slot has moved are handed to its new master.
    pub(super) async fn publish(&self, posts: &[&Post]) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut results: Vec<Option<RedisResult<Value>>> = posts.iter().map(|_| None).collect();
        let mut waiting: Vec<usize> = (0..posts.len()).collect();
        for is_last in [false, true] {
            let mut groups = BTreeMap::<usize, Vec<usize>>::new();
            for n in waiting.drain(..) {
                let master = posts[n].key().map_or(Ok(0), |key| self.index_of(key))?;
                groups.entry(master).or_default().push(n);
            }
            let each = groups.into_iter().map(async |(master, numbers)| {
                let mut connection = self.state.read().masters[master].1.clone();
                let mut pipeline = redis::pipe();
                pipeline.ignore_errors();
                numbers.iter().for_each(|&n| posts[n].add_to(&mut pipeline));
                let answers: Vec<RedisResult<Value>> = pipeline.query_async(&mut connection).await?;
                RedisResult::Ok(numbers.into_iter().zip(answers).collect::<Vec<_>>())
            });
            for (n, result) in try_join_all(each).await?.into_iter().flatten() {
                match result {
                    Err(error) if has_moved(&error) && !is_last => waiting.push(n),
                    result => results[n] = Some(result),
                }
            }
            if waiting.is_empty() {
                break;
            }
            waiting.sort_unstable();
            self.refresh().await?;
        }
        Ok(results.into_iter().map(|result| result.unwrap_or_else(|| Err(unreadable()))).collect())
    }
}

/// Whether another master has the slot now.
pub(super) fn has_moved(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ClusterDown))
}

fn unreadable() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the cluster does not say which of its servers has which slots").into()
}

/// Reads the answer to `CLUSTER SLOTS`; `own` is the address of who answered.
fn ranges(slots: Value, own: &ConnectionAddr) -> Option<Vec<(u16, u16, ConnectionAddr)>> {
    let Value::Array(slots) = slots else { return None };
    let range = |range| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &range[..] else { return None };
        let [host, Value::Int(port), ..] = &master[..] else { return None };
        let host = match host {
            Value::BulkString(host) => String::from_utf8_lossy(host).into_owned(),
            Value::SimpleString(host) => host.clone(),
            _ => String::new(),
        };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        Some((first, last.min(SLOTS - 1), address(own, &host, u16::try_from(*port).ok()?)))
    };
    slots.into_iter().map(range).collect()
}

/// The address of another master, reached in the same way. Who does not know its own host is where it was asked.
fn address(own: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    let is_known = !host.is_empty() && host != "?";
    match own {
        ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: if is_known { host } else { own }.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        ConnectionAddr::Tcp(own, _) => {
            ConnectionAddr::Tcp(if is_known { host } else { own }.to_owned(), port)
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    }
}

/// The slot of a key or channel: of what stands between braces, if there is such a part.
fn slot(key: &[u8]) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|start| {
        let end = key[start..].iter().position(|&byte| byte == b'}')?;
        Some(&key[start + 1..start + end])
    });
    CRC.checksum(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As CLUSTER KEYSLOT says.
        for (key, expected) in [
            ("socket.io#/#", 13_868),
            ("123456789", 12_739),
            ("{user1000}.following", 3_443),
            ("user1000", 3_443),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar}{zap}", 5_061),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn the_map_is_read() {
        let own = ConnectionAddr::Tcp("seed".into(), 1);
        let master = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::Nil]);
        let slots = Value::Array(vec![
            Value::Array(vec![Value::Int(0), Value::Int(99), master(Value::BulkString("a".into()), 7)]),
            Value::Array(vec![
                Value::Int(100),
                Value::Int(16_383),
                master(Value::Nil, 8),
                master(Value::Nil, 9),
            ]),
        ]);
        let expected = vec![
            (0, 99, ConnectionAddr::Tcp("a".into(), 7)),
            (100, 16_383, ConnectionAddr::Tcp("seed".into(), 8)),
        ];
        assert_eq!(ranges(slots, &own), Some(expected));
        assert_eq!(ranges(Value::Nil, &own), None);
        assert_eq!(ranges(Value::Array(vec![Value::Int(1)]), &own), None);
    }
}
