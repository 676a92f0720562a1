//! Signatures of hooks as Standard Webhooks has them: whoever has a secret can tell that a call comes from this server, and
//! when it was made.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;

/// What a signature begins with: its version.
const VERSION: &str = "v1";

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// The secrets that calls are signed with: several while one is replaced by another.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Adds `whsec_` and 24 to 64 bytes in base-64. Error: what is wrong.
    pub(crate) fn add(&mut self, secret: &str) -> Result<(), String> {
        let text = secret.strip_prefix(PREFIX).ok_or_else(|| format!("must begin with {PREFIX}"))?;
        let bytes = STANDARD.decode(text).map_err(|_| format!("must be base-64 behind {PREFIX}"))?;
        if !(24..=64).contains(&bytes.len()) {
            return Err("must be 24 to 64 bytes in base-64".to_owned());
        }
        self.0.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header `webhook-signature`: a signature for each secret.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let sign = |key| format!("{VERSION},{}", STANDARD.encode(hmac::sign(key, &message)));
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected signature was computed with Python's `hmac`.
    #[test]
    fn signs_for_each_secret() {
        let mut secrets = Secrets::default();
        secrets.add("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
        let one = secrets.sign("msg_1", 1_700_000_000, br#"{"a":1}"#);
        assert_eq!(one, "v1,1l34d9U9bSaAVQFy2uVdg3CHHT+o7pMzi59Vrub2gOE=");
        secrets.add("whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh").unwrap();
        let both = secrets.sign("msg_1", 1_700_000_000, br#"{"a":1}"#);
        let (first, second) = both.split_once(' ').unwrap();
        assert!(first == one && second.starts_with("v1,") && second != one);
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for secret in ["", "secret", "whsec_", "whsec_%", "whsec_YWFh"] {
            assert!(Secrets::default().add(secret).is_err(), "{secret}");
        }
    }
}
