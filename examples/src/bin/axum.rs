//! A Socket.IO server inside an axum application: one port, one state, one login.
//!
//! ```text
//! cargo run -p examples --bin axum
//! ```
//!
//! In a folder where you ran `npm install socket.io-client`:
//!
//! ```text
//! $ node
//! > const { io } = require("socket.io-client")
//! > const socket = io("http://127.0.0.1:3000", { extraHeaders: { authorization: "Bearer ada" } })
//! > socket.onAny((...event) => console.log(event))
//! ```
//!
//! The client sees `[ 'welcome', 'ada' ]`: a layer of axum's read the header, and a handler of Patio's got what it
//! found. Then let the HTTP side speak to all clients, and count them:
//!
//! ```text
//! curl -d 'dinner is ready' http://127.0.0.1:3000/announce
//! curl http://127.0.0.1:3000/
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::Response,
    routing::{get, post},
};
use patio::{
    Server, Socket,
    extract::{self, Data, Extension},
};
use tokio::net::TcpListener;

/// What both halves of the application share.
#[derive(Clone, Default)]
struct Stats {
    messages: Arc<AtomicU64>,
}

/// Who makes a request, as the layer below found out.
#[derive(Clone)]
struct User(String);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stats = Stats::default();
    let io = Server::builder().state(stats.clone()).build()?;
    io.on_connect(welcome).on("message", message);

    let app = Router::new()
        .route("/", get(count))
        .route("/announce", post(announce))
        .with_state((io.clone(), stats))
        // Requests to /socket.io/ go to Patio, all others to the routes above.
        .layer(io.layer())
        // A layer that is added later runs earlier: it sees Socket.IO's requests too.
        .layer(from_fn(identify));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Puts a [`User`] into the request's extensions. A real one would verify the token.
async fn identify(mut request: Request, next: Next) -> Response {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if let Some(name) = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned) {
        request.extensions_mut().insert(User(name));
    }
    next.run(request).await
}

/// Patio keeps of a request's extensions what some handler extracts: here, `User`.
async fn welcome(socket: Socket, user: Option<Extension<User>>) -> Result<(), patio::EmitError> {
    let name = user.map_or_else(|| "stranger".to_owned(), |Extension(User(name))| name);
    socket.emit("welcome", &name)
}

/// Patio's `State` and axum's are looked up apart, each by its own extractor.
async fn message(
    socket: Socket,
    extract::State(stats): extract::State<Stats>,
    Data(text): Data<String>,
) -> Result<(), patio::EmitError> {
    stats.messages.fetch_add(1, Ordering::Relaxed);
    socket.broadcast().emit("message", &text)
}

async fn count(State((io, stats)): State<(Server, Stats)>) -> String {
    let (clients, messages) = (io.engine().clients_count(), stats.messages.load(Ordering::Relaxed));
    format!("{clients} clients, {messages} messages\n")
}

/// From any task, also one that has nothing to do with a socket.
async fn announce(State((io, _)): State<(Server, Stats)>, text: String) -> Result<(), String> {
    io.emit("announcement", &text).map_err(|error| error.to_string())
}
