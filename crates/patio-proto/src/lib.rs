//! Socket.IO, Engine.IO and WebSocket as pure data.
//!
//! Bytes come in as arguments and leave as return values; so do time and randomness. There is no socket, no clock,
//! no task and no lock here, and nothing a peer sends can panic or allocate beyond the limits it is given.
//!
//! The modules in the order that received data passes them: [`ws`] frames, [`engine`] packets, payloads and the
//! session, then Socket.IO: [`decode`], [`packet`], [`payload`]. What is sent passes [`encode`] once, whatever the
//! number of receivers.
//!
//! A server's way, from the bytes of a WebSocket to the bytes of one:
//!
//! ```
//! use patio_proto::{
//!     decode::{Decoder, Limits},
//!     encode::{Encoded, Form},
//!     engine::{Message, Packet, Protocol},
//!     packet::{self, Kind},
//!     payload::Payload,
//!     ws::{self, Role},
//! };
//!
//! // A client's frame, masked: the event `hello` with one argument, and 7 as the id of the ack that it asks for.
//! let mut received = Vec::new();
//! ws::encode(&mut received, ws::Opcode::Text, br#"427["hello","Ada"]"#, Some([1, 2, 3, 4]));
//!
//! let mut frames = ws::Decoder::new(Role::Server, 1_000_000);
//! let Some(ws::Message::Text(text)) = frames.decode(&mut &mut received[..])? else { panic!("one text message") };
//! let Packet::Message(Message::Text(text)) = Packet::decode_text(Protocol::V4, text)? else { panic!("a message") };
//! let packet = Decoder::new().text(text, &Limits::default())?.expect("no attachments to wait for");
//!
//! let Kind::Event { id: Some(id), payload } = packet.kind else { panic!("an event that asks for an ack") };
//! assert_eq!(payload.event_name().as_deref(), Some("hello"));
//! let name: String = payload.read_args(1)?; // behind the event's name
//!
//! let answer = Kind::Ack { id, payload: Payload::args(&format!("hello {name}"))? };
//! let answer = Encoded::packet(&packet::Packet::new(packet.nsp, answer));
//! assert_eq!(answer.bytes(Form::PollV4), br#"437["hello Ada"]"#);
//! assert_eq!(&answer.bytes(Form::WsV4)[2..], br#"437["hello Ada"]"#); // behind the frame's header
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Features: `v3` for the polling payloads and frames of Engine.IO 3, `msgpack` for `socket.io-msgpack-parser`, `deflate`
//! for permessage-deflate.

pub mod text;

pub use text::Text;

pub mod engine;
pub mod ws;

pub mod decode;
pub mod encode;
#[cfg(feature = "msgpack")]
pub mod msgpack;
pub mod packet;
pub mod payload;
pub mod sid;
pub mod value;
