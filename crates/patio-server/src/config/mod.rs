//! The configuration: read in layers ([`layers`]) from what [`settings`] and this file describe, checked as a whole, and told
//! to the other parts as [`Config`].

mod layers;
mod settings;

use std::{
    fmt::{self, Write as _},
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use serde_json::Value as Json;

pub(crate) use self::layers::Sources;
use self::{
    layers::Layers,
    settings::{Kind, SETTINGS, Setting},
};
use crate::{
    api::keys::{Key, Keys, Scope},
    auth::{
        jwks::Jwks,
        tokens::{self, Tokens},
    },
    clients::ConnectHook,
    hooks::{self, HookUrl, Secrets},
    ops::{Error, error::Code, fields::Fields},
    origins::Origins,
    proxies::Network,
    rules::{Action, Pattern, Rate, Rule, Rules},
};

/// What the server is told.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) internal_listen: Option<String>,
    /// The chat page is served.
    pub(crate) demo: bool,
    pub(crate) namespaces: Vec<String>,
    pub(crate) origins: Origins,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) drain: Duration,
    pub(crate) log: Log,
    pub(crate) redis: Option<Redis>,
    pub(crate) limits: Limits,
    pub(crate) keys: Keys,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) hooks: HookSettings,
    pub(crate) rules: Rules,
    /// What should be said at the start.
    pub(crate) warnings: Vec<String>,
}

/// How the log is written.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) is_json: bool,
    pub(crate) level: String,
}

/// The Redis by which several servers are one.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) url: Secret,
    pub(crate) adapter: Adapter,
    pub(crate) prefix: String,
}

/// How servers use Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapter {
    PubSub,
    Sharded,
    Streams,
}

/// How and where the backend is called.
#[derive(Debug)]
pub(crate) struct HookSettings {
    pub(crate) calls: hooks::Settings,
    pub(crate) connect: Option<ConnectHook>,
    pub(crate) disconnect: Option<HookUrl>,
}

/// What peers may use at most.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) connections: Option<usize>,
    /// Of one socket.
    pub(crate) events: Option<Rate>,
    /// Of the bytes of one socket's events.
    pub(crate) bytes: Option<Rate>,
    pub(crate) message_bytes: usize,
    pub(crate) api_body_bytes: usize,
    pub(crate) api_operations: usize,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// All that is wrong, a line each.
#[derive(Debug)]
pub(crate) struct Invalid(Vec<String>);

impl Invalid {
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Invalid {}

impl Config {
    /// Reads and checks everything.
    pub(crate) fn read(sources: Sources) -> Result<Self, Invalid> {
        let layers = Layers::read(sources).map_err(Invalid)?;
        let config = read(&layers).map_err(|error| {
            let source = error.field.as_deref().and_then(|field| layers.source(field));
            Invalid(vec![match source {
                Some(source) => format!("{error} ({source})"),
                None => error.to_string(),
            }])
        })?;
        config.check().map_err(Invalid)
    }

    /// What must hold between settings.
    fn check(mut self) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let insecure = self.warnings.iter().any(|warning| warning == INSECURE);
        if !is_loopback(&self.listen) {
            if self.tokens.is_none() && self.hooks.connect.is_none() && !insecure {
                errors.push(format!(
                    "listen: {} can be reached from elsewhere, and there is no authentication: set auth.jwt or hooks.connect, or \
                     `insecure = true` if everybody may connect",
                    self.listen
                ));
            }
            if self.origins == Origins::These(Vec::new()) {
                errors.push(format!(
                    "allowed_origins: is empty, so no page of a browser could connect to {}: name their origins, or * \
                     for all",
                    self.listen
                ));
            }
        }
        let calls = self.hooks.connect.is_some() || self.hooks.disconnect.is_some() || self.rules.has_hooks();
        if calls && self.hooks.calls.secrets.is_empty() {
            self.warnings.push("the backend cannot tell whose calls it gets: see hooks.secrets".to_owned());
        }
        // Of two free ports each is another.
        if self.internal_listen.as_ref() == Some(&self.listen) && !self.listen.ends_with(":0") {
            errors.push("internal_listen: is the same as listen".to_owned());
        }
        if self.namespaces.is_empty() {
            errors.push("namespaces: is empty, so nobody could connect".to_owned());
        }
        if self.keys.is_empty() && !self.demo {
            self.warnings.push("there is no key for the API, so nobody can use it: see api_keys".to_owned());
        }
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }
}

