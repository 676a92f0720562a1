//! WebSocket: frames, masks, the handshake and close codes (RFC 6455).
