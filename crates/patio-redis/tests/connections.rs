//! Ways to Redis: with a login and no more rights than README names, by a socket of Unix, with TLS, by sentinels.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{fs, path::Path, time::Duration};

use patio_adapter::{
    AdapterFactory, BroadcastOptions, Payload, Room, SessionRecord, contract::namespace::Happened,
};
use patio_redis::{ConnectOptions, Emitter, PubSub, Sharded, Store, Streams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use server::{Node, Redis, eventually, free_port};

fn everyone() -> BroadcastOptions {
    BroadcastOptions::everyone()
}

/// How many events a socket got.
fn events(node: &Node) -> usize {
    let socket = node.namespace.socket(&Room::from("a-socket-of-20-chars"));
    let log = socket.map(|socket| socket.log).unwrap_or_default();
    log.iter().filter(|happened| matches!(happened, Happened::Event { .. })).count()
}

/// Two servers and an emitter that connect so do all that needs a right in Redis.
async fn works(options: ConnectOptions) {
    PubSub::connect(options.clone()).await.unwrap();
    let build = || PubSub::builder(options.clone()).build().unwrap();
    works_with(&build(), &build(), PubSub::builder(options.clone()).emitter().unwrap()).await;
}

async fn works_with(one: &dyn AdapterFactory, other: &dyn AdapterFactory, emitter: Emitter) {
    let (one, other) = (Node::join(one, "/").await, Node::join(other, "/").await);
    other.namespace.connect(&Room::from("a-socket-of-20-chars"), &["room"]);
    let event = Payload::event("event", &1).unwrap();
    one.adapter.broadcast_confirmed(&event, &BroadcastOptions::to("room")).await.unwrap();
    eventually("the event", || events(&other) == 1).await;
    assert_eq!(one.adapter.fetch_sockets(&everyone()).await.unwrap().sockets.len(), 1);
    assert_eq!(one.adapter.count(&everyone()).await.unwrap().sockets, 1);
    assert_eq!(one.adapter.server_count().await.unwrap(), 2);
    emitter.to("room").emit("event", &2).await.unwrap();
    eventually("the emitter's event", || events(&other) == 2).await;
    one.adapter.close().await;
    other.adapter.close().await;
    assert_eq!(one.adapter.stats().failed_publishes, 0);
}

#[tokio::test]
async fn a_user_needs_the_rights_that_readme_names() {
    let redis = Redis::start();
    let grant = |name: &str, password: &str, before: &str| {
        let readme = include_str!("../../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, after) = readme.split_once(&format!("{before} `")).unwrap();
        let (rights, _) = after.split_once('`').unwrap();
        let user = ["ACL", "SETUSER", name, "on", password, "resetkeys", "resetchannels", "-@all"];
        redis.command(&[&user[..], &rights.split(' ').collect::<Vec<_>>()].concat());
        ConnectOptions::url(redis.url()).username(name).password(password.trim_start_matches('>'))
    };
    grant("patio", ">secret", "if you restrict it by an ACL:");
    works(ConnectOptions::url(redis.url()).username("patio").password("secret")).await;
    let emitter = Emitter::new(grant("emitter", "nopass", "An emitter needs")).unwrap();
    emitter.emit("event", &1).await.unwrap();
    let options = grant("sharded", "nopass", "`Sharded` needs");
    let sharded = || Sharded::builder(options.clone());
    works_with(&sharded().build().unwrap(), &sharded().build().unwrap(), sharded().emitter().unwrap()).await;
    redis.command(&["ACL", "SETUSER", "sharded", "-pubsub|shardnumsub"]);
    assert!(sharded().connect().await.is_err_and(|error| error.to_string().contains("no sharded pub/sub")));
    let options = grant("streams", "nopass", "`Streams` needs");
    let streams = || Streams::builder(options.clone());
    works_with(&streams().build().unwrap(), &streams().build().unwrap(), streams().emitter().unwrap()).await;
    let recovering = streams().build().unwrap();
    recovering.enable_recovery(Duration::from_secs(60));
    let node = Node::join(&recovering, "/").await;
    let session = SessionRecord {
        sid: "sid".into(),
        pid: "pid".into(),
        rooms: Vec::new(),
        data: serde_json::json!({}),
    };
    node.adapter.persist(session);
    let last = redis.command(&["XREVRANGE", "socket.io", "+", "-", "COUNT", "1"]);
    let offset = last.lines().next().unwrap();
    eventually("the session", || redis.command(&["EXISTS", "sio:session:pid"]) == "1").await;
    assert!(node.adapter.restore("pid", offset).await.is_some());
    works(format!("redis://patio:secret@127.0.0.1:{}", redis.port).into()).await;
    let wrong = ConnectOptions::url(redis.url()).username("patio").password("wrong");
    let refused = PubSub::connect(wrong).await.err().unwrap();
    assert!(!format!("{refused:?}").contains("wrong"), "{refused:?}");
}

#[tokio::test]
async fn a_namespace_that_may_not_subscribe_takes_no_other_down() {
    let redis = Redis::start();
    let rights = ["&socket.io*", "&socket.io#/#*", "+@all"];
    redis.command(&[&["ACL", "SETUSER", "patio", "on", "nopass", "resetchannels"][..], &rights].concat());
    let options = || ConnectOptions::url(redis.url()).username("patio").password("any");
    let (one, other) = (PubSub::connect(options()).await.unwrap(), PubSub::connect(options()).await.unwrap());
    let (one, other) = (Node::join(&one, "/").await, {
        let main = Node::join(&other, "/").await;
        // Its pattern is not among the rights.
        let _chat = Node::join(&other, "/chat").await;
        main
    });
    other.namespace.connect(&Room::from("a-socket-of-20-chars"), &[]);
    one.adapter.broadcast(&Payload::event("event", &1).unwrap(), &everyone()).unwrap();
    eventually("the event", || events(&other) == 1).await;
    assert_eq!(one.adapter.server_count().await.unwrap(), 2);
}

#[tokio::test]
async fn by_a_socket_of_unix() {
    let redis = Redis::with(|folder| words(&["--unixsocket".to_owned(), path(folder, "redis.sock")]));
    works(format!("unix://{}", path(redis.folder.path(), "redis.sock")).into()).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn with_tls_and_certificates_of_both_sides() {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (server, client) = (signed("localhost"), signed("patio"));
    let port = free_port();
    let _redis = Redis::with(|folder| {
        for (name, pem) in [("ca", authority.pem()), ("cert", server.0), ("key", server.1)] {
            fs::write(folder.join(name), pem).unwrap();
        }
        let port = port.to_string();
        let files = ["--tls-ca-cert-file", "ca", "--tls-cert-file", "cert", "--tls-key-file", "key"];
        words(&[&["--tls-port".to_owned(), port][..], &words(&files)].concat())
    });
    let url = format!("rediss://localhost:{port}");
    let trusting = ConnectOptions::url(&url).root_certificates(authority.pem());
    works(trusting.clone().client_certificate(client.0, client.1)).await;
    assert!(PubSub::connect(&url).await.is_err(), "nobody signed for this authority");
    assert!(PubSub::connect(trusting).await.is_err(), "the server wants to know its clients");
}

#[tokio::test]
async fn a_failover_of_sentinels_is_followed() {
    let mut master = Redis::start();
    let replica = Redis::with(|_| words(&["--replicaof", "127.0.0.1", &master.port.to_string()]));
    let sentinel = Redis::with(|folder| {
        let config = format!(
            "sentinel monitor mymaster 127.0.0.1 {} 1\nsentinel down-after-milliseconds mymaster 300\n\
             sentinel failover-timeout mymaster 1000\n",
            master.port
        );
        fs::write(folder.join("redis.conf"), config).unwrap();
        words(&["--sentinel"])
    });
    eventually("the replica", || sentinel.command(&["SENTINEL", "REPLICAS", "mymaster"]).contains("slave"))
        .await;
    eventually("its link", || replica.command(&["INFO", "replication"]).contains("master_link_status:up"))
        .await;
    let options = || ConnectOptions::sentinel([format!("127.0.0.1:{}", sentinel.port)], "mymaster");
    works(options()).await;

    let one = Node::join(&PubSub::connect(options()).await.unwrap(), "/").await;
    let other = Node::join(&PubSub::connect(options()).await.unwrap(), "/").await;
    other.namespace.connect(&Room::from("a-socket-of-20-chars"), &[]);
    master.stop();
    let began = std::time::Instant::now();
    let event = Payload::event("event", &1).unwrap();
    while events(&other) == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing comes");
        let _ = one.adapter.broadcast(&event, &everyone());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(one.adapter.server_count().await.unwrap(), 2);
    assert!(replica.command(&["INFO", "replication"]).contains("role:master"));
}

fn words(words: &[impl AsRef<str>]) -> Vec<String> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

fn path(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

#[tokio::test]
async fn a_store_shares_values_for_a_time() {
    let mut redis = Redis::start();
    let [one, other] = [(); 2].map(|()| Store::new(redis.url(), "shared:").unwrap());
    let minute = Duration::from_secs(60);
    assert_eq!(one.claim("a", b"1", minute).await.unwrap(), None);
    assert_eq!(other.claim("a", b"2", minute).await.unwrap(), Some(b"1".to_vec()));
    one.put("a", b"3", minute).await.unwrap();
    assert_eq!(other.get("a").await.unwrap(), Some(b"3".to_vec()));
    let left: u64 = redis.command(&["PTTL", "shared:a"]).trim().parse().unwrap();
    assert!((50_000..=60_000).contains(&left), "{left} ms");
    other.remove("a").await.unwrap();
    assert_eq!(one.get("a").await.unwrap(), None);
    // When Redis has been away, it connects again.
    redis.stop();
    assert!(one.get("a").await.is_err());
    redis.restart();
    assert_eq!(one.claim("a", b"4", minute).await.unwrap(), None);
}
