//! The HTTP API, for backends: operations at `POST /api`, questions below it.
//!
//! Whoever asks names a key ([`keys`]); what is asked is read strictly ([`crate::ops`], [`queries`]); every answer is JSON,
//! and every error `{"error":{"code","message","field"}}`.

pub(crate) mod keys;
mod queries;

use std::sync::Arc;

use axum::{
    Json as Answer, Router,
    body::{Body, to_bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value as Json, json};

use self::{
    keys::{Keys, Scope},
    queries::Question,
};
use crate::{
    health::Ending,
    ops::{Error, Operations, error::Code},
};

/// What the API allows.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) keys: Keys,
    /// The most bytes of a body.
    pub(crate) body_bytes: usize,
    /// The most operations of one request.
    pub(crate) operations: usize,
}

#[derive(Clone)]
struct Api {
    operations: Operations,
    ending: Ending,
    settings: Arc<Settings>,
}

/// Its paths.
pub(crate) fn router(operations: Operations, ending: Ending, settings: Settings) -> Router {
    let api = Api { operations, ending, settings: Arc::new(settings) };
    Router::new()
        .route("/api", post(operate).fallback(wrong_method))
        .route("/api/openapi.json", get(openapi).fallback(wrong_method))
        .route("/api/drain", post(drain).fallback(wrong_method))
        .route("/api/count", get(count).fallback(wrong_method))
        .route("/api/sockets", get(sockets).fallback(wrong_method))
        .route("/api/rooms", get(rooms).fallback(wrong_method))
        .route("/api/servers", get(servers).fallback(wrong_method))
        .route("/api/{*path}", axum::routing::any(nothing_there))
        .with_state(api)
}

/// One operation: its answer. Several in a list: 200, and a list of their answers, whatever becomes of each.
async fn operate(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    api.check(&headers, Scope::Publish)?;
    let body = to_bytes(body, api.settings.body_bytes).await.map_err(|_| {
        Error::new(Code::PayloadTooLarge, format!("must have at most {} bytes", api.settings.body_bytes))
    })?;
    let asked = serde_json::from_slice(&body)
        .map_err(|error| Error::new(Code::InvalidJson, format!("the body is no JSON: {error}")))?;
    let Json::Array(batch) = asked else {
        return api.operations.perform_json(asked).await.map(|answer| Answer(answer).into_response());
    };
    if batch.len() > api.settings.operations {
        let message = format!("must be at most {} operations", api.settings.operations);
        return Err(Error::new(Code::TooManyOperations, message));
    }
    let mut answers = Vec::with_capacity(batch.len());
    for (n, operation) in batch.into_iter().enumerate() {
        let answer = api.operations.perform_json(operation).await;
        answers.push(answer.unwrap_or_else(|error| json!({ "error": error.within(&format!("[{n}]")) })));
    }
    Ok(Answer(answers).into_response())
}

/// Ends the server as SIGTERM does.
async fn drain(State(api): State<Api>, headers: HeaderMap) -> Result<Answer<Json>, Error> {
    api.check(&headers, Scope::Admin)?;
    let answer =
        if api.ending.begin() { json!({ "ok": true }) } else { json!({ "ok": true, "duplicate": true }) };
    Ok(Answer(answer))
}

/// What all of this is, for programs. It is no secret.
async fn openapi(State(api): State<Api>) -> Answer<Json> {
    let mut document: Json =
        serde_json::from_str(include_str!("openapi.json")).expect("the document is JSON, which a test reads");
    document["components"]["schemas"]["Namespace"]["enum"] = api.operations.namespaces().into();
    Answer(document)
}

macro_rules! question {
    ($name:ident) => {
        async fn $name(
            State(api): State<Api>,
            headers: HeaderMap,
            RawQuery(query): RawQuery,
        ) -> Result<Answer<Json>, Error> {
            api.check(&headers, Scope::Query)?;
            let question = Question::read(query.as_deref().unwrap_or_default())?;
            queries::$name(&api.operations, &question).await.map(Answer)
        }
    };
}

question!(count);
question!(sockets);
question!(rooms);
question!(servers);

