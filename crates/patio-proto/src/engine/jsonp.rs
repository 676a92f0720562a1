//! Polling through `<script>` tags (query parameter `j`): a response is a call, a request is a form.
//!
//! What is inside the call or the form is a text payload of the client's protocol revision.

use bytes::Bytes;
use memchr::memmem;

use super::DecodeError;

/// The body of a response: `___eio[7]("…");`, the payload as a JavaScript string.
///
/// `index` is the value of the query parameter `j`, of which only the digits are kept. The content type is
/// `text/plain; charset=UTF-8`, as for other text payloads.
pub fn response(index: &str, payload: &str) -> String {
    let index: String = index.chars().filter(char::is_ascii_digit).collect();
    // Old script engines end a string literal at these two, which JSON leaves as they are.
    let literal = serde_json::Value::from(payload).to_string();
    let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    format!("___eio[{index}]({literal});")
}

/// The payload in the body of a request: field `d` of an `application/x-www-form-urlencoded` form.
///
/// Clients escape line feeds, because a browser would send them as CR LF: `\n` (backslash, n) is a line feed, and
/// `\\n` is `\n`. As in Node, several such fields are none; escapes that are none stay as they are. The result need not be
/// UTF-8: [`payload::decode`](super::payload::decode) checks. Errors: [`DecodeError::MissingField`].
pub fn decode_form(body: &[u8]) -> Result<Bytes, DecodeError> {
    let mut values = body.split(|&byte| byte == b'&').filter_map(|field| {
        let end = field.iter().position(|&byte| byte == b'=').unwrap_or(field.len());
        (percent_decode(&field[..end]) == b"d").then(|| field.get(end + 1..).unwrap_or_default())
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(unescape(&percent_decode(value)).into()),
        _ => Err(DecodeError::MissingField),
    }
}

/// Undoes the form's own encoding: `+` is a space, `%41` a byte.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let hex = |at: usize| text.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = if byte == b'%' { hex(at + 1).zip(hex(at + 2)) } else { None };
        match (byte, escape) {
            (_, Some((high, low))) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    out
}

/// Undoes the client's escaping of line feeds. Only the last two backslashes in front of an `n` matter.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memmem::find_iter(text, b"\\n") {
        out.extend_from_slice(&text[from..at]);
        if at > 0 && text[at - 1] == b'\\' {
            out.pop();
            out.extend_from_slice(b"\\n");
        } else {
            out.push(b'\n');
        }
        from = at + 2;
    }
    out.extend_from_slice(&text[from..]);
    out
}
