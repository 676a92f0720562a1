//! Keys of the API: who may publish, query, or administer. Only their digests are kept, and all are compared each time.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::ops::{Error, error::Code};

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Operations.
    Publish,
    /// Questions about sockets, rooms and servers.
    Query,
    /// The server itself: draining it.
    Admin,
}

impl Scope {
    pub(crate) const ALL: [Self; 3] = [Self::Publish, Self::Query, Self::Admin];

    /// Its word in configurations and messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Query => "query",
            Self::Admin => "admin",
        }
    }
}

/// A key, by its digest.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// SHA-256.
    pub(crate) digest: [u8; 32],
    pub(crate) scopes: Vec<Scope>,
}

impl Key {
    /// One that is known in clear.
    pub(crate) fn of(key: &str, scopes: impl Into<Vec<Scope>>) -> Self {
        Self { digest: Sha256::digest(key.as_bytes()).into(), scopes: scopes.into() }
    }
}

/// All keys: several at once, so that one can be replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether there are none: then nobody may do anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request may do this, by its header `Authorization: Bearer …`.
    pub(crate) fn check(&self, authorization: Option<&[u8]>, scope: Scope) -> Result<(), Error> {
        let unauthorized = |message: &str| Err(Error::of(Code::Unauthorized, "authorization", message));
        let Some(authorization) = authorization else {
            return unauthorized("is missing; it must be `Bearer` and a key");
        };
        let Some(key) = authorization
            .split_at_checked("Bearer ".len())
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
            .map(|(_, key)| key)
        else {
            return unauthorized("must be `Bearer` and a key");
        };
        let digest = Sha256::digest(key);
        let (mut known, mut allowed) = (Choice::from(0), Choice::from(0));
        for key in &self.0 {
            let is_it = key.digest.ct_eq(digest.as_slice());
            known |= is_it;
            allowed |= is_it & Choice::from(u8::from(key.scopes.contains(&scope)));
        }
        match (bool::from(known), bool::from(allowed)) {
            (_, true) => Ok(()),
            (true, false) => {
                let message = format!("this key may not do that; it needs the scope `{}`", scope.as_str());
                Err(Error::of(Code::Forbidden, "authorization", message))
            }
            (false, false) => unauthorized("is no key of this server"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_it_is_for() {
        let keys =
            Keys::new(vec![Key::of("old", [Scope::Publish]), Key::of("new", [Scope::Publish, Scope::Query])]);
        let check = |header: Option<&str>, scope| keys.check(header.map(str::as_bytes), scope);
        for (header, scope) in
            [("Bearer old", Scope::Publish), ("bearer new", Scope::Publish), ("Bearer new", Scope::Query)]
        {
            assert!(check(Some(header), scope).is_ok(), "{header}");
        }
        assert_eq!(check(Some("Bearer old"), Scope::Query).unwrap_err().code, Code::Forbidden);
        for header in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer old "),
            Some("Basic old"),
            Some("old"),
        ] {
            assert_eq!(check(header, Scope::Publish).unwrap_err().code, Code::Unauthorized, "{header:?}");
        }
        assert!(Keys::default().check(Some(b"Bearer "), Scope::Admin).is_err());
    }
}
