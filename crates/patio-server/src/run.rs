//! `patio serve`: makes the Socket.IO server that the configuration describes, binds the listeners, and runs until a signal
//! comes. The address to open goes to standard output; the log goes to standard error.

use std::{
    future::ready,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, anyhow};
use axum::{
    Router,
    extract::Request,
    http::request::Parts,
    middleware::{Next, from_fn},
    routing::get,
};
use parking_lot::Mutex;
use patio::{Cors, Server, ServerBuilder};
use patio_redis::{PubSub, Sharded, Store, Streams};
use tokio::net::{TcpListener, lookup_host};
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;

use crate::{
    api, chat,
    clients::{self, Clients},
    config::{Adapter, Config, HookSettings, Log, Redis},
    expiry::Expiries,
    health::{self, Ending},
    hooks::{Batches, Hooks},
    metrics::{self, Readers},
    ops::Operations,
    origins::Origins,
    page,
    proxies::{self, Network},
};

/// The status of a process that was asked twice to end, and has not taken the time to do it in order.
const ENDED_AT_ONCE: i32 = 130;

/// Serves until Ctrl-C or SIGTERM, then releases the clients. A second signal ends the process at once.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    begin_log(&config.log);
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

    let listener = bind(&config.listen).await?;
    let internal = match &config.internal_listen {
        Some(listen) => Some(bind(listen).await?),
        None => None,
    };
    let signalled = signals()?;
    let expiries = Expiries::default();
    let tasks = TaskTracker::new();
    let clients = clients(&config, &expiries, &tasks)?;
    let io = server(&config, &clients).await?;
    let store = config
        .redis
        .as_ref()
        .map(|redis| Store::new(redis.url.0.as_str(), format!("{}:answer:", redis.prefix)));
    let operations = Operations::new(io.clone(), expiries.clone(), store.transpose()?);
    // Set here and nowhere else.
    let _ = clients.operations.set(operations.clone());
    let ending = Ending::new();
    let settings = api::Settings {
        keys: config.keys,
        body_bytes: config.limits.api_body_bytes,
        operations: config.limits.api_operations,
    };
    let readers = match &internal {
        Some(_) => Readers::Everybody,
        None => Readers::With(settings.keys.clone()),
    };
    let backends = api::router(operations, ending.clone(), settings)
        .merge(health::router(io.clone(), ending.clone()))
        .merge(metrics::router(io.clone(), clients.clone(), readers));
    let pages = if config.demo { page::router() } else { Router::new().route("/", get(greeting)) };

    // Clients come when the other servers reach this one. Whoever wants an end meanwhile has it.
    let mut signalled = Box::pin(signalled);
    tokio::select! {
        ready = io.ready() => ready?,
        () = &mut signalled => return Ok(()),
    }
    let address = listener.local_addr()?;
    let app = match internal {
        None => backends.merge(pages),
        Some(internal) => {
            println!("listening for backends on {}", internal.local_addr()?);
            tokio::spawn(async move { axum::serve(internal, backends).await });
            pages
        }
    };
    println!("listening on {address}");
    if config.demo {
        println!("open {} in two tabs; Ctrl-C ends", url(address));
    }
    tokio::spawn(expiries.close(io.clone()));

    // A signal, or somebody who asks for it.
    let ends = ending.clone();
    let ended = async move {
        tokio::select! {
            () = signalled => drop(ends.begin()),
            () = ends.begun() => {}
        }
    };
    let (is_demo, window) = (config.demo, config.drain);
    let layer = io.layer();
    let trusted: Arc<[Network]> = config.trusted_proxies.into();
    let behind = from_fn(move |request: Request, next: Next| {
        let trusted = Arc::clone(&trusted);
        async move { proxies::look_behind(&trusted, request, next).await }
    });
    let drain = async move {
        // People in the chat should not wait for an empty window; clients of a backend come back by themselves.
        if !is_demo {
            io.drain(window).await;
        }
        io.close().await;
        // Nobody tells the backend anything more; what it has not heard yet is told now.
        clients.told_all().await;
    };
    patio::serve(listener, app.layer(layer).layer(behind)).with_graceful_shutdown(ended).drain(drain).await?;
    Ok(())
}

fn begin_log(Log { is_json, level }: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match is_json {
        true => log.json().init(),
        false => log.init(),
    }
}