const INSECURE: &str = "everybody may connect: `insecure` is set";

/// Whether only this machine can reach it. A name that cannot be told is not.
fn is_loopback(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let address = listen.parse::<SocketAddr>().map(|address| address.ip());
    let address = address.or_else(|_| host.trim_matches(['[', ']']).parse::<IpAddr>());
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

/// The values of all layers. What is unknown is an error.
fn read(layers: &Layers) -> Result<Config, Error> {
    let mut fields = Fields::of(layers.merged.clone().into())?;
    let tokens = read_auth(&mut fields, &layers.folder)?;
    let rules = read_rules(&mut fields)?;
    let hooks = fields.need("hooks", |fields, name| fields.with(name, read_hooks))?;
    let demo = fields.with("demo", flag)?;
    let insecure = fields.flag("insecure")?;
    let mut warnings = Vec::new();
    if insecure {
        warnings.push(INSECURE.to_owned());
    }
    let config = Config {
        listen: fields.need("listen", |fields, name| fields.with(name, address))?,
        internal_listen: fields.with("internal_listen", address)?,
        demo: demo.unwrap_or(tokens.is_none() && hooks.connect.is_none() && rules.is_empty()),
        namespaces: fields.list("namespaces", namespace)?.unwrap_or_default(),
        origins: match fields.list("allowed_origins", origin)?.unwrap_or_default() {
            origins if origins.iter().any(|origin| origin == "*") => Origins::Any,
            origins if origins.is_empty() && insecure => Origins::Any,
            origins => Origins::These(origins),
        },
        trusted_proxies: fields.list("trusted_proxies", network)?.unwrap_or_default(),
        drain: Duration::from_secs(fields.need("drain_seconds", Fields::number)?),
        log: fields.need("log", |fields, name| fields.with(name, log))?,
        redis: fields.with("redis", redis)?.flatten(),
        limits: fields.need("limits", |fields, name| fields.with(name, limits))?,
        keys: read_keys(&mut fields, layers.api_key.as_deref())?,
        tokens,
        hooks,
        rules,
        warnings,
    };
    fields.finish()?;
    Ok(config)
}

fn flag(value: Json) -> Result<bool, Error> {
    value.as_bool().ok_or_else(|| Error::new(Code::InvalidField, "must be true or false"))
}

/// Where to listen: a name or an address, and a port.
fn address(value: Json) -> Result<String, Error> {
    let address = crate::ops::fields::text(value)?;
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(_) => Ok(address),
        None => {
            let message = format!("{address} is not an address with a port, like 127.0.0.1:3000");
            Err(Error::new(Code::InvalidField, message))
        }
    }
}

fn namespace(value: Json) -> Result<String, Error> {
    let name = crate::ops::fields::text(value)?;
    match name.starts_with('/') {
        true => Ok(name),
        false => Err(Error::new(Code::InvalidField, "must begin with a slash")),
    }
}

fn network(value: Json) -> Result<Network, Error> {
    Network::new(&crate::ops::fields::text(value)?).map_err(|why| Error::new(Code::InvalidField, why))
}

fn origin(value: Json) -> Result<String, Error> {
    let origin = crate::ops::fields::text(value)?;
    let is_origin = origin
        .split_once("://")
        .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty() && !host.contains('/'));
    match origin == "*" || is_origin {
        true => Ok(origin),
        false => Err(Error::new(
            Code::InvalidField,
            "must be an origin such as https://example.com, without a path",
        )),
    }
}

/// One of some words.
fn word<T: Copy>(value: Json, words: &[(&str, T)]) -> Result<T, Error> {
    let text = crate::ops::fields::text(value)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Error::new(Code::InvalidField, format!("must be one of {}, not `{text}`", words.join(", ")))
    })
}

fn log(value: Json) -> Result<Log, Error> {
    let mut fields = Fields::of(value)?;
    let is_json = fields.need("format", |fields, name| {
        fields.with(name, |value| word(value, &[("text", false), ("json", true)]))
    })?;
    let level = fields.need("level", Fields::text)?;
    tracing_subscriber::EnvFilter::try_new(&level).map_err(|error| {
        Error::of(Code::InvalidField, "level", format!("is no filter of the log: {error}"))
    })?;
    fields.finish()?;
    Ok(Log { is_json, level })
}

