//! What [`Socket::join`] returns.

use std::{fmt, future::ready, sync::Arc};

use futures_core::future::BoxFuture;
use patio_adapter::RoomList;

use crate::{
    extract::Ack,
    handler::{HandlerError, IntoOutcome, IntoVerdict},
    hub::Hub,
    refusal::Refusal,
    reply::IntoReply,
};

/// The rooms that a socket has [joined](super::Socket::join). The socket is in them already; who awaits this waits until
/// what other servers send there arrives too. `await socket.join(rooms)` in Socket.IO.
///
/// With adapters that hear of all rooms, and in a middleware, where rooms are joined only when the socket is connected, there
/// is nothing to wait for. While an adapter is cut off from the other servers this goes on until it is connected again:
/// where that must not be, give it a limit.
///
/// ```
/// use std::time::Duration;
///
/// use patio::{Socket, extract::Data};
///
/// async fn subscribe(socket: Socket, Data(topic): Data<String>) {
///     let joined = socket.join(&topic);
///     // Whoever is asked to send to the room after this line is heard, whatever server that happens on.
///     let in_time = tokio::time::timeout(Duration::from_secs(1), joined).await.is_ok();
///     # let _ = in_time;
/// }
/// # let _ = patio::Namespace::new().on("subscribe", subscribe);
/// ```
pub struct Joined(pub(super) Option<(Arc<Hub>, RoomList)>);

impl IntoFuture for Joined {
    type Output = ();
    type IntoFuture = BoxFuture<'static, ()>;

    fn into_future(self) -> Self::IntoFuture {
        match self.0 {
            Some((hub, rooms)) => hub.adapter().joined(&rooms),
            None => Box::pin(ready(())),
        }
    }
}

/// Handlers may end with a join, which is not waited for.
impl IntoReply for Joined {
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        ().into_reply(ack)
    }
}

impl IntoOutcome for Joined {
    fn into_outcome(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl IntoVerdict for Joined {
    fn into_verdict(self) -> Result<(), Refusal> {
        Ok(())
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rooms = self.0.as_ref().map(|(_, rooms)| rooms);
        f.debug_tuple("Joined").field(&rooms).finish()
    }
}
