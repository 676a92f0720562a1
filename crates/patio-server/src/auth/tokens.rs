//! Tokens (JWT) that say who a client is: which keys count, and what stands in them.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode, errors::ErrorKind,
};
use patio::{Refusal, Room};
use serde_json::{Map, Value as Json, json};

use super::{jwks::Jwks, provider};
use crate::ops::{Error, error::Code, fields::Fields, rooms};

/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 5;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Why a client may not connect: it reads `code` in the data of its `connect_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    code: &'static str,
    message: String,
}

impl Denial {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// As an answer to an event.
    pub(crate) fn to_json(&self) -> Json {
        json!({ "error": { "code": self.code, "message": self.message } })
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::new(denial.message).with_data(patio::Value::from(json!({ "code": denial.code })))
    }
}

/// What a client may do, as its token says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims {
    /// `sub`: who it is.
    pub(crate) user: Option<String>,
    /// `exp`, in seconds since 1970.
    pub(crate) expires_at: Option<u64>,
    /// `rooms` that it is in from the beginning.
    pub(crate) rooms: Vec<Room>,
    /// `nsp`: the namespaces that it may enter; absent: all.
    pub(crate) namespaces: Option<Vec<String>>,
    /// `data` of its socket.
    pub(crate) data: Map<String, Json>,
}

impl Claims {
    /// Whether they hold in a namespace.
    pub(crate) fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.iter().any(|name| name == namespace))
    }
}

/// A key that is good for one algorithm only: so nobody can pass off a public key as the secret of another.
#[derive(Clone)]
pub(crate) struct Key {
    algorithm: Algorithm,
    /// The name that tokens call it by. None: it is tried for all.
    kid: Option<String>,
    key: DecodingKey,
}

impl Key {
    /// From a secret or a public key in PEM. Error: what is wrong with it.
    pub(crate) fn new(algorithm: &str, kid: Option<String>, material: &[u8]) -> Result<Self, String> {
        let is_pem = material.trim_ascii_start().starts_with(b"-----BEGIN");
        let of_pem = |read: fn(&[u8]) -> Result<DecodingKey, jsonwebtoken::errors::Error>| {
            read(material).map_err(|error| format!("is no public key of {algorithm} in PEM: {error}"))
        };
        let (algorithm, key) = match algorithm {
            "HS256" if is_pem => return Err("is a key in PEM, which is no secret".to_owned()),
            "HS256" if material.len() < 32 => return Err("is shorter than 32 bytes".to_owned()),
            "HS256" => (Algorithm::HS256, DecodingKey::from_secret(material)),
            "RS256" => (Algorithm::RS256, of_pem(DecodingKey::from_rsa_pem)?),
            "ES256" => (Algorithm::ES256, of_pem(DecodingKey::from_ec_pem)?),
            "EdDSA" => (Algorithm::EdDSA, of_pem(DecodingKey::from_ed_pem)?),
            other => return Err(format!("{other} is not one of HS256, RS256, ES256, EdDSA")),
        };
        Ok(Self { algorithm, kid, key })
    }
}

impl Key {
    /// One that is published.
    pub(super) fn published(algorithm: Algorithm, kid: Option<String>, key: DecodingKey) -> Self {
        Self { algorithm, kid, key }
    }
}

/// The algorithms that tokens may be signed with.
pub(crate) fn algorithm(name: &str) -> Result<Algorithm, String> {
    match name {
        "HS256" => Ok(Algorithm::HS256),
        "RS256" => Ok(Algorithm::RS256),
        "ES256" => Ok(Algorithm::ES256),
        "EdDSA" => Ok(Algorithm::EdDSA),
        other => Err(format!("{other} is not one of HS256, RS256, ES256, EdDSA")),
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Whose tokens count.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    keys: Vec<Key>,
    published: Vec<Jwks>,
    audience: Option<String>,
    issuer: Option<String>,
}

/// A token that this secret signs: what backends do by themselves, for people who try it.
pub(crate) fn sign(secret: &Signing, claims: &Json) -> String {
    provider::install();
    encode(&Header { kid: secret.kid.clone(), ..Header::default() }, claims, &secret.key)
        .expect("HS256 signs whatever is JSON")
}

/// A secret that tokens can be signed with.
pub(crate) struct Signing {
    kid: Option<String>,
    key: EncodingKey,
}

impl Tokens {
    pub(crate) fn new(
        keys: Vec<Key>,
        published: Vec<Jwks>,
        audience: Option<String>,
        issuer: Option<String>,
    ) -> Self {
        provider::install();
        Self { keys, published, audience, issuer }
    }

    /// The first secret that tokens can be signed with. None: there are only public keys.
    pub(crate) fn signing(&self) -> Option<Signing> {
        let secret = self.keys.iter().find(|key| key.algorithm == Algorithm::HS256)?;
        let key = EncodingKey::from_secret(secret.key.try_get_as_bytes().ok()?);
        Some(Signing { kid: secret.kid.clone(), key })
    }

    /// The claims that tokens must have besides.
    pub(crate) fn required(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let audience = self.audience.iter().map(|audience| ("aud", audience));
        audience.chain(self.issuer.iter().map(|issuer| ("iss", issuer)))
    }

    /// What a token says of who may connect.
    pub(crate) async fn read(&self, token: &str) -> Result<Claims, Denial> {
        let said = self.verify(token).await?;
        // A token for a room is given to clients for one purpose: it is no login.
        if said.get("room").is_some() {
            return Err(Denial::new("token_claims", "the token is for a room"));
        }
        claims(said).map_err(|error| Denial::new("token_claims", error.to_string()))
    }

    /// Whether a token lets this user enter a room: it says `room` and `sub`.
    pub(crate) async fn opens(&self, token: &str, room: &str, user: Option<&str>) -> Result<(), Denial> {
        let said = self.verify(token).await?;
        let is_said = |claim: &str, expected: Option<&str>| said[claim].as_str() == expected;
        match (is_said("room", Some(room)), is_said("sub", user)) {
            (true, true) => Ok(()),
            (false, _) => Err(Denial::new("token_room", "the token is for another room")),
            (_, false) => Err(Denial::new("token_user", "the token is of another user")),
        }
    }

    /// What a token says, if one of the keys has signed it and it is for now and for here.
    async fn verify(&self, token: &str) -> Result<Json, Denial> {
        if token.len() > MAX_TOKEN {
            return Err(Denial::new("token_invalid", "the token is too long"));
        }
        let header = decode_header(token)
            .map_err(|_| Denial::new("token_invalid", "the token is none that can be read"))?;
        let mut keys = self.fitting(&header);
        if keys.is_empty() {
            // It may have been signed with a key that was published a moment ago.
            for published in self.published.iter().filter(|published| published.algorithm() == header.alg) {
                published.refresh().await;
            }
            keys = self.fitting(&header);
        }
        let mut denial = Denial::new(
            "token_key",
            "the token was signed with a key or an algorithm that does not count here",
        );
        for key in keys {
            match decode::<Json>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(token) => return Ok(token.claims),
                // Another key may have signed it.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => denial = self.denial(error.kind()),
            }
        }
        Err(denial)
    }

    /// The keys that may have signed a token with this head.
    fn fitting(&self, header: &Header) -> Vec<Key> {
        let fits = |key: &Key| {
            key.algorithm == header.alg
                && (key.kid.is_none() || header.kid.is_none() || key.kid == header.kid)
        };
        let published = self.published.iter().flat_map(Jwks::keys);
        self.keys.iter().cloned().chain(published).filter(fits).collect()
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.required_spec_claims.clear();
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }

    fn denial(&self, error: &ErrorKind) -> Denial {
        match error {
            ErrorKind::ExpiredSignature => Denial::new("token_expired", "the token has expired"),
            ErrorKind::ImmatureSignature => Denial::new("token_early", "the token is not valid yet"),
            ErrorKind::InvalidAudience => Denial::new("token_audience", "the token is for somebody else"),
            ErrorKind::InvalidIssuer => Denial::new("token_issuer", "the token is from somebody else"),
            ErrorKind::MissingRequiredClaim(claim) => {
                Denial::new("token_claims", format!("{claim}: is missing in the token"))
            }
            ErrorKind::InvalidClaimFormat(claim) => {
                Denial::new("token_claims", format!("{claim}: is not what it should be"))
            }
            _ => Denial::new("token_invalid", "the token is none that can be read"),
        }
    }
}

/// The claims that mean something here; others may stand beside them.
fn claims(claims: Json) -> Result<Claims, Error> {
    let mut fields = Fields::forgiving(claims)?;
    Ok(Claims {
        user: fields.with("sub", user)?,
        expires_at: fields.number("exp")?,
        rooms: fields.list("rooms", rooms::open)?.unwrap_or_default(),
        namespaces: fields.with("nsp", namespaces)?,
        data: fields.object("data")?.unwrap_or_default(),
    })
}

/// The name of a user: it becomes that of a room.
pub(crate) fn user(value: Json) -> Result<String, Error> {
    let user = crate::ops::fields::text(value)?;
    match user.len() {
        1..=256 => Ok(user),
        _ => Err(Error::new(Code::InvalidField, "must have 1 to 256 bytes")),
    }
}

/// One or several.
fn namespaces(value: Json) -> Result<Vec<String>, Error> {
    let values = match value {
        Json::Array(values) => values,
        one => vec![one],
    };
    let read = |(n, value)| crate::ops::fields::text(value).map_err(|error| error.within(&format!("[{n}]")));
    values.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
    };

    /// Where nothing is fetched, nothing waits.
    fn now<T>(ready: impl Future<Output = T>) -> T {
        futures_util::FutureExt::now_or_never(ready).unwrap()
    }

    const SECRET: &[u8] = b"a secret that has thirty-two bytes";

    fn tokens() -> Tokens {
        Tokens::new(vec![Key::new("HS256", Some("k1".into()), SECRET).unwrap()], vec![], None, None)
    }

    fn signed(header: &Header, claims: &Json) -> String {
        provider::install();
        encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
    }

    fn hs256(claims: &Json) -> String {
        signed(&Header::default(), claims)
    }

    /// A token with this head and signature.
    fn token(head: &Json, claims: &Json, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let part = |part: &Json| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", part(head), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn pem(der: &[u8]) -> Vec<u8> {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
    }

    #[test]
    fn what_a_token_says_is_read() {
        let said = json!({ "sub": "42", "exp": 4_000_000_000u64, "rooms": ["team:7"], "nsp": "/", "data": { "a": 1 }, "iat": 1 });
        let claims = now(tokens().read(&hs256(&said))).unwrap();
        let data = json!({ "a": 1 }).as_object().unwrap().clone();
        let (rooms, namespaces) = (vec!["team:7".into()], Some(vec!["/".to_owned()]));
        let expected =
            Claims { user: Some("42".into()), expires_at: Some(4_000_000_000), rooms, namespaces, data };
        assert_eq!(claims, expected);
        assert_eq!(now(tokens().read(&hs256(&json!({})))).unwrap(), Claims::default());
    }

    #[test]
    fn what_is_wrong_has_a_code() {
        let said = |claims: Json| hs256(&claims);
        let named =
            |kid: &str| signed(&Header { kid: Some(kid.to_owned()), ..Header::default() }, &json!({}));
        let none = token(&json!({ "alg": "none", "typ": "JWT" }), &json!({}), |_| Vec::new());
        assert!(now(tokens().read(&named("k1"))).is_ok());
        for (token, code, message) in [
            (String::new(), "token_invalid", ""),
            ("a.b.c".to_owned(), "token_invalid", ""),
            ("x".repeat(MAX_TOKEN + 1), "token_invalid", "the token is too long"),
            (none, "token_invalid", ""),
            (named("k2"), "token_key", ""),
            (format!("{}x", said(json!({}))), "token_key", ""),
            (said(json!({ "exp": 1 })), "token_expired", ""),
            (said(json!({ "nbf": 4_000_000_000u64 })), "token_early", ""),
            (said(json!({ "exp": "soon" })), "token_claims", "exp: is not what it should be"),
            (said(json!({ "sub": 42 })), "token_claims", "sub: must be text, not a number"),
            (said(json!({ "sub": "" })), "token_claims", "sub: must have 1 to 256 bytes"),
            (said(json!({ "rooms": "a" })), "token_claims", "rooms: must be a list, not text"),
            (said(json!({ "rooms": ["a", "user:1"] })), "token_claims", "rooms[1]: is the room of a user"),
            (said(json!({ "nsp": ["/", 1] })), "token_claims", "nsp[1]: must be text, not a number"),
            (said(json!({ "data": [] })), "token_claims", "data: must be an object, not a list"),
        ] {
            let denial = now(tokens().read(&token)).unwrap_err();
            assert_eq!(denial.code, code, "{token}: {denial:?}");
            assert!(denial.message.starts_with(message), "{denial:?}");
        }
    }

    #[test]
    fn audience_and_issuer_count_if_they_are_set() {
        let key = || vec![Key::new("HS256", None, SECRET).unwrap()];
        let tokens = Tokens::new(key(), vec![], Some("chat".into()), Some("me".into()));
        for (claims, expected) in [
            (json!({ "aud": "chat", "iss": "me" }), None),
            (json!({ "aud": ["x", "chat"], "iss": "me" }), None),
            (json!({ "aud": "x", "iss": "me" }), Some("token_audience")),
            (json!({ "aud": "chat", "iss": "you" }), Some("token_issuer")),
            (json!({ "iss": "me" }), Some("token_claims")),
            (json!({ "aud": "chat" }), Some("token_claims")),
        ] {
            let code = now(tokens.read(&hs256(&claims))).err().map(|denial| denial.code);
            assert_eq!(code, expected, "{claims}");
        }
        // Without them, who a token is for does not matter.
        assert!(now(Tokens::new(key(), vec![], None, None).read(&hs256(&json!({ "aud": "x" })))).is_ok());
    }

    #[test]
    fn a_token_for_a_room_opens_it_for_its_user() {
        let said = |claims: Json| hs256(&claims);
        let right = said(json!({ "room": "team:7", "sub": "42" }));
        let code =
            |token: &str, room, user| now(tokens().opens(token, room, user)).err().map(|denial| denial.code);
        assert_eq!(code(&right, "team:7", Some("42")), None);
        assert_eq!(code(&right, "team:8", Some("42")), Some("token_room"));
        assert_eq!(code(&right, "team:7", Some("43")), Some("token_user"));
        assert_eq!(code(&right, "team:7", None), Some("token_user"));
        assert_eq!(code(&said(json!({ "room": "team:7" })), "team:7", Some("42")), Some("token_user"));
        assert_eq!(
            code(&said(json!({ "room": "team:7", "sub": "42", "exp": 1 })), "team:7", Some("42")),
            Some("token_expired")
        );
        assert_eq!(code(&said(json!({ "sub": "42" })), "team:7", Some("42")), Some("token_room"));
        assert_eq!(now(tokens().read(&right)).unwrap_err().code, "token_claims", "it is no login");
    }

    /// The mistake that tokens are famous for: what everybody knows taken for a secret.
    #[test]
    fn a_public_key_is_no_secret() {
        provider::install();
        let random = SystemRandom::new();
        let ed =
            Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        // The key behind the head of its kind, RFC 8410.
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let public = pem(&[&head, ed.public_key().as_ref()].concat());
        let tokens = Tokens::new(vec![Key::new("EdDSA", None, &public).unwrap()], vec![], None, None);
        let claims = json!({ "sub": "1" });
        let right = token(&json!({ "alg": "EdDSA" }), &claims, |message| ed.sign(message).as_ref().to_vec());
        assert_eq!(now(tokens.read(&right)).unwrap().user.as_deref(), Some("1"));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        let forged = token(&json!({ "alg": "HS256" }), &claims, |message| {
            ring::hmac::sign(&key, message).as_ref().to_vec()
        });
        assert_eq!(now(tokens.read(&forged)).unwrap_err().code, "token_key");
        for (algorithm, material, expected) in [
            ("HS256", &public[..], "is a key in PEM, which is no secret"),
            ("HS256", b"short", "is shorter than 32 bytes"),
            ("HS512", SECRET, "HS512 is not one of HS256, RS256, ES256, EdDSA"),
            ("RS256", SECRET, "is no public key of RS256 in PEM"),
            ("RS256", &public, "is no public key of RS256 in PEM"),
        ] {
            assert!(Key::new(algorithm, None, material).unwrap_err().starts_with(expected));
        }
    }

    #[test]
    fn es256_is_verified() {
        provider::install();
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        // As above, RFC 5480.
        let head = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let public = pem(&[&head, pair.public_key().as_ref()].concat());
        let tokens = Tokens::new(vec![Key::new("ES256", None, &public).unwrap()], vec![], None, None);
        let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        let right = token(&json!({ "alg": "ES256" }), &json!({ "sub": "1" }), sign);
        assert!(now(tokens.read(&right)).is_ok());
        let (head, signature) = right.rsplit_once('.').unwrap();
        let other = token(&json!({ "alg": "ES256" }), &json!({ "sub": "2" }), |_| Vec::new());
        let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_eq!(now(tokens.read(&swapped)).unwrap_err().code, "token_key", "{head}");
    }
}
