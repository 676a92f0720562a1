//! `patio serve`: binds the listener, joins the page with the Socket.IO server, and runs both until a signal comes.
//! The address to open goes to standard output; the log goes to standard error.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use anyhow::{Context, anyhow};
use tokio::net::{TcpListener, lookup_host};
use tracing_subscriber::EnvFilter;

use crate::{chat, cli, page};

/// The status of a process that was asked twice to end, and has not taken the time to do it in order.
const ENDED_AT_ONCE: i32 = 130;

/// Serves until Ctrl-C or SIGTERM, then says goodbye to the clients. A second signal ends the process at once.
pub(crate) async fn serve(options: cli::Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let listener = bind(&options.listen).await?;
    let signalled = signals()?;
    let io = chat::server()?;
    let app = page::router().layer(io.layer());

    let address = listener.local_addr()?;
    println!("listening on {address}");
    println!("open {} in two tabs; Ctrl-C ends", url(address));

    let drain = async move { io.close().await };
    patio::serve(listener, app).with_graceful_shutdown(signalled).drain(drain).await?;
    Ok(())
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
