//! `/metrics`, for Prometheus: what the library, the adapter and the hooks count, read when it is asked for.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    api::keys::{Keys, Scope},
    clients::Clients,
    ops::Error,
};
use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use patio::{NamespaceHandle, Server, adapter::counters::Stats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Who may read them: whoever reaches an address of their own, or has a key for questions.
#[derive(Clone, Debug)]
pub(crate) enum Readers {
    Everybody,
    With(Keys),
}

/// `/metrics`
pub(crate) fn router(io: Server, clients: Arc<Clients>, readers: Readers) -> Router {
    let mut registry = Registry::with_prefix("patio");
    registry.register_collector(Box::new(Source { io, clients }));
    Router::new().route("/metrics", get(metrics)).with_state((Arc::new(registry), readers))
}

async fn metrics(
    State((registry, readers)): State<(Arc<Registry>, Readers)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    if let Readers::With(keys) = readers {
        keys.check(headers.get(AUTHORIZATION).map(|value| value.as_bytes()), Scope::Query)?;
    }
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("memory takes everything");
    Ok(([(CONTENT_TYPE, TYPE)], out).into_response())
}

struct Source {
    io: Server,
    clients: Arc<Clients>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        gauge(encoder, "connections", "Clients that are connected", self.io.engine().clients_count())?;
        for (name, value) in self.io.counters().iter() {
            counter(
                encoder,
                name,
                "Since the start; see CounterSnapshot in the library's documentation",
                value,
            )?;
        }
        let namespaces: Vec<_> = self.io.namespaces().iter().map(|name| self.io.of(name)).collect();
        let of_all = |value: fn(&NamespaceHandle) -> u64| -> Vec<_> {
            namespaces.iter().map(|namespace| (namespace.name().to_owned(), value(namespace))).collect()
        };
        family(
            encoder,
            "sockets",
            "Sockets of this server",
            "namespace",
            false,
            &of_all(|one| one.len() as u64),
        )?;
        family(
            encoder,
            "rooms",
            "Rooms with members on this server",
            "namespace",
            false,
            &of_all(|one| one.rooms().len() as u64),
        )?;
        let stats: Vec<_> =
            namespaces.iter().map(|one| (one.name().to_owned(), one.adapter_stats())).collect();
        let names: Vec<_> =
            stats.first().into_iter().flat_map(|(_, stats)| stats.iter().map(|(name, _)| name)).collect();
        for (n, name) in names.into_iter().enumerate() {
            let value = |stats: &Stats| stats.iter().nth(n).map_or(0, |(_, value)| value);
            let values: Vec<_> = stats.iter().map(|(name, stats)| (name.clone(), value(stats))).collect();
            let help = "Of the adapter, since the start; see Stats in the library's documentation";
            family(encoder, &format!("adapter_{name}"), help, "namespace", true, &values)?;
        }
        let refusals: Vec<_> =
            self.clients.refusals.lock().iter().map(|(code, times)| ((*code).to_owned(), *times)).collect();
        family(
            encoder,
            "refusals",
            "What clients were refused, by the code that they read",
            "code",
            true,
            &refusals,
        )?;
        if let Some(hooks) = &self.clients.hooks {
            let counters = hooks.counters();
            for (name, help, value) in [
                ("hook_calls", "Calls of backends, repeated ones included", &counters.calls),
                ("hook_failures", "Calls that failed, or whose answer was wrong", &counters.failures),
                ("hook_repeats", "Calls that were made again", &counters.repeats),
                (
                    "hook_dropped",
                    "Messages that were given up, or never sent because too many waited",
                    &counters.dropped,
                ),
                ("hook_milliseconds", "How long calls have taken, all together", &counters.millis),
            ] {
                counter(encoder, name, help, value.load(Relaxed))?;
            }
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

/// A value for each namespace, or whatever else its label names.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    only_grows: bool,
    values: &[(String, u64)],
) -> fmt::Result {
    let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let kind = if only_grows { ConstCounter::new(0u64).metric_type() } else { gauge(0).metric_type() };
    let mut descriptor = encoder.encode_descriptor(name, help, None, kind)?;
    for (named, value) in values {
        let labels = [(label, named.as_str())];
        let metric = descriptor.encode_family(&labels)?;
        match only_grows {
            true => ConstCounter::new(*value).encode(metric)?,
            false => gauge(*value).encode(metric)?,
        }
    }
    Ok(())
}
