//! Answers in both directions: a client asks the server, the server asks one client, the server asks a room.
//!
//! ```text
//! cargo run -p examples --bin acks
//! ```
//!
//! In a folder where you ran `npm install socket.io-client`:
//!
//! ```text
//! $ node
//! > const { io } = require("socket.io-client"), url = "http://127.0.0.1:3000"
//! > const ada = io(url), bob = io(url), eve = io(url)
//! > ada.on("how old are you", (answer) => answer(36))
//! > ada.on("vote", (question, answer) => answer("yes"))
//! > bob.on("vote", (question, answer) => answer("no"))
//! > ada.emit("add", 2, 3, console.log)
//! > ada.emit("later", console.log)
//! > ada.emit("ask me", console.log)
//! > bob.emit("ask me", console.log)
//! > ada.emit("vote", "Pizza?", console.log)
//! ```
//!
//! `add` answers 5 at once, `later` after a second. `ask me` makes the server ask back: Ada is 36, Bob does not
//! answer, and after two seconds the server says so. The vote ends after two seconds too, because Eve does not take
//! part: `{ yes: 1, no: 1, missing: 1 }`.

use std::time::Duration;

use futures_util::StreamExt;
use patio::{
    AckError, BroadcastAck, Reply, Server, Socket,
    extract::{Ack, Data},
};
use serde::Serialize;

/// How long clients have for an answer. Without `timeout` it is 5 s.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let io = Server::new();
    io.on("add", add).on("later", later).on("ask me", ask).on("vote", vote);

    let listener = patio::listen("127.0.0.1:3000".parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    patio::serve(listener, io).await?;
    Ok(())
}

/// What a handler returns is the answer.
async fn add(Data((a, b)): Data<(i64, i64)>) -> Reply<Option<i64>> {
    Reply(a.checked_add(b))
}

/// With an `Ack` the handler returns at once, and any task answers when it can.
async fn later(ack: Ack) {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ack.send("here it is")
    });
}

/// A question to one client. It ends with the answer, at its time limit, or with the client.
async fn ask(socket: Socket) -> Result<Reply<String>, AckError> {
    match socket.emit_with_ack::<u32>("how old are you", &()).timeout(PATIENCE).await {
        Ok(age) => Ok(Reply(format!("you are {age}"))),
        Err(AckError::Timeout) => Ok(Reply("you do not say".to_owned())),
        Err(error) => Err(error),
    }
}

#[derive(Default, Serialize)]
struct Tally {
    yes: usize,
    no: usize,
    missing: usize,
}

/// A question to everyone. The answers are a stream that ends with the last one, or at the time limit; then it says
/// who is missing. `.all().await` collects them instead.
async fn vote(io: Server, Data(question): Data<String>) -> Reply<Tally> {
    let mut result = Tally::default();
    let mut answers = io.timeout(PATIENCE).emit_with_ack::<String>("vote", &question);
    while let Some(answer) = answers.next().await {
        match answer {
            BroadcastAck::Answer { value, .. } if value == "yes" => result.yes += 1,
            BroadcastAck::Answer { .. } => result.no += 1,
            BroadcastAck::Missing(missing) => result.missing = missing.sockets.len() + missing.others,
            _ => {}
        }
    }
    Reply(result)
}