fn redis(value: Json) -> Result<Option<Redis>, Error> {
    let adapters =
        [("pubsub", Adapter::PubSub), ("sharded", Adapter::Sharded), ("streams", Adapter::Streams)];
    let mut fields = Fields::of(value)?;
    let url = fields.text("url")?;
    let adapter = fields.need("adapter", |fields, name| fields.with(name, |value| word(value, &adapters)))?;
    let prefix = fields.need("prefix", Fields::text)?;
    fields.finish()?;
    Ok(url.map(|url| Redis { url: Secret(url), adapter, prefix }))
}

fn limits(value: Json) -> Result<Limits, Error> {
    let mut fields = Fields::of(value)?;
    let size = |number: u64, name: &'static str| match usize::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(Error::of(Code::InvalidField, name, "must be at least 1")),
    };
    let needed = |fields: &mut Fields, name: &'static str| size(fields.need(name, Fields::number)?, name);
    let limits = Limits {
        connections: fields.number("connections")?.map(|number| size(number, "connections")).transpose()?,
        events: fields.with("events_per_second", rate)?,
        bytes: fields.with("bytes_per_second", rate)?,
        message_bytes: needed(&mut fields, "message_bytes")?,
        api_body_bytes: needed(&mut fields, "api_body_bytes")?,
        api_operations: needed(&mut fields, "api_operations")?,
    };
    fields.finish()?;
    Ok(limits)
}

fn read_keys(fields: &mut Fields, of_all: Option<&str>) -> Result<Keys, Error> {
    let mut keys = fields.list("api_keys", api_key)?.unwrap_or_default();
    keys.extend(of_all.map(|key| Key::of(key, Scope::ALL)));
    Ok(Keys::new(keys))
}

fn api_key(value: Json) -> Result<Key, Error> {
    let mut fields = Fields::of(value)?;
    // For people only.
    fields.text("name")?;
    let digest = fields.with("sha256", digest)?;
    let clear = fields.text("key")?;
    let scope = |value| {
        let words = Scope::ALL.map(|scope| (scope.as_str(), scope));
        word(value, &words)
    };
    let scopes = fields.need("scopes", |fields, name| fields.list(name, scope))?;
    fields.finish()?;
    match (digest, clear) {
        (Some(digest), None) => Ok(Key { digest, scopes }),
        (None, Some(key)) if key.len() >= 16 => Ok(Key::of(&key, scopes)),
        (None, Some(_)) => Err(Error::of(Code::InvalidField, "key", "is shorter than 16 bytes")),
        _ => Err(Error::of(Code::MissingField, "sha256", "either it or `key` must be there, and not both")),
    }
}

