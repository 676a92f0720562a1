//! The contract suite of all adapters, with three servers on a real Redis.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use patio_adapter::{
    AdapterFactory,
    contract::{CASES, Contract, Needs, Report},
};
use patio_redis::{ConnectOptions, Dialect, PubSub, PubSubBuilder};
use server::Redis;

/// What three servers do, each case with a key of its own.
async fn outcome(builder: impl Fn(&str) -> PubSubBuilder + Send + Sync + 'static) -> Report {
    let cases = AtomicUsize::new(0);
    let contract = Contract::new(move || {
        let builder = builder(&format!("case-{}", cases.fetch_add(1, Relaxed)));
        async move {
            let mut servers: Vec<Arc<dyn AdapterFactory>> = Vec::new();
            for _ in 0..3 {
                servers.push(Arc::new(builder.clone().connect().await.unwrap()));
            }
            servers
        }
    });
    contract.run_all().await
}

fn all() -> usize {
    CASES.iter().filter(|case| matches!(case.needs, Needs::Any | Needs::Three | Needs::Immediate)).count()
}

#[tokio::test]
async fn version_8() {
    let redis = Redis::start();
    let url = redis.url();
    outcome(move |key| PubSub::builder(&url).key(key)).await.assert_passed(all());
}

#[tokio::test]
async fn version_8_with_specific_responses() {
    let redis = Redis::start();
    let url = redis.url();
    let specific = move |key: &str| PubSub::builder(&url).key(key).publish_on_specific_response_channel(true);
    outcome(specific).await.assert_passed(all());
}

#[tokio::test]
async fn version_7() {
    let redis = Redis::start();
    let url = redis.url();
    outcome(move |key| PubSub::builder(&url).key(key).dialect(Dialect::V7)).await.assert_passed(all());
}

/// Over the older protocol of Redis.
#[tokio::test]
async fn version_8_over_resp2() {
    let redis = Redis::start();
    let url = redis.url();
    outcome(move |key| PubSub::builder(ConnectOptions::url(&url).resp2()).key(key))
        .await
        .assert_passed(all());
}
