//! A chat with names and rooms: a whole server on `patio::serve`.
//!
//! ```text
//! cargo run -p examples --bin chat
//! ```
//!
//! Then, twice, in a folder where you ran `npm install socket.io-client`:
//!
//! ```text
//! $ node
//! > const socket = require("socket.io-client").io("http://127.0.0.1:3000")
//! > socket.onAny((...event) => console.log(event))
//! > socket.emit("enter", "lobby", "Ada", console.log)
//! > socket.emit("say", "hello")
//! ```
//!
//! `enter` answers with the names in the room. Whoever is there sees `[ 'entered', 'Ada' ]`, then
//! `[ 'said', 'Ada', 'hello' ]`, and `[ 'left', 'Ada' ]` when she closes her terminal.

use std::error::Error;

use patio::{Namespace, Reply, Server, Socket, extract::Data};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let chat = Namespace::new().on("enter", enter).on("say", say).on_disconnect(leave);
    let io = Server::builder().namespace("/", chat).build()?;

    let listener = patio::listen("127.0.0.1:3000".parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    patio::serve(listener, io.clone())
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .drain(async move { io.close().await })
        .await?;
    Ok(())
}

/// Where somebody sits. Kept with the socket, on this server.
#[derive(Clone)]
struct Seat {
    room: String,
    name: String,
}

/// The answer is what the client's callback gets.
async fn enter(
    socket: Socket,
    Data((room, name)): Data<(String, String)>,
) -> Result<Reply<Vec<String>>, Box<dyn Error + Send + Sync>> {
    leave(socket.clone()).await?;
    socket.join(&room);
    // `data`, unlike extensions, is seen by the other servers of a cluster.
    socket.set_data("name", &name)?;
    socket.extensions().insert(Seat { room: room.clone(), name: name.clone() });
    socket.to(&room).emit("entered", &name)?;

    let here = socket.server().in_room(&room).fetch_sockets().await?;
    let names = here.sockets.iter().filter_map(|socket| socket.data["name"].as_str());
    Ok(Reply(names.map(str::to_owned).collect()))
}

/// To everyone in the room, the sender too. A tuple is several arguments.
async fn say(socket: Socket, Data(text): Data<String>) -> Result<(), patio::EmitError> {
    match socket.extensions().get::<Seat>() {
        Some(seat) => socket.server().to(&seat.room).emit("said", &(seat.name, text)),
        None => socket.emit("error_message", "enter a room first"),
    }
}

async fn leave(socket: Socket) -> Result<(), patio::EmitError> {
    let Some(Seat { room, name }) = socket.extensions().remove() else { return Ok(()) };
    socket.leave(&room);
    socket.to(&room).emit("left", &name)
}
