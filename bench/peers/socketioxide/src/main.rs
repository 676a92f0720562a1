//! The benchmark's application on socketioxide, as its documentation advises: on axum, with mimalloc and nodelay. Its
//! queue is raised from 128 packets so that it drops nothing.
//!
//! `bench-socketioxide [--listen 127.0.0.1:0] [--redis redis://127.0.0.1] [--until-eof]`

use std::{
    io::{Read, Write},
    net::SocketAddr,
    time::Instant,
};

use axum::{body::Bytes, serve::ListenerExt};
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{AckSender, Data, SocketRef},
};
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};
use tokio::net::TcpSocket;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let listen = args.iter().position(|arg| arg == "--listen").and_then(|at| args.get(at + 1));
    let address: SocketAddr = listen.map_or("127.0.0.1:0", String::as_str).parse()?;
    if args.iter().any(|arg| arg == "--until-eof") {
        std::thread::spawn(|| {
            std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink()).ok();
            std::process::exit(0);
        });
    }
    rlimit::increase_nofile_limit(u64::MAX)?;

    let redis = args.iter().position(|arg| arg == "--redis").and_then(|at| args.get(at + 1));
    let builder = SocketIo::builder().max_buffer_size(4096);
    let app = match redis {
        None => {
            let (layer, io) = builder.build_layer();
            io.ns("/", on_connect);
            axum::Router::new().layer(layer)
        }
        Some(url) => {
            let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
            let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
            let (layer, io) = builder.with_adapter::<RedisAdapter<_>>(adapter).build_layer();
            io.ns("/", on_connect).await?;
            axum::Router::new().layer(layer)
        }
    };

    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(4096)?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    std::io::stdout().flush()?;
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    axum::serve(listener, app).await?;
    Ok(())
}

async fn on_connect<A: Adapter>(socket: SocketRef<A>) {
    socket.join("r");
    socket.on("b", async |io: SocketIo<A>, Data(text): Data<String>| {
        io.to("r").emit("b", &text).await.ok();
    });
    socket.on("bin", async |io: SocketIo<A>, Data(bytes): Data<Bytes>| {
        io.to("r").emit("bin", &bytes).await.ok();
    });
    socket.on("to", async |io: SocketIo<A>, Data((room, text)): Data<(String, String)>| {
        // A socket's id is no room here: a single socket is looked up.
        match room.parse().ok().and_then(|id| io.get_socket(id)) {
            Some(socket) => drop(socket.emit("b", &text)),
            None => drop(io.to(room).emit("b", &text).await),
        }
    });
    socket.on("join", async |socket: SocketRef<A>, Data(room): Data<String>, ack: AckSender<A>| {
        socket.join(room);
        ack.send(&true).ok();
    });
    socket.on("leave", async |socket: SocketRef<A>, Data(room): Data<String>, ack: AckSender<A>| {
        socket.leave(room);
        ack.send(&true).ok();
    });
    socket.on("timed", async |io: SocketIo<A>, Data(text): Data<String>, ack: AckSender<A>| {
        let began = Instant::now();
        io.to("r").emit("b", &text).await.ok();
        ack.send(&(began.elapsed().as_nanos() as u64)).ok();
    });
    socket.on("ack", async |Data(value): Data<String>, ack: AckSender<A>| {
        ack.send(&value).ok();
    });
}
