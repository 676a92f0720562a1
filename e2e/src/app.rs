//! The handlers: one function for each event, declared once and used by every namespace.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use patio::{
    AckError, BroadcastOperator, DisconnectReason, EmitError, Namespace, NamespaceHandle, Refusal, Reply,
    Room, Socket, Value,
    extract::{Ack, Args, Auth, Data, Event, State},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::spread::spread;

/// What a handler of more than one kind of call returns; the client who asked for an ack is told of the error.
type Fallible<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How sockets ended, by their ids.
#[derive(Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<HashMap<Room, Vec<End>>>>);

/// Whether what becomes of sockets is printed.
#[derive(Clone)]
pub(crate) struct Log(pub(crate) bool);

impl Log {
    /// Prints one line; the socket's tag stands before `what`.
    fn line(&self, socket: &Socket, what: impl Serialize) {
        let query = socket.handshake().query();
        let tag = query.get("e2e").unwrap_or_default();
        if self.0
            && let Ok(serde_json::Value::Array(mut line)) = serde_json::to_value(what)
        {
            line.insert(0, tag.into());
            println!("{}", serde_json::Value::from(line));
        }
    }
}

#[derive(Clone, Serialize)]
struct End {
    reason: String,
    rooms: Vec<Room>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<usize>,
}

/// All handlers.
pub(crate) fn namespace() -> Namespace {
    Namespace::new()
        .on_connect(connected)
        .on_disconnecting(disconnecting)
        .on_disconnect(disconnected)
        .on("echo", echo)
        .on("écho \"two\"\n", echo)
        .on("echo \"two\"\n", echo)
        .on("echo_ack", echo_ack)
        .on("call_me", call_me)
        .on("call_impatient", call_impatient)
        .on("join", join)
        .on("leave", leave)
        .on("room_send", room_send)
        .on("room_except", room_except)
        .on("socket_send", socket_send)
        .on("broadcast_send", broadcast_send)
        .on("room_ask", room_ask)
        .on("sockets_in", sockets_in)
        .on("whoami", whoami)
        .on("burst", burst)
        .on("big", big)
        .on("disconnect_me", async |socket: Socket, Data(close): Data<bool>| socket.disconnect(close))
        .on("kill_transport", async |socket: Socket| socket.conn().close())
        .on("reasons", reasons)
}

/// The middleware of `/admin`. Old clients have no `auth`: their token comes in the query.
pub(crate) async fn authenticate(
    socket: Socket,
    Auth(auth): Auth<BTreeMap<String, Value>>,
) -> Result<(), Refusal> {
    let query = socket.handshake().query();
    let token = auth.get("token").and_then(Value::as_str).or(query.get("token"));
    match token {
        Some("secret") => Ok(()),
        _ => Err(Refusal::new("not authorized").with_data(json!({ "code": 7 }))),
    }
}

async fn connected(socket: Socket, State(log): State<Log>) -> Fallible {
    log.line(&socket, ("connect", socket.namespace()));
    if !socket.recovered() {
        socket.set_data("first", socket.conn().transport().as_str())?;
    }
    Ok(())
}

async fn disconnecting(socket: Socket, reason: DisconnectReason, State(ends): State<Ends>) {
    let mut rooms = rooms(&socket);
    rooms.retain(|room| room != socket.id());
    let end = End { reason: reason.to_string(), rooms, left: None };
    ends.0.lock().entry(socket.id().clone()).or_default().push(end);
}

async fn disconnected(
    socket: Socket,
    reason: DisconnectReason,
    State(ends): State<Ends>,
    State(log): State<Log>,
) {
    let left = socket.rooms().len();
    if let Some(end) = ends.0.lock().get_mut(socket.id()).and_then(|ends| ends.last_mut()) {
        end.left = Some(left);
    }
    log.line(&socket, ("end", socket.namespace(), reason.as_str(), left));
}

async fn reasons(State(ends): State<Ends>, Data(Word(id)): Data<Word>) -> Reply<Vec<End>> {
    let ends = ends.0.lock();
    let ended = ends.get(id.as_str()).into_iter().flatten().filter(|end| end.left.is_some());
    Reply(ended.cloned().collect())
}

async fn echo(socket: Socket, Event(name): Event, Args(args): Args) -> Result<(), EmitError> {
    spread!(args, |args| socket.emit(&name, args))
}

async fn echo_ack(ack: Ack, Args(args): Args) -> Fallible {
    spread!(args, |args| ack.send(args))?;
    Ok(())
}

async fn call_me(socket: Socket, Args(mut args): Args) -> Fallible {
    let question = take_string(&mut args)?;
    let answer: Answer = spread!(args, |args| socket.emit_with_ack(&question, args)).await?;
    let mut called = vec![Value::from(question)];
    called.extend(<[Value; 4]>::from(answer).into_iter().filter(|value| *value != Value::Undefined));
    spread!(called, |called| socket.emit("called", called))?;
    Ok(())
}

/// Any number of arguments up to four: the ones that are missing are undefined.
type Answer = (Value, Value, Value, Value);

async fn call_impatient(
    socket: Socket,
    Data((Word(question), ms)): Data<(Word, u64)>,
) -> Result<Reply<&'static str>, AckError> {
    match socket.emit_with_ack::<()>(&question, &()).timeout(Duration::from_millis(ms)).await {
        Ok(()) => Ok(Reply("answered")),
        Err(AckError::Timeout) => Ok(Reply("timeout")),
        Err(error) => Err(error),
    }
}

