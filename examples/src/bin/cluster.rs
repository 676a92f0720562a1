//! A cluster: two Patio servers, one Node.js server and an emitter on one Redis.
//!
//! ```sh
//! cargo run -p examples --bin cluster
//! ```
//!
//! Open <http://127.0.0.1:3001>, <http://127.0.0.1:3002> (Patio) and <http://127.0.0.1:3003> (Node.js), each in a tab: what
//! is written in one comes to all, every ten seconds the emitter says the time, and each server counts the clients of all.
//!
//! It needs `redis-server`, Node.js and npm; the packages of the Node.js server are installed the first time. Here the Patio
//! servers are in one process, to be started by one command; yours will be in one each.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, response::Html, routing::get};
use patio::{Reply, Server, Socket, extract::Data};
use patio_redis::{Emitter, PubSub};
use tokio::{
    net::TcpListener,
    process::{Child, Command as Process},
    time::{interval, sleep},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Not the usual one, where your own Redis may be.
const REDIS: u16 = 6390;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cluster");
    if !folder.join("node_modules").exists()
        && !Command::new("npm").arg("ci").current_dir(&folder).status()?.success()
    {
        return Err("npm ci failed".into());
    }
    let url = format!("redis://127.0.0.1:{REDIS}");
    let _redis =
        start("redis-server", &["--port", &REDIS.to_string(), "--bind", "127.0.0.1", "--save", ""], &folder)?;
    while tokio::net::TcpStream::connect(("127.0.0.1", REDIS)).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
    let _node = start("node", &["server.mjs", "3003", &url], &folder)?;
    tokio::try_join!(
        serve("Patio 1", 3001, &url, &folder),
        serve("Patio 2", 3002, &url, &folder),
        tell_time(&url)
    )?;
    Ok(())
}

/// One Patio server of the cluster.
async fn serve(name: &'static str, port: u16, url: &str, folder: &Path) -> Result<(), Error> {
    let io = Server::builder()
        .adapter(PubSub::connect(url).await?)
        .on_adapter_error(move |error| eprintln!("{name} is alone: {error}"))
        .on_adapter_reconnected(move || eprintln!("{name} is with the others again"))
        .serve_client(folder.join("node_modules/socket.io/client-dist"))
        .build()?;
    io.on_connect(async move |socket: Socket| {
        socket.join("lobby");
        socket.emit("here", name)
    });
    io.on("message", async move |io: Server, Data(text): Data<String>| {
        io.to("lobby").emit("message", &format!("{text} (by {name})"))
    });
    io.on("count", async |io: Server| Reply(io.count_sockets().await.map_or(0, |counted| counted.sockets)));

    let page = tokio::fs::read_to_string(folder.join("page.html")).await?;
    let app = Router::new().route("/", get(move || async { Html(page) })).layer(io.layer());
    // Clients come when the other servers reach this one.
    io.ready().await?;
    println!("{name}: http://127.0.0.1:{port}");
    axum::serve(TcpListener::bind(("127.0.0.1", port)).await?, app).await?;
    Ok(())
}

/// What is no server at all.
async fn tell_time(url: &str) -> Result<(), Error> {
    let emitter = Emitter::new(url)?;
    let mut ticks = interval(Duration::from_secs(10));
    loop {
        ticks.tick().await;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 86_400;
        let time = format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if let Err(error) =
            emitter.to("lobby").emit("message", &format!("It is {time} (by an emitter)")).await
        {
            eprintln!("the emitter: {error}");
        }
    }
}

/// A process that ends with this one.
fn start(program: &str, arguments: &[&str], folder: &Path) -> Result<Child, Error> {
    let started = Process::new(program).args(arguments).current_dir(folder).kill_on_drop(true).spawn();
    started.map_err(|error| format!("{program}: {error}").into())
}
