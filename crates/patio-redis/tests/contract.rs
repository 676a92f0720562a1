//! The contract suite of all adapters, with three servers on a real Redis.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{
    collections::BTreeSet,
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
use server::{Redis, cluster::Cluster};

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

/// The cases that ask for acks of other servers' sockets, or talk to servers.
const NOT_IN_6: [&str; 16] = [
    "all_acks_come",
    "binary_acks_stay_binary",
    "nobody_asked_is_no_answer",
    "slow_acks_come",
    "a_silent_socket_of_another_server_is_counted",
    "a_silent_socket_of_this_server_is_named",
    "a_socket_that_leaves_is_not_awaited",
    "a_late_ack_is_ignored",
    "an_ack_of_one_other_socket",
    "acks_with_except",
    "questions_are_forgotten",
    "a_dropped_question_is_forgotten",
    "two_questions_do_not_mix",
    "an_event_reaches_the_other_servers_only",
    "other_servers_answer",
    "a_silent_server_is_counted",
];

/// The cases that fetch sockets, or change or leave out the members of rooms.
const NOT_IN_5_EITHER: [&str; 15] = [
    "a_broadcast_except_a_room",
    "a_broadcast_to_a_room_except_another",
    "everyone_joins",
    "members_of_a_room_join",
    "everyone_leaves",
    "members_of_a_room_leave",
    "everyone_is_disconnected",
    "members_of_a_room_are_disconnected_with_their_connections",
    "a_packet_precedes_the_disconnection",
    "all_sockets_are_fetched_once",
    "sockets_of_a_room_are_fetched",
    "one_socket_is_fetched_by_id",
    "sockets_are_counted",
    "queries_at_once_do_not_mix",
    "a_closed_server_is_gone",
];

/// Panics unless all cases ran, and all passed but these.
fn assert_lacks(report: &Report, lacking: &[&str]) {
    let (failed, lacking): (BTreeSet<_>, BTreeSet<_>) =
        (report.failed().into_iter().collect(), lacking.iter().copied().collect());
    assert_eq!(failed, lacking);
    assert_eq!(report.outcomes.len(), all());
}

#[tokio::test]
async fn version_6() {
    let redis = Redis::start();
    let url = redis.url();
    let report = outcome(move |key| PubSub::builder(&url).key(key).dialect(Dialect::V6)).await;
    assert_lacks(&report, &NOT_IN_6);
}

#[tokio::test]
async fn version_5() {
    let redis = Redis::start();
    let url = redis.url();
    let report = outcome(move |key| PubSub::builder(&url).key(key).dialect(Dialect::V5)).await;
    assert_lacks(&report, &[&NOT_IN_6[..], &NOT_IN_5_EITHER].concat());
}

/// All adapters on a Redis Cluster. Each channel and each stream may be on another of its servers.
#[tokio::test]
async fn on_a_cluster() {
    let cluster = Cluster::start();
    let options = ConnectOptions::cluster(cluster.urls());
    let here = options.clone();
    let build = move |key: &str| Sharded::builder(here.clone()).channel_prefix(key).build().unwrap();
    contract(build).settle(BESIDE).run_all().await.assert_passed(all());
    let here = options.clone();
    let recovering = contract(move |key| {
        let builder = Streams::builder(here.clone()).stream_name(key).channel_prefix(key).stream_count(3);
        let streams = builder.session_key_prefix(key).sharded_pub_sub(true).build().unwrap();
        streams.enable_recovery(Duration::from_secs(120));
        streams
    });
    recovering.loops_back().settle(BESIDE).run_all().await.assert_passed(recovering_cases());
    // Messages pass between servers of the cluster on a way of their own.
    let report = contract(move |key| PubSub::builder(options.clone()).key(key).build().unwrap());
    report.settle(BESIDE).run_all().await.assert_passed(all());
}