/// A digest in hexadecimal digits.
fn digest(value: Json) -> Result<[u8; 32], Error> {
    let text = crate::ops::fields::text(value)?;
    let wrong = || Error::new(Code::InvalidField, "must be 64 hexadecimal digits");
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, n) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[n..n + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// `auth.jwt`. There is authentication when there are keys.
fn read_auth(fields: &mut Fields, folder: &Path) -> Result<Option<Tokens>, Error> {
    let read = |value| {
        let mut fields = Fields::of(value)?;
        let tokens = fields.with("jwt", |value| {
            let mut fields = Fields::of(value)?;
            let keys = fields.list("keys", |value| token_key(value, folder))?.unwrap_or_default();
            let (audience, issuer) = (fields.text("audience")?, fields.text("issuer")?);
            fields.finish()?;
            if keys.is_empty() {
                return match audience.is_some() || issuer.is_some() {
                    true => {
                        Err(Error::of(Code::MissingField, "keys", "are missing, so no token could count"))
                    }
                    false => Ok(None),
                };
            }
            let (mut own, mut published) = (Vec::new(), Vec::new());
            for key in keys {
                match key {
                    TokenKey::Own(key) => own.push(key),
                    TokenKey::Published(keys) => published.push(keys),
                }
            }
            Ok(Some(Tokens::new(own, published, audience, issuer)))
        })?;
        fields.finish()?;
        Ok(tokens.flatten())
    };
    Ok(fields.with("auth", read)?.flatten())
}

enum TokenKey {
    Own(tokens::Key),
    Published(Jwks),
}

fn token_key(value: Json, folder: &Path) -> Result<TokenKey, Error> {
    let mut fields = Fields::of(value)?;
    let algorithm = fields.need("algorithm", Fields::text)?;
    let kid = fields.text("kid")?;
    let (secret, file, jwks) =
        (fields.text("secret")?, fields.text("file")?, fields.with("jwks_url", hook_url)?);
    fields.finish()?;
    let (name, material) = match (secret, file, jwks) {
        (Some(secret), None, None) => ("secret", secret.into_bytes()),
        (None, Some(file), None) => {
            let path = folder.join(&file);
            let material = fs::read(&path).map_err(|error| {
                Error::of(Code::InvalidField, "file", format!("{} cannot be read: {error}", path.display()))
            })?;
            // A line's end is no part of a secret.
            ("file", material.trim_ascii_end().to_vec())
        }
        (None, None, Some(url)) => {
            if algorithm == "HS256" {
                return Err(Error::of(Code::InvalidField, "jwks_url", "cannot have a secret of HS256"));
            }
            let algorithm = tokens::algorithm(&algorithm)
                .map_err(|why| Error::of(Code::InvalidField, "algorithm", why))?;
            let jwks =
                Jwks::new(algorithm, url).map_err(|why| Error::of(Code::InvalidField, "jwks_url", why));
            return jwks.map(TokenKey::Published);
        }
        _ => {
            let message = "exactly one of it, `file` and `jwks_url` must be there";
            return Err(Error::of(Code::MissingField, "secret", message));
        }
    };
    let key = tokens::Key::new(&algorithm, kid, &material);
    key.map(TokenKey::Own).map_err(|why| Error::of(Code::InvalidField, name, why))
}

fn read_hooks(value: Json) -> Result<HookSettings, Error> {
    let mut fields = Fields::of(value)?;
    let mut secrets = Secrets::default();
    let add = |value| {
        let secret = crate::ops::fields::text(value)?;
        let mut one = Secrets::default();
        one.add(&secret).map_err(|why| Error::new(Code::InvalidField, why))?;
        Ok(secret)
    };
    for secret in fields.list("secrets", add)?.unwrap_or_default() {
        // It has just been looked at.
        let _ = secrets.add(&secret);
    }
    let positive = |fields: &mut Fields, name: &'static str| match fields.need(name, Fields::number)? {
        0 => Err(Error::of(Code::InvalidField, name, "must be at least 1")),
        number => Ok(number),
    };
    let calls = hooks::Settings {
        secrets,
        timeout: Duration::from_millis(positive(&mut fields, "timeout_ms")?),
        concurrency: usize::try_from(positive(&mut fields, "concurrency")?)
            .unwrap_or(usize::MAX)
            .min(100_000),
        retries: u32::try_from(fields.need("retries", Fields::number)?).unwrap_or(u32::MAX),
    };
    let connect = |value| {
        let mut fields = Fields::of(value)?;
        let url = fields.with("url", hook_url)?;
        let headers = fields.list("headers", |value| Ok(crate::ops::fields::text(value)?.to_lowercase()))?;
        fields.finish()?;
        Ok(url.map(|url| ConnectHook { url, headers: headers.unwrap_or_default() }))
    };
    let disconnect = |value| {
        let mut fields = Fields::of(value)?;
        let url = fields.with("url", hook_url)?;
        fields.finish()?;
        Ok(url)
    };
    let settings = HookSettings {
        calls,
        connect: fields.with("connect", connect)?.flatten(),
        disconnect: fields.with("disconnect", disconnect)?.flatten(),
    };
    fields.finish()?;
    Ok(settings)
}

fn hook_url(value: Json) -> Result<HookUrl, Error> {
    HookUrl::new(&crate::ops::fields::text(value)?).map_err(|why| Error::new(Code::InvalidField, why))
}

fn read_rules(fields: &mut Fields) -> Result<Rules, Error> {
    let rules = fields.list("rules", rule)?.unwrap_or_default();
    let public = fields.list("public_rooms", pattern)?.unwrap_or_default();
    Ok(Rules::new(rules, public))
}

fn pattern(value: Json) -> Result<Pattern, Error> {
    crate::ops::fields::text(value).map(|text| Pattern::new(&text))
}