fn clients(config: &Config, expiries: &Expiries, tasks: &TaskTracker) -> anyhow::Result<Arc<Clients>> {
    let HookSettings { calls, connect, disconnect } = &config.hooks;
    let hooks = match connect.is_some() || disconnect.is_some() || config.rules.has_hooks() {
        true => Some(Hooks::new(calls.clone())?),
        false => None,
    };
    let gone = disconnect.clone().zip(hooks.clone()).map(|(url, hooks)| Batches::new(url, hooks, tasks));
    Ok(Arc::new(Clients {
        tokens: config.tokens.clone(),
        rules: config.rules.clone(),
        rates: (config.limits.events, config.limits.bytes),
        expiries: expiries.clone(),
        hooks,
        connect: connect.clone(),
        gone: Mutex::new(gone),
        refusals: Mutex::default(),
        tasks: tasks.clone(),
        operations: OnceLock::new(),
    }))
}

/// The Socket.IO server that the configuration describes. Old clients (1.x, 2.x) may connect too.
async fn server(config: &Config, clients: &Arc<Clients>) -> anyhow::Result<Server> {
    let mut builder = Server::builder().allow_eio3(true).max_http_buffer_size(config.limits.message_bytes);
    if let Some(most) = config.limits.connections {
        builder = builder.max_connections(most);
    }
    builder = match &config.origins {
        Origins::Any => builder.cors(Cors::any()),
        Origins::These(origins) if origins.is_empty() => builder,
        Origins::These(origins) => builder.cors(Cors::origins(origins)),
    };
    let origins = config.origins.clone();
    builder = builder.allow_request(move |parts: &Parts| {
        let allowed = origins.allow(&parts.headers);
        ready(if allowed { Ok(()) } else { Err("pages of this origin may not connect".to_owned()) })
    });
    builder = match config.demo {
        true => builder.namespace("/", chat::namespace()),
        false => {
            let all = config.namespaces.iter();
            all.fold(builder, |builder, name| builder.namespace(name, clients::namespace(clients)))
        }
    };
    if let Some(redis) = &config.redis {
        builder = adapted(builder, redis).await?;
    }
    Ok(builder.build()?)
}

async fn adapted(
    builder: ServerBuilder,
    Redis { url, adapter, prefix }: &Redis,
) -> anyhow::Result<ServerBuilder> {
    let url = url.0.as_str();
    Ok(match adapter {
        Adapter::PubSub => builder.adapter(PubSub::builder(url).key(prefix).connect().await?),
        Adapter::Sharded => builder.adapter(Sharded::builder(url).channel_prefix(prefix).connect().await?),
        Adapter::Streams => {
            builder.adapter(Streams::builder(url).stream_name(prefix).channel_prefix(prefix).connect().await?)
        }
    })
}

/// What somebody sees who opens the address in a browser.
async fn greeting() -> &'static str {
    "This is a Socket.IO server.\n"
}

/// The listener, or an error that tells what to do about it. A host name means the first of its addresses that works.
async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let mut outcome = Err(ErrorKind::InvalidInput.into());
    for address in lookup_host(listen).await.map_err(|error| refusal(listen, &error))? {
        outcome = patio::listen(address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map_err(|error| refusal(listen, &error))
}

fn refusal(listen: &str, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{listen} is taken: another program listens there; end it, or choose another port with --listen"
        ),
        ErrorKind::PermissionDenied => anyhow!("{listen} may not be used: ports below 1024 need privileges"),
        ErrorKind::InvalidInput => anyhow!("{listen} is not an address with a port, like 127.0.0.1:3000"),
        _ => anyhow!("cannot listen on {listen}: {error}"),
    }
}

/// What a browser on this machine opens: a listener on every address is reached through the loopback one.
fn url(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{}/", address.port()),
        _ => format!("http://{address}/"),
    }
}

/// A future that ends with the first signal. From then on the next one ends the process.
fn signals() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut signal = Signal::new().context("cannot wait for signals")?;
    Ok(async move {
        signal.next().await;
        tokio::spawn(async move {
            signal.next().await;
            std::process::exit(ENDED_AT_ONCE);
        });
    })
}

/// Ctrl-C or, where there is such a thing, SIGTERM. Registered when made, so that none between two waits is lost.
#[cfg(unix)]
struct Signal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signal {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signal;

#[cfg(not(unix))]
impl Signal {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
