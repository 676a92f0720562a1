//! The benchmark's application on Patio: what README shows, on axum, with all defaults; and the allocator of its peer.

use std::{net::SocketAddr, time::Instant};

use axum::{Router, body::Bytes, serve::ListenerExt};
use clap::Parser;
use patio::{EmitError, Reply, Server, Socket, extract::Data};
use tokio::net::TcpListener;

/// A Socket.IO server that speaks the benchmark's application protocol.
#[derive(Parser)]
struct Cli {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
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

    let io = Server::new();
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

    let listener = TcpListener::from_std(bench::process::listen(cli.listen)?)?;
    bench::process::announce(listener.local_addr()?)?;
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    axum::serve(listener, app).await?;
    Ok(())
}