impl Api {
    fn check(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Error> {
        self.settings.keys.check(headers.get(AUTHORIZATION).map(|value| value.as_bytes()), scope)
    }
}

async fn wrong_method() -> Error {
    Error::new(Code::MethodNotAllowed, "this path is asked in another way")
}

async fn nothing_there() -> Error {
    Error::new(Code::NotFound, "there is nothing at this path")
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Answer(json!({ "error": self }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::Expiries;
    use axum::http::Request;
    use patio::{Namespace, Server};
    use tower_service::Service as _;

    fn api() -> Router {
        let io = Server::builder().namespace("/", Namespace::new()).build().unwrap();
        let operations = Operations::new(io, Expiries::default(), None);
        let keys = Keys::new(vec![keys::Key::of("key", [Scope::Publish, Scope::Query])]);
        router(operations, Ending::new(), Settings { keys, body_bytes: 1_000, operations: 3 })
    }

    async fn ask(method: &str, path: &str, key: Option<&str>, body: &str) -> (u16, Json) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let answer = api().call(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn statuses_and_codes() {
        let emit = r#"{"op":"emit","event":"e"}"#;
        for (method, path, key, body, status, code) in [
            ("POST", "/api", None, emit, 401, "unauthorized"),
            ("POST", "/api", Some("other"), emit, 401, "unauthorized"),
            ("POST", "/api", Some("key"), "{", 400, "invalid_json"),
            ("POST", "/api", Some("key"), "", 400, "invalid_json"),
            ("POST", "/api", Some("key"), "1", 422, "invalid_field"),
            ("POST", "/api", Some("key"), r#"{"op":"x"}"#, 422, "unknown_op"),
            (
                "POST",
                "/api",
                Some("key"),
                r#"{"op":"emit","event":"e","nsp":"/x"}"#,
                422,
                "unknown_namespace",
            ),
            ("POST", "/api", Some("key"), &format!("[{}1]", "1,".repeat(3)), 422, "too_many_operations"),
            ("POST", "/api", Some("key"), &" ".repeat(1_001), 413, "payload_too_large"),
            ("GET", "/api", Some("key"), "", 405, "method_not_allowed"),
            ("POST", "/api/count", Some("key"), "", 405, "method_not_allowed"),
            ("POST", "/api/drain", Some("key"), "", 403, "forbidden"),
            ("GET", "/api/x", Some("key"), "", 404, "not_found"),
            ("GET", "/api/count", None, "", 401, "unauthorized"),
            ("GET", "/api/count?rom=x", Some("key"), "", 422, "unknown_field"),
        ] {
            let (got, answer) = ask(method, path, key, body).await;
            assert_eq!(
                (got, answer["error"]["code"].as_str()),
                (status, Some(code)),
                "{method} {path} {body}: {answer}"
            );
        }
        assert_eq!(ask("POST", "/api", Some("key"), emit).await, (200, json!({ "ok": true })));
    }

    #[tokio::test]
    async fn a_batch_goes_on_past_what_is_wrong() {
        let batch =
            r#"[{"op":"emit","event":"e"},{"op":"emit","event":7},{"op":"join","to":[],"rooms":["a"]}]"#;
        let (status, answer) = ask("POST", "/api", Some("key"), batch).await;
        assert_eq!(status, 200);
        assert_eq!(answer[0], json!({ "ok": true }));
        assert_eq!(answer[1]["error"]["field"], "[1].event");
        assert_eq!(answer[2], json!({ "ok": true }));
    }

    #[tokio::test]
    async fn the_document_names_this_server() {
        let (status, document) = ask("GET", "/api/openapi.json", None, "").await;
        assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
        assert_eq!(document["components"]["schemas"]["Namespace"]["enum"], json!(["/"]));
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[tokio::test]
    async fn questions_are_answered() {
        for (path, expected) in [
            ("/api/count", json!({ "count": 0, "missing": 0 })),
            ("/api/sockets?room=a&limit=1", json!({ "sockets": [], "cursor": null, "missing": 0 })),
            ("/api/rooms?nsp=/", json!({ "rooms": [], "cursor": null, "missing": 0 })),
            ("/api/servers", json!({ "servers": 1 })),
        ] {
            assert_eq!(ask("GET", path, Some("key"), "").await, (200, expected), "{path}");
        }
    }
}
