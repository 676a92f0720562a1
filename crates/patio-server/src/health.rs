//! What orchestrators ask: whether the process lives, and whether clients should be sent to it.

use axum::{Json as Answer, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use futures_util::FutureExt;
use patio::Server;
use serde_json::json;
use tokio::sync::watch;

/// The end of the server: whoever wants it, and who wants to know. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Ending(watch::Sender<bool>);

impl Ending {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// From now on nobody should be sent here. False: that was so already.
    pub(crate) fn begin(&self) -> bool {
        !self.0.send_replace(true)
    }

    /// Waits for it.
    pub(crate) async fn begun(&self) {
        // Never closed: there is a sender.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }

    fn has_begun(&self) -> bool {
        *self.0.borrow()
    }
}

/// `/health/live` and `/health/ready`.
pub(crate) fn router(io: Server, ending: Ending) -> Router {
    Router::new()
        .route("/health/live", get(async || Answer(json!({ "live": true }))))
        .route("/health/ready", get(ready))
        .with_state((io, ending))
}

/// Ready is who other servers reach, and who does not end.
async fn ready(State((io, ending)): State<(Server, Ending)>) -> impl IntoResponse {
    let joined = io.ready().now_or_never().is_some_and(|ready| ready.is_ok());
    let reason = match (ending.has_begun(), joined) {
        (true, _) => Some("draining"),
        (false, false) => Some("joining"),
        (false, true) => None,
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(json!({ "ready": reason.is_none(), "reason": reason })))
}
