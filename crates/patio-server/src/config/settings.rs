//! Every setting that has one value, described once: flags, variables, known keys and the commented default come from here.

use serde_json::Value as Json;

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    /// Texts; in flags and variables separated by commas.
    List,
}

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its place in the file, with dots between tables.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// As in the file. Empty: there is none.
    pub(super) default: &'static str,
    /// One sentence without its full stop.
    pub(super) help: &'static str,
}

const fn setting(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { path, kind, default, help }
}

use Kind::{Flag, List, Number, Text};

/// All of them, tables together.
pub(super) const SETTINGS: [Setting; 29] = [
    setting(
        "listen",
        Text,
        "\"127.0.0.1:3000\"",
        "Where clients connect: an address or name with a port; port 0 takes a free one",
    ),
    setting(
        "internal_listen",
        Text,
        "",
        "Where the API and the probes for health are; without it they are where clients connect",
    ),
    setting(
        "insecure",
        Flag,
        "false",
        "Start without authentication or allowed origins, though not on a loopback address",
    ),
    setting(
        "demo",
        Flag,
        "",
        "Serve the chat page; without it, that is done if there is neither authentication nor a rule",
    ),
    setting("namespaces", List, "[\"/\"]", "The namespaces that there are"),
    setting(
        "allowed_origins",
        List,
        "[]",
        "Pages of which origins may connect, such as https://example.com; * is all",
    ),
    setting(
        "public_rooms",
        List,
        "[]",
        "Rooms that clients may enter and leave by themselves, with * for any text",
    ),
    setting(
        "trusted_proxies",
        List,
        "[]",
        "Proxies whose X-Forwarded-For is believed: addresses or networks such as 10.0.0.0/8",
    ),
    setting(
        "drain_seconds",
        Number,
        "10",
        "How long clients are released for when the server ends, in seconds",
    ),
    setting("log.format", Text, "\"text\"", "How the log is written: text or json"),
    setting(
        "log.level",
        Text,
        "\"warn\"",
        "What is logged: error, warn, info, debug, trace, or filters of tracing",
    ),
    setting(
        "redis.url",
        Text,
        "",
        "The Redis by which several servers are one: redis://, rediss:// or unix://",
    ),
    setting("redis.adapter", Text, "\"pubsub\"", "How they use it: pubsub, sharded or streams"),
    setting(
        "redis.prefix",
        Text,
        "\"socket.io\"",
        "What the names of their channels begin with; the `key` of Node's adapters",
    ),
    setting("limits.connections", Number, "", "The most clients at once; without it there is no limit"),
    setting(
        "limits.events_per_second",
        Number,
        "200",
        "The most events of one socket in a second, whatever they are",
    ),
    setting(
        "limits.bytes_per_second",
        Number,
        "4000000",
        "The most bytes of events of one socket in a second",
    ),
    setting("limits.message_bytes", Number, "1000000", "The most bytes of one message of a client"),
    setting("limits.api_body_bytes", Number, "4000000", "The most bytes of one request to the API"),
    setting("limits.api_operations", Number, "1000", "The most operations of one request to the API"),
    setting("auth.jwt.audience", Text, "", "The audience (aud) that tokens must be for"),
    setting("auth.jwt.issuer", Text, "", "The issuer (iss) that tokens must be from"),
    setting(
        "hooks.secrets",
        List,
        "[]",
        "What calls of the backend are signed with, as Standard Webhooks: whsec_ and base-64",
    ),
    setting("hooks.timeout_ms", Number, "5000", "How long such a call may take, in milliseconds"),
    setting("hooks.concurrency", Number, "64", "How many calls one address gets at once"),
    setting("hooks.retries", Number, "5", "How often a call that nobody waits for is repeated"),
    setting("hooks.connect.url", Text, "", "Where the backend is asked who may connect"),
    setting(
        "hooks.connect.headers",
        List,
        "[\"user-agent\"]",
        "Which headers of a client the backend sees then",
    ),
    setting("hooks.disconnect.url", Text, "", "Where the backend is told who has gone"),
];

impl Setting {
    /// Its flag, without the dashes.
    pub(super) fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// Its variable.
    pub(super) fn variable(&self) -> String {
        format!("PATIO_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// What was typed, as what the file would have. Error: what it must be.
    pub(super) fn read(&self, typed: &str) -> Result<Json, String> {
        Ok(match self.kind {
            Text => typed.into(),
            Number => {
                let number: u64 =
                    typed.trim().parse().map_err(|_| format!("must be a whole number, not `{typed}`"))?;
                number.into()
            }
            Flag => match typed.trim() {
                "true" | "1" | "yes" => true.into(),
                "false" | "0" | "no" => false.into(),
                _ => return Err(format!("must be true or false, not `{typed}`")),
            },
            List => typed.split(',').map(str::trim).filter(|text| !text.is_empty()).collect(),
        })
    }

    /// Whether it should not be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.path == "redis.url"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_come_from_paths() {
        let setting = SETTINGS.iter().find(|setting| setting.path == "limits.api_body_bytes").unwrap();
        assert_eq!(
            (setting.flag().as_str(), setting.variable().as_str()),
            ("limits-api-body-bytes", "PATIO_LIMITS_API_BODY_BYTES")
        );
        assert_eq!(setting.read("5").unwrap(), 5);
        assert!(setting.read("-5").is_err());
        let list = SETTINGS.iter().find(|setting| setting.kind == List).unwrap();
        assert_eq!(list.read("a, b,,").unwrap(), json!(["a", "b"]));
    }
}
