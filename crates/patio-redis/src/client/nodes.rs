//! The masters of a Redis Cluster: which of them has which slot, and a connection to each.
//!
//! The client library has connections to clusters too, which subscribe again by themselves after a loss and tell nobody. Here
//! a loss must be told: whoever holds these connections makes them all anew.

use std::time::Duration;

use crc::{CRC_16_XMODEM, Crc};
use futures_util::future::try_join_all;
use parking_lot::{Mutex, RwLock};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    Value, aio::MultiplexedConnection,
};
use tokio::time::sleep;

use super::Post;

const SLOTS: u16 = 16_384;

/// How often a command is handed over whose slot is on its way from one master to another. With the pauses between, that is
/// some 600 ms.
const ROUNDS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Nodes {
    /// Any of them says where the others are.
    seeds: Vec<Client>,
    config: AsyncConnectionConfig,
    state: RwLock<State>,
    /// The last one to which a slot was on its way. It may be no master yet that the map knows.
    aside: Mutex<Option<(ConnectionAddr, MultiplexedConnection)>>,
}

/// Who takes a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// The master of its slot.
    Master(usize),
    /// The one that has those keys already that have left it, for this one time.
    Aside(ConnectionAddr),
}

/// What becomes of a command that was refused because its slot is on its way.
enum Next {
    Aside(ConnectionAddr),
    Later,
}

impl Next {
    /// What a master says, whose address is `own`.
    fn after(error: &RedisError, own: &ConnectionAddr) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::TryAgain) => Some(Self::Later),
            ErrorKind::Server(ServerErrorKind::Ask) => {
                let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
                Some(Self::Aside(address(own, host, port.parse().ok()?)))
            }
            _ => None,
        }
    }
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
        let nodes = Self { seeds, config, state: RwLock::default(), aside: Mutex::new(None) };
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
                        None => open(seed, &address, &self.config).await?,
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
    pub(super) async fn another(&self, key: &[u8], config: &AsyncConnectionConfig) -> RedisResult<Another> {
        let index = self.index_of(key)?;
        let address = self.state.read().masters[index].0.clone();
        let seed = self.seeds[0].clone();
        let connection = open(&seed, &address, config).await?;
        Ok(Another { connection, address, seed, config: config.clone(), aside: Mutex::new(None) })
    }

    /// The address of a master, and the connection to whom a command goes.
    async fn connection(&self, way: &Way) -> RedisResult<(ConnectionAddr, MultiplexedConnection)> {
        let address = match way {
            Way::Master(index) => return Ok(self.state.read().masters[*index].clone()),
            Way::Aside(address) => address,
        };
        let is_it = |(known, _): &&(ConnectionAddr, MultiplexedConnection)| known == address;
        let known = self.state.read().masters.iter().find(is_it).cloned();
        if let Some(known) = known.or_else(|| self.aside.lock().as_ref().filter(is_it).cloned()) {
            return Ok(known);
        }
        let opened = (address.clone(), open(&self.seeds[0], address, &self.config).await?);
        *self.aside.lock() = Some(opened.clone());
        Ok(opened)
    }

    /// What the master of a key answers to these commands, or who has the key already if its slot is on its way.
    pub(super) async fn query(
        &self,
        key: &[u8],
        commands: &redis::Pipeline,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut aside = None;
        for round in 1.. {
            let way = match aside.take() {
                Some(address) => Way::Aside(address),
                None => Way::Master(self.index_of(key)?),
            };
            let (own, mut connection) = self.connection(&way).await?;
            let answers: Vec<RedisResult<Value>> = match &way {
                Way::Master(_) => commands.query_async(&mut connection).await?,
                Way::Aside(_) => {
                    let mut asking = redis::pipe();
                    asking.ignore_errors().cmd("ASKING");
                    commands.cmd_iter().for_each(|command| _ = asking.add_command(command.clone()));
                    let answers: Vec<_> = asking.query_async(&mut connection).await?;
                    answers.into_iter().skip(1).collect()
                }
            };
            let next = answers.iter().find_map(|answer| Next::after(answer.as_ref().err()?, &own));
            match next {
                Some(_) if round == ROUNDS => return Ok(answers),
                Some(Next::Aside(address)) => aside = Some(address),
                Some(Next::Later) => sleep(pause(round)).await,
                None => return Ok(answers),
            }
        }
        Err(unreadable())
    }

    /// Hands each to the master that has its key, in order for each master. What became of each; an error if nobody knows.
    /// Those whose slot has moved are handed to its new master, and those whose slot is on its way to who has the key.
    pub(super) async fn publish(&self, posts: &[&Post]) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut results: Vec<Option<RedisResult<Value>>> = posts.iter().map(|_| None).collect();
        let mut waiting: Vec<(usize, Option<ConnectionAddr>)> = (0..posts.len()).map(|n| (n, None)).collect();
        let mut is_fresh = false;
        for round in 1..=ROUNDS {
            let mut groups = Vec::<(Way, Vec<usize>)>::new();
            for (n, aside) in waiting.drain(..) {
                let way = match aside {
                    Some(address) => Way::Aside(address),
                    None => Way::Master(posts[n].key().map_or(Ok(0), |key| self.index_of(key))?),
                };
                match groups.iter_mut().find(|(other, _)| *other == way) {
                    Some((_, numbers)) => numbers.push(n),
                    None => groups.push((way, vec![n])),
                }
            }
            let (mut has_moved_now, mut is_later) = (false, false);
            let each = groups.into_iter().map(|(way, numbers)| self.publish_at(way, posts, numbers));
            for (n, result, own) in try_join_all(each).await?.into_iter().flatten() {
                let next = result.as_ref().err().and_then(|error| Next::after(error, &own));
                match (next, result) {
                    (_, result) if round == ROUNDS => results[n] = Some(result),
                    (Some(Next::Aside(address)), _) => waiting.push((n, Some(address))),
                    (Some(Next::Later), _) => {
                        is_later = true;
                        waiting.push((n, None));
                    }
                    (None, Err(error)) if has_moved(&error) && !is_fresh => {
                        has_moved_now = true;
                        waiting.push((n, None));
                    }
                    (None, result) => results[n] = Some(result),
                }
            }
            if waiting.is_empty() {
                break;
            }
            waiting.sort_unstable_by_key(|(n, _)| *n);
            if has_moved_now {
                is_fresh = true;
                self.refresh().await?;
            }
            if is_later {
                sleep(pause(round)).await;
            }
        }
        Ok(results.into_iter().map(|result| result.unwrap_or_else(|| Err(unreadable()))).collect())
    }

    /// Hands some of these over in one go: what became of each, and by whom.
    async fn publish_at(
        &self,
        way: Way,
        posts: &[&Post],
        numbers: Vec<usize>,
    ) -> RedisResult<Vec<(usize, RedisResult<Value>, ConnectionAddr)>> {
        let (own, mut connection) = self.connection(&way).await?;
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for &n in &numbers {
            if let Way::Aside(_) = way {
                pipeline.cmd("ASKING");
            }
            posts[n].add_to(&mut pipeline);
        }
        let answers: Vec<RedisResult<Value>> = pipeline.query_async(&mut connection).await?;
        // What is said to ASKING is of no interest.
        let step = if let Way::Aside(_) = way { 2 } else { 1 };
        let answers = answers.into_iter().skip(step - 1).step_by(step);
        Ok(numbers.into_iter().zip(answers).map(|(n, answer)| (n, answer, own.clone())).collect())
    }
}

