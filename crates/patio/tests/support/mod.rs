//! A server on a loopback socket and raw [clients] for it, shared by the boundary tests.
//!
//! ```ignore
//! #[expect(dead_code, reason = "each test file uses a part")]
//! mod support;
//!
//! let server = Server::start(patio::Server::builder()).await;
//! let mut ws = server.ws(V4).await;                 // the handshake is done: ws.open
//! let sid = ws.join("/").await;                     // 40 … 40{"sid":…}
//! ws.send("42[\"hello\"]").await;
//! assert_eq!(ws.text().await, "42[\"world\"]");
//! let mut polling = server.polling(V4).await;       // the same methods, over polling
//! ```

mod clients;
pub(crate) mod direct;
mod neighbour;
pub(crate) mod process;
mod server;
mod watched;

pub(crate) use self::{clients::*, neighbour::*, server::*, watched::*};
