//! What a server of the cluster can be told to do, by the public interface of the library.

use std::time::Duration;

use anyhow::Context;
use patio::{BroadcastOperator, PartialAnswers, Server, Value, extract::Args};
use patio_redis::Emitter;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::tagged::{tag, untag};

/// One line of what is told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    id: u64,
    op: String,
    nsp: String,
    /// The socket that broadcasts.
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    volatile: bool,
    compress: Option<bool>,
    /// In milliseconds.
    timeout: Option<u64>,
    #[serde(default)]
    local: bool,
    event: Option<String>,
    #[serde(default)]
    args: Vec<Json>,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    close: bool,
}

/// Has a server do it; the answer as a line.
pub(crate) async fn perform(io: &Server, line: &str) -> Json {
    answer(line, async |told| operate(io, told).await).await
}

/// Has an emitter do it; the answer as a line.
pub(crate) async fn emit(emitter: &Emitter, line: &str) -> Json {
    answer(line, async |told| emit_told(emitter, told).await).await
}

async fn answer(line: &str, operate: impl AsyncFnOnce(Told) -> anyhow::Result<Json>) -> Json {
    match serde_json::from_str::<Told>(line) {
        Ok(told) => {
            let id = told.id;
            match operate(told).await {
                Ok(result) => json!({ "id": id, "result": result }),
                Err(error) => json!({ "id": id, "error": format!("{error:#}") }),
            }
        }
        Err(error) => json!({ "error": error.to_string() }),
    }
}

async fn emit_told(emitter: &Emitter, told: Told) -> anyhow::Result<Json> {
    let mut chosen = emitter.of(&told.nsp).except(&told.except);
    if !told.to.is_empty() {
        chosen = chosen.to(&told.to);
    }
    if told.volatile {
        chosen = chosen.volatile();
    }
    if let Some(compress) = told.compress {
        chosen = chosen.compress(compress);
    }
    let args = Args(told.args.into_iter().map(untag).collect());
    match &*told.op {
        "emit" => chosen.emit(&told.event.unwrap_or_default(), &args).await?,
        "join" => chosen.sockets_join(told.rooms).await?,
        "leave" => chosen.sockets_leave(told.rooms).await?,
        "disconnect" => chosen.disconnect_sockets(told.close).await?,
        "tell" => chosen.server_side_emit("told", &args).await?,
        other => anyhow::bail!("an emitter has no operation {other}"),
    }
    Ok(Json::Null)
}

async fn operate(io: &Server, told: Told) -> anyhow::Result<Json> {
    let nsp = io.of(&told.nsp);
    let chosen = choose(io, &told)?;
    let event = told.event.unwrap_or_default();
    let args = Args(told.args.into_iter().map(untag).collect());
    let is_named = |snapshot: &str| serde_json::from_str::<serde_json::Map<String, Json>>(snapshot);
    match &*told.op {
        "emit" => chosen.emit(&event, &args)?,
        "ask" => {
            let (answers, missing) = match chosen.emit_with_ack::<Value>("question", &args).all().await {
                Ok(answers) => (answers, false),
                Err(PartialAnswers { answers, .. }) => (answers, true),
            };
            return Ok(json!({ "answers": tag(&Value::Array(answers)), "missing": missing }));
        }
        "join" => chosen.sockets_join(told.rooms)?,
        "leave" => chosen.sockets_leave(told.rooms)?,
        "disconnect" => chosen.disconnect_sockets(told.close)?,
        "close" => io.close().await,
        "fetch" => {
            let fetched = chosen.fetch_sockets().await?;
            anyhow::ensure!(fetched.missing == 0, "{} servers did not answer", fetched.missing);
            let sockets = fetched.sockets.into_iter().map(|socket| {
                let mut rooms: Vec<_> = socket.rooms.iter().map(|room| room.to_string()).collect();
                rooms.sort();
                let handshake = is_named(socket.handshake.text())?;
                let handshake: Vec<_> = handshake.into_iter().map(|(key, _)| key).collect();
                Ok(json!({ "id": socket.id, "rooms": rooms, "data": socket.data, "handshake": handshake }))
            });
            return sockets.collect();
        }
        "tell" => nsp.server_side_emit("told", &args)?,
        "consult" => {
            let told = nsp.server_side_emit_with_ack::<Value>(&event, &args).await?;
            let answers = told.answers.into_iter().collect::<Result<Vec<_>, _>>()?;
            return Ok(json!({ "answers": tag(&Value::Array(answers)), "missing": told.missing }));
        }
        "rooms" => {
            let all = nsp.all_rooms().await?;
            anyhow::ensure!(all.missing == 0, "{} servers did not answer", all.missing);
            let mut rooms: Vec<_> = all.rooms.iter().map(|room| room.to_string()).collect();
            rooms.sort();
            return Ok(json!(rooms));
        }
        "servers" => return Ok(json!(nsp.server_count().await?)),
        "garbage" => {
            return Ok(json!(nsp.adapter_stats().garbage));
        }
        "count" => return Ok(json!(chosen.count_sockets().await?.sockets)),
        other => anyhow::bail!("there is no operation {other}"),
    }
    Ok(Json::Null)
}

fn choose(io: &Server, told: &Told) -> anyhow::Result<BroadcastOperator> {
    let nsp = io.of(&told.nsp);
    let mut chosen = match &told.from {
        Some(id) => nsp.socket(id).context("no such socket here")?.broadcast(),
        None => nsp.operator(),
    };
    if !told.to.is_empty() {
        chosen = chosen.to(&told.to);
    }
    chosen = chosen.except(&told.except);
    if told.volatile {
        chosen = chosen.volatile();
    }
    if let Some(compress) = told.compress {
        chosen = chosen.compress(compress);
    }
    if let Some(timeout) = told.timeout {
        chosen = chosen.timeout(Duration::from_millis(timeout));
    }
    Ok(if told.local { chosen.local() } else { chosen })
}
