//! What stands before a server that does not listen on plain TCP, as a proxy does: connections to it go on by TLS or over
//! a Unix socket. So the load generator need not speak either, and what a server pays for such streams can be measured.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::{Args, Parser};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes},
    net::{TcpListener, TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

/// Hands connections on to a server.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    to: To,
    /// The server's certificate.
    #[arg(long, requires = "tls")]
    certificate: Option<PathBuf>,
    /// End when standard input ends: then the one who started it cannot leave it behind.
    #[arg(long)]
    until_eof: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    /// A server that speaks TLS.
    #[arg(long, requires = "certificate")]
    tls: Option<SocketAddr>,
    /// A server's Unix socket.
    #[arg(long)]
    unix: Option<PathBuf>,
}

/// More than the generator sends at a time, and little for thousands of connections.
const BUFFER: usize = 4096;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    bench::process::raise_file_limit();
    if cli.until_eof {
        bench::process::exit_at_end_of_input();
    }
    let tls = cli.certificate.map(connector).transpose()?;
    let listener = TcpListener::from_std(bench::process::listen(([127, 0, 0, 1], 0).into())?)?;
    bench::process::announce(listener.local_addr()?)?;
    let to = Arc::new(cli.to);
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let (to, tls) = (Arc::clone(&to), tls.clone());
        tokio::spawn(async move {
            if let Err(error) = relay(client, &to, tls).await {
                eprintln!("relay: {error:#}");
            }
        });
    }
}

fn connector(certificate: PathBuf) -> anyhow::Result<TlsConnector> {
    let certificate = fs::read(&certificate).with_context(|| certificate.display().to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.into())?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn relay(client: TcpStream, to: &To, tls: Option<TlsConnector>) -> anyhow::Result<()> {
    if let Some(path) = &to.unix {
        return join(client, UnixStream::connect(path).await?).await;
    }
    let (address, tls) = to.tls.zip(tls).context("nowhere to go")?;
    let server = TcpStream::connect(address).await?;
    server.set_nodelay(true)?;
    join(client, tls.connect(ServerName::try_from("localhost")?, server).await?).await
}

/// Until either side ends: a generator that leaves ends its connections without a word.
async fn join(mut client: TcpStream, mut server: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await.ok();
    Ok(())
}
