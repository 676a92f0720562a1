//! Polling payloads of revision 3: length-prefixed text, and the binary form of XHR2.
