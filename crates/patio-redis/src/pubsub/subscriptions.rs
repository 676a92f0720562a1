//! What a server subscribes to.

/// What a server of the adapter [`PubSub`](super::PubSub) subscribes to in each namespace. All servers write the same,
/// whatever they subscribe to: each may have its own, and Node's among them have the pattern.
///
/// ```no_run
/// use patio::{Server, Socket, extract::Data};
/// use patio_redis::{PubSub, Subscriptions};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = PubSub::builder("redis://127.0.0.1").subscriptions(Subscriptions::Exact).connect().await?;
/// let io = Server::builder().adapter(redis).build()?;
/// io.on("watch", async |socket: Socket, Data(document): Data<String>| {
///     // The answer to the client says that it is reached, from whatever server.
///     socket.join(&document).await;
/// });
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subscriptions {
    /// One pattern for everything: each server hears all emits, also those to rooms that none of its clients is in, which it
    /// drops unread. Node's way. Nothing is lost while Redis is there.
    #[default]
    Pattern,
    /// The channel of emits to all, and one channel for each room that a client of this server is in: Redis does not send it
    /// emits to exactly one room that is held elsewhere. For many servers and many rooms.
    ///
    /// **What it loses:** what other servers send to a room between its first member's join on this server and the moment at
    /// which Redis has confirmed the subscription, which is about one round trip, and all the time that Redis is away.
    /// `socket.join(room)` acts at once, so emits of this server lose nothing; for those of others, await what it returns:
    /// it waits for the confirmation. What another server sends to a room at once after it has had a client of this server
    /// join it (`sockets_join`) is mostly lost, and nobody can wait there. If the room has another member here, nothing
    /// is lost; nor, in the 5 s after the last one has left, when it is joined again.
    ///
    /// Emits to several rooms, to all but some, and those that ask for acknowledgements go to all servers, as always.
    ///
    /// The sockets' own rooms cost no subscription each: one pattern fits the ids that a server gives, which begin alike,
    /// and nothing sent to them is lost. The ids of clients 1.x and 2.x are others: those cost a channel each, and lose as
    /// rooms do. A namespace with `#` in its name keeps the pattern.
    ///
    /// As the pattern differs from server to server, an ACL of Redis must allow all channels (`&*`). What it refuses is not
    /// waited for, and stands in the log.
    Exact,
}