fn rate(value: Json) -> Result<Rate, Error> {
    let rate = value.as_u64().and_then(|rate| u32::try_from(rate).ok()).and_then(Rate::per_second);
    rate.ok_or_else(|| Error::new(Code::InvalidField, "must be a whole number, at least 1"))
}

fn rule(value: Json) -> Result<Rule, Error> {
    let mut fields = Fields::of(value)?;
    let namespace = fields.with("namespace", namespace)?.unwrap_or_else(|| "/".to_owned());
    let event = fields.need("event", |fields, name| fields.with(name, pattern))?;
    let action = fields.need("action", |fields, name| {
        fields.with(name, |value| word(value, &[("hook", "hook"), ("relay", "relay"), ("drop", "drop")]))
    })?;
    let url = fields.with("url", hook_url)?;
    let action = match (action, url) {
        ("hook", Some(url)) => Action::Hook(url),
        ("hook", None) => {
            return Err(Error::of(Code::MissingField, "url", "is missing: where is the backend?"));
        }
        (_, Some(_)) => return Err(Error::of(Code::InvalidField, "url", "is for the action `hook` only")),
        ("relay", None) => Action::Relay,
        (_, None) => Action::Drop,
    };
    let rate = fields.with("events_per_second", rate)?;
    let max_bytes = fields.number("max_bytes")?.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let rooms = fields.list("rooms", pattern)?;
    fields.finish()?;
    Ok(Rule { namespace, event, action, rate, max_bytes, rooms })
}

/// The file with all defaults and what each setting is for. Settings without a default are commented out.
pub(crate) fn commented_default() -> String {
    let mut out = String::from(
        "# Patio's configuration. Every setting with one value can also be given as a flag (--redis-url) or as a\n\
         # variable (PATIO_REDIS_URL): flags count before variables, variables before this file.\n",
    );
    let mut table = "";
    for setting in &SETTINGS {
        let (inside, name) = setting.path.rsplit_once('.').unwrap_or(("", setting.path));
        if inside != table {
            table = inside;
            let _ = write!(out, "\n[{table}]\n");
        }
        let _ = match setting.default {
            "" => write!(out, "\n# {}.\n# {name} = {}\n", setting.help, example(setting)),
            default => write!(out, "\n# {}.\n{name} = {default}\n", setting.help),
        };
    }
    out + LISTS
}

fn example(setting: &Setting) -> &'static str {
    match setting.kind {
        Kind::Text => "\"…\"",
        Kind::Number => "1",
        Kind::Flag => "true",
        Kind::List => "[]",
    }
}

/// What only the file can say.
const LISTS: &str = r#"
# Whose tokens count. Each key is good for its algorithm only: HS256 (a secret of at least 32 bytes, or a file with it),
# RS256, ES256, EdDSA (a file with the public key in PEM, or `jwks_url`, where an identity provider publishes its keys).
# [[auth.jwt.keys]]
# algorithm = "HS256"
# secret = "…"

# Who may use the API: a key by its SHA-256 digest (or in clear, as `key`), and what for: publish, query, admin.
# [[api_keys]]
# name = "the shop's backend"
# sha256 = "…"
# scopes = ["publish", "query"]

# What becomes of events that clients send: the first rule that fits counts, and without one an event is refused. `hook`
# calls the backend at `url`; `relay` passes it on to the rooms that its sender is in, or to those of them that `rooms`
# names; `drop` ignores it.
# [[rules]]
# namespace = "/"
# event = "cursor:*"
# action = "relay"
# events_per_second = 20
# max_bytes = 1000
# rooms = ["board:*"]
"#;

/// The settings, for the command line: path, flag, help, default, whether it is a switch.
pub(crate) fn flags() -> impl Iterator<Item = (&'static str, String, String, bool)> {
    SETTINGS.iter().map(|setting| {
        let variable = setting.variable();
        let default = match setting.default {
            "" => String::new(),
            default => format!(", default: {}", default.trim_matches('"')),
        };
        let secret =
            if setting.is_secret() { "; better in the variable, which others cannot see" } else { "" };
        let help = format!("{}{secret} [{variable}{default}]", setting.help);
        (setting.path, setting.flag(), help, setting.kind == Kind::Flag)
    })
}

#[cfg(test)]
mod tests;