async fn join(socket: Socket, Data(Word(room)): Data<Word>) -> Reply<Vec<Room>> {
    socket.join(room);
    Reply(rooms(&socket))
}

async fn leave(socket: Socket, Data(Word(room)): Data<Word>) -> Reply<Vec<Room>> {
    socket.leave(room);
    Reply(rooms(&socket))
}

async fn room_send(socket: Socket, Args(mut args): Args) -> Fallible {
    let to = namespace_of(&socket).to(take_rooms(&mut args)?);
    send_room(to, args)
}

async fn room_except(socket: Socket, Args(mut args): Args) -> Fallible {
    let to = namespace_of(&socket).to(take_string(&mut args)?);
    let to = to.except(take_string(&mut args)?);
    send_room(to, args)
}

async fn socket_send(socket: Socket, Args(mut args): Args) -> Fallible {
    let to = socket.to(take_string(&mut args)?);
    send_room(to, args)
}

async fn broadcast_send(socket: Socket, Args(args): Args) -> Fallible {
    send_room(socket.broadcast(), args)
}

fn send_room(to: BroadcastOperator, args: Vec<Value>) -> Fallible {
    Ok(spread!(args, |args| to.emit("room", args))?)
}

async fn room_ask(socket: Socket, Args(mut args): Args) -> Fallible<Reply<Vec<String>>> {
    let to = namespace_of(&socket).to(take_string(&mut args)?).timeout(Duration::from_secs(10));
    let answers: Vec<Word> = spread!(args, |args| to.emit_with_ack("question", args)).all().await?;
    let mut answers: Vec<String> = answers.into_iter().map(|Word(answer)| answer).collect();
    answers.sort();
    Ok(Reply(answers))
}

async fn sockets_in(socket: Socket, Data(Word(room)): Data<Word>) -> Fallible<Reply<Vec<Room>>> {
    let fetched = namespace_of(&socket).in_room(room).fetch_sockets().await?;
    let mut ids: Vec<Room> = fetched.sockets.into_iter().map(|socket| socket.id).collect();
    ids.sort();
    Ok(Reply(ids))
}

async fn whoami(socket: Socket) -> Fallible<Reply<serde_json::Value>> {
    let handshake = socket.handshake();
    let query = handshake.query();
    let mut seen = json!({
        "secure": handshake.secure(),
        "url": handshake.url(),
        "address": handshake.address().map(|address| address.ip()),
        "xdomain": handshake.xdomain(),
        "auth": socket.auth::<serde_json::Value>()?,
        "query": {},
        "headers": {},
    });
    for name in ["e2e", "EIO", "transport"] {
        if let Some(value) = query.get(name) {
            seen["query"][name] = value.into();
        }
    }
    if let Some(value) = handshake.headers().get("x-e2e") {
        seen["headers"]["x-e2e"] = value.into();
    }
    Ok(Reply(json!({
        "id": socket.id(),
        "nsp": socket.namespace(),
        "transport": socket.conn().transport().as_str(),
        "protocol": socket.conn().protocol().number(),
        "recovered": socket.recovered(),
        "rooms": rooms(&socket),
        "data": socket.data(),
        "handshake": seen,
    })))
}

async fn burst(socket: Socket, Data(n): Data<u32>) -> Result<(), EmitError> {
    for i in 0..n {
        if i % 10 == 0 {
            socket.emit("burst", &(i, Bytes::copy_from_slice(&i.to_be_bytes())))?;
        } else {
            socket.emit("burst", &i)?;
        }
    }
    Ok(())
}

async fn big(socket: Socket, Data((n, Word(kind))): Data<(u32, Word)>) -> Result<(), EmitError> {
    let pattern = |from: u8, period: u8| (0..period).cycle().map(move |i| from + i).take(n as usize);
    match kind.as_str() {
        "text" => socket.emit("big", &pattern(b'a', 26).map(char::from).collect::<String>()),
        _ => socket.emit("big", &pattern(0, 251).collect::<Bytes>()),
    }
}

fn namespace_of(socket: &Socket) -> NamespaceHandle {
    socket.server().of(socket.namespace())
}

fn rooms(socket: &Socket) -> Vec<Room> {
    let mut rooms = socket.rooms();
    rooms.sort();
    rooms
}

/// A string, and not bytes that could be one.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct Word(String);

impl TryFrom<Value> for Word {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        value.as_str().map(|text| Self(text.to_owned())).ok_or("a string is expected")
    }
}

/// Takes the first argument, a string.
fn take_string(args: &mut Vec<Value>) -> Fallible<String> {
    match args.first() {
        Some(Value::String(string)) => {
            let string = string.clone();
            args.remove(0);
            Ok(string)
        }
        other => Err(format!("a string is expected, not {other:?}").into()),
    }
}

/// Takes the first argument, a string or an array of strings.
fn take_rooms(args: &mut Vec<Value>) -> Fallible<Vec<String>> {
    match args.first() {
        Some(Value::Array(rooms)) => {
            let rooms = rooms.iter().map(|room| room.as_str().map(str::to_owned)).collect::<Option<_>>();
            args.remove(0);
            rooms.ok_or_else(|| "all rooms are strings".into())
        }
        _ => Ok(vec![take_string(args)?]),
    }
}
