//! Namespaces: declared once, with typed events, a middleware that turns clients away, and one for each project.
//!
//! ```text
//! cargo run -p examples --bin namespaces
//! ```
//!
//! In a folder where you ran `npm install socket.io-client`:
//!
//! ```text
//! $ node
//! > const { io } = require("socket.io-client"), url = "http://127.0.0.1:3000"
//! > io(url + "/admin").on("connect_error", (error) => console.log(error.message, error.data))
//! > const admin = io(url + "/admin", { auth: { name: "ada", password: "lovelace" } })
//! > const ada = io(url + "/project-7"), bob = io(url + "/project-7"), eve = io(url + "/project-8")
//! > for (const [name, socket] of Object.entries({ bob, eve })) socket.on("moved", (card) => console.log(name, card))
//! > ada.emit("move", { card: 3, to: "done" }, console.log)
//! > ada.emit("move", { card: "three" }, console.log)
//! > admin.emit("projects", console.log)
//! ```
//!
//! The first client is refused with `not authorized { hint: 'the password is lovelace' }`. Bob sees Ada's card, Eve,
//! who is in another project, does not. The second `move` is not of the event's type: no handler runs, nobody is
//! answered, and the server prints why.

use patio::{
    EmitError, Namespace, Refusal, Reply, Server, Socket,
    extract::{Auth, Data, Extension},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let admin = Namespace::new().middleware(authenticate).on("projects", projects);
    let project = Namespace::new().on("move", move_card);
    let io = Server::builder()
        .namespace("/admin", admin)
        // Dynamic namespaces that nobody is in any more are removed.
        .cleanup_empty_child_namespaces(true)
        .on_handler_error(|failed| eprintln!("{:?} of {:?}: {}", failed.event, failed.socket, failed.error))
        .build()?;
    io.of_dynamic("/project-{id}", project);
    io.on_new_namespace(|namespace| println!("{namespace:?}"));

    let listener = patio::listen("127.0.0.1:3000".parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    patio::serve(listener, io).await?;
    Ok(())
}

/// What the client gives as `auth`.
#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// Somebody who has passed the middleware.
#[derive(Clone)]
struct Admin {
    name: String,
}

/// The client of a refused socket gets `connect_error` with the message and the data.
async fn authenticate(socket: Socket, login: Option<Auth<Login>>) -> Result<(), Refusal> {
    match login {
        Some(Auth(login)) if login.password == "lovelace" => {
            socket.extensions().insert(Admin { name: login.name });
            Ok(())
        }
        _ => Err(Refusal::new("not authorized").with_data(json!({ "hint": "the password is lovelace" }))),
    }
}

/// A namespace without members is gone, so these are the projects that somebody looks at.
async fn projects(io: Server, Extension(admin): Extension<Admin>) -> Reply<Vec<String>> {
    println!("{} lists the projects", admin.name);
    Reply(io.namespaces().into_iter().filter(|name| name.starts_with("/project-")).collect())
}

/// The one argument of `move`.
#[derive(Deserialize)]
struct Move {
    card: u32,
    to: Column,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Column {
    Todo,
    Doing,
    Done,
}

/// The one argument of `moved`.
#[derive(Serialize)]
struct Moved {
    card: u32,
    to: Column,
}

/// One handler for all projects: a socket's operators stay within its own namespace.
async fn move_card(socket: Socket, Data(Move { card, to }): Data<Move>) -> Result<Reply<bool>, EmitError> {
    socket.broadcast().emit("moved", &Moved { card, to })?;
    Ok(Reply(true))
}
