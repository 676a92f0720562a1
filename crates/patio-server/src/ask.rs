//! What the command line asks of a running server, by its API: `patio emit`, `sockets`, `rooms`, `drain`.

use anyhow::{Context, bail};
use serde_json::Value as Json;

use crate::config::Config;

/// What is asked, and where.
#[derive(Debug)]
pub(crate) struct Question {
    /// Where the server is. None: where the configuration says that it listens.
    pub(crate) url: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) call: Call,
}

#[derive(Debug)]
pub(crate) enum Call {
    /// An operation.
    Post(Json),
    /// A path below `/api`, with its query.
    Get(String),
    Drain,
}

/// Asks, and prints the answer. Errors: there is no server, or it refuses; what it says is printed.
pub(crate) async fn ask(config: &Config, Question { url, key, call }: Question) -> anyhow::Result<()> {
    let url = url
        .unwrap_or_else(|| format!("http://{}", config.internal_listen.as_ref().unwrap_or(&config.listen)));
    let base = url.trim_end_matches('/');
    let key = key.context("which key? Name one with --api-key or in PATIO_API_KEY")?;
    crate::hooks::install_tls();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = match call {
        Call::Post(operation) => client
            .post(format!("{base}/api"))
            .header("content-type", "application/json")
            .body(operation.to_string()),
        Call::Get(path) => client.get(format!("{base}/api/{path}")),
        Call::Drain => client.post(format!("{base}/api/drain")),
    };
    let answer = request.bearer_auth(key).send().await.map_err(|error| error.without_url());
    let answer = answer.with_context(|| format!("no server answers at {base}"))?;
    let status = answer.status();
    let text = answer.text().await?;
    match serde_json::from_str::<Json>(&text) {
        Ok(json) if status.is_success() => println!("{json:#}"),
        Ok(json) => {
            let error = &json["error"];
            let field = error["field"].as_str().map(|field| format!("{field}: ")).unwrap_or_default();
            bail!(
                "{field}{} ({status}, {})",
                error["message"].as_str().unwrap_or_default(),
                error["code"].as_str().unwrap_or("no code")
            );
        }
        Err(_) => bail!("what answers at {base} is no Patio: {status}"),
    }
    Ok(())
}
