//! The benchmark's application on Patio: what README shows, on axum, with all defaults and the system's allocator.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    serve::{Listener, ListenerExt},
};
use clap::Parser;
use patio::{EmitError, Reply, Server, Socket, extract::Data};
use patio_redis::PubSub;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
    server::TlsStream,
};

/// A Socket.IO server that speaks the benchmark's application protocol.
#[derive(Parser)]
struct Cli {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Speak TLS, and leave the certificate in this file.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Listen on this Unix socket instead.
    #[arg(long, conflicts_with = "tls")]
    unix: Option<PathBuf>,
    /// Be one of the servers on this Redis.
    #[arg(long)]
    redis: Option<String>,
    /// End when standard input ends: then the one who started it cannot leave it behind.
    #[arg(long)]
    until_eof: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    bench::process::raise_file_limit();
    if cli.until_eof {
        bench::process::exit_at_end_of_input();
    }

    let io = match &cli.redis {
        None => Server::new(),
        Some(url) => Server::builder().adapter(PubSub::connect(url).await?).build()?,
    };
    io.on_connect(async |socket: Socket| socket.join("r"));
    io.on("b", async |socket: Socket, Data(text): Data<String>| socket.server().to("r").emit("b", &text));
    io.on("bin", async |socket: Socket, Data(bytes): Data<Bytes>| {
        socket.server().to("r").emit("bin", &bytes)
    });
    io.on("to", async |socket: Socket, Data((room, text)): Data<(String, String)>| {
        socket.server().to(room).emit("b", &text)
    });
    io.on("ack", async |Data(value): Data<String>| Reply(value));
    io.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
        Reply(true)
    });
    io.on("leave", async |socket: Socket, Data(room): Data<String>| {
        socket.leave(room);
        Reply(true)
    });
    io.on("timed", async |socket: Socket, Data(text): Data<String>| {
        let began = Instant::now();
        socket.server().to("r").emit("b", &text)?;
        Ok::<_, EmitError>(Reply(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)))
    });
    let app = Router::new().layer(io.layer());
    io.ready().await?;

    if let Some(path) = cli.unix {
        let listener = UnixListener::bind(&path)?;
        bench::process::announce(path.display())?;
        return Ok(axum::serve(listener, app).await?);
    }
    let listener = TcpListener::from_std(bench::process::listen(cli.listen)?)?;
    bench::process::announce(listener.local_addr()?)?;
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    match cli.tls {
        None => axum::serve(listener, app).await?,
        Some(file) => axum::serve(Tls { listener, acceptor: acceptor(file)? }, app).await?,
    }
    Ok(())
}

/// A listener whose connections have shaken hands. One after the other: nobody here holds others up.
struct Tls<L> {
    listener: L,
    acceptor: TlsAcceptor,
}

impl<L: Listener<Io = TcpStream>> Listener for Tls<L> {
    type Io = TlsStream<TcpStream>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await;
            match self.acceptor.accept(stream).await {
                Ok(stream) => return (stream, address),
                Err(error) => eprintln!("TLS: {error}"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// With a certificate of its own, which is written to `file`.
fn acceptor(file: PathBuf) -> anyhow::Result<TlsAcceptor> {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(file, own.cert.der())?;
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