/// A connection for commands that wait for one key.
pub(crate) struct Another {
    connection: MultiplexedConnection,
    address: ConnectionAddr,
    seed: Client,
    config: AsyncConnectionConfig,
    /// The one to which the key's slot is on its way.
    aside: Mutex<Option<(ConnectionAddr, MultiplexedConnection)>>,
}

impl Another {
    /// What the master answers, or who has the key already if its slot is on its way.
    pub(super) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        let error = match command.query_async(&mut self.connection.clone()).await {
            Err(error) => error,
            answered => return answered,
        };
        let address = match Next::after(&error, &self.address) {
            Some(Next::Aside(address)) => address,
            Some(Next::Later) => {
                sleep(PAUSE).await;
                return Ok(Value::Nil);
            }
            None => return Err(error),
        };
        let known = self.aside.lock().clone().filter(|(known, _)| *known == address);
        let mut connection = match known {
            Some((_, connection)) => connection,
            None => {
                let connection = open(&self.seed, &address, &self.config).await?;
                *self.aside.lock() = Some((address, connection.clone()));
                connection
            }
        };
        let mut asking = redis::pipe();
        asking.cmd("ASKING").ignore().add_command(command.clone());
        let (answer,) = asking.query_async(&mut connection).await?;
        Ok(answer)
    }
}

async fn open(
    seed: &Client,
    address: &ConnectionAddr,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let info = seed.get_connection_info().clone().set_addr(address.clone());
    Client::open(info)?.get_multiplexed_async_connection_with_config(config).await
}

/// How long to wait after so many rounds.
fn pause(round: u32) -> Duration {
    PAUSE * 2u32.saturating_pow(round - 1)
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
    fn a_slot_on_its_way_has_two_masters() {
        let own = ConnectionAddr::Tcp("own".into(), 1);
        let next = |line: &str| {
            let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            Next::after(&answer.extract_error().unwrap_err(), &own)
        };
        let aside = |line| match next(line) {
            Some(Next::Aside(ConnectionAddr::Tcp(host, port))) => Some((host, port)),
            _ => None,
        };
        assert_eq!(aside("ASK 3999 127.0.0.1:6381"), Some(("127.0.0.1".to_owned(), 6381)));
        assert_eq!(aside("ASK 3999 ::1:6381"), Some(("::1".to_owned(), 6381)));
        assert_eq!(aside("ASK 3999 :6381"), Some(("own".to_owned(), 6381)), "it does not know its host");
        for nonsense in ["ASK", "ASK 1", "ASK x a:1", "ASK 1 a", "ASK 1 a:b", "ASK 1 a:99999"] {
            assert!(next(nonsense).is_none(), "{nonsense}");
        }
        assert!(matches!(next("TRYAGAIN Multiple keys request during rehashing of slot"), Some(Next::Later)));
        assert!(next("MOVED 3999 127.0.0.1:6381").is_none() && next("ERR no").is_none());
        assert!((1..ROUNDS).map(pause).sum::<Duration>() < Duration::from_secs(1));
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
