//! Engine.IO: packets, polling payloads, the handshake and the session, of both protocol revisions.
