//! The contract suite of all adapters, with three servers on a real Redis.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use patio_adapter::{
    AdapterFactory,
    contract::{CASES, Contract, Needs, Report},
};
use patio_redis::{
    ConnectOptions, Dialect, PubSub, PubSubBuilder, Sharded, Streams, StreamsBuilder, StreamsVersion,
    SubscriptionMode, Subscriptions,
};
use server::Redis;

/// What three servers do, each case with a key of its own.
fn contract<F: AdapterFactory>(build: impl Fn(&str) -> F + Send + Sync + 'static) -> Contract {
    let cases = AtomicUsize::new(0);
    Contract::new(move || {
        let key = format!("case-{}", cases.fetch_add(1, Relaxed));
        let servers = (0..3).map(|_| Arc::new(build(&key)) as Arc<dyn AdapterFactory>).collect();
        ready(servers)
    })
}

async fn outcome(builder: impl Fn(&str) -> PubSubBuilder + Send + Sync + 'static) -> Report {
    contract(move |key| builder(key).build().unwrap()).run_all().await
}

fn all() -> usize {
    CASES.iter().filter(|case| matches!(case.needs, Needs::Any | Needs::Three | Needs::Immediate)).count()
}

fn recovering_cases() -> usize {
    CASES.iter().filter(|case| case.needs != Needs::Immediate).count()
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

/// Servers that hear only of the rooms that they hold.
#[tokio::test]
async fn version_8_with_exact_subscriptions() {
    let redis = Redis::start();
    let url = redis.url();
    let exact = move |key: &str| PubSub::builder(&url).key(key).subscriptions(Subscriptions::Exact);
    outcome(exact).await.assert_passed(all());
}

#[tokio::test]
async fn version_7_with_exact_subscriptions_over_resp2() {
    let redis = Redis::start();
    let options = ConnectOptions::url(redis.url()).resp2();
    let exact = move |key: &str| {
        let builder = PubSub::builder(options.clone()).dialect(Dialect::V7).key(key);
        builder.subscriptions(Subscriptions::Exact)
    };
    outcome(exact).await.assert_passed(all());
}

fn streams(builder: impl Fn(&str) -> StreamsBuilder + Send + Sync + 'static) -> Contract {
    contract(move |key| builder(key).stream_name(key).channel_prefix(key).build().unwrap())
}

#[tokio::test]
async fn streams_0_3() {
    let redis = Redis::start();
    let url = redis.url();
    let report = streams(move |_| Streams::builder(&url)).settle(BESIDE).run_all().await;
    report.assert_passed(all());
}

#[tokio::test]
async fn streams_0_2() {
    let redis = Redis::start();
    let url = redis.url();
    let old = move |_: &str| Streams::builder(&url).version(StreamsVersion::V0_2);
    let report = streams(old).run_all().await;
    report.assert_passed(all());
}

#[tokio::test]
async fn streams_with_recovery() {
    let redis = Redis::start();
    let url = redis.url();
    let recovering = contract(move |key| {
        let builder = Streams::builder(&url).stream_name(key).channel_prefix(key).session_key_prefix(key);
        let streams = builder.sharded_pub_sub(true).build().unwrap();
        streams.enable_recovery(Duration::from_secs(120));
        streams
    });
    let report = recovering.loops_back().settle(BESIDE).run_all().await;
    report.assert_passed(recovering_cases());
}

/// For what goes by another way than the fences of the suite.
const BESIDE: Duration = Duration::from_millis(20);

/// Over sharded pub/sub. Rooms may have channels of their own.
async fn sharded(mode: SubscriptionMode) {
    let redis = Redis::start();
    let url = redis.url();
    let build =
        move |key: &str| Sharded::builder(&url).channel_prefix(key).subscription_mode(mode).build().unwrap();
    contract(build).run_all().await.assert_passed(all());
}

#[tokio::test]
async fn sharded_static() {
    sharded(SubscriptionMode::Static).await;
}

#[tokio::test]
async fn sharded_dynamic() {
    sharded(SubscriptionMode::Dynamic).await;
}

#[tokio::test]
async fn sharded_dynamic_private() {
    sharded(SubscriptionMode::DynamicPrivate).await;
}
