//! How a session opens, and every way in which a request is refused.

#![cfg(all(feature = "serve", feature = "v3"))]

#[expect(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderValue, request::Parts};
use patio::{Cookie, Cors, Transport};
use serde_json::json;
use support::{PollingClient, Response, Server, V3, V4, WsClient, target};
use tokio::sync::mpsc;

const UNKNOWN_TRANSPORT: (u16, &str) = (400, r#"{"code":0,"message":"Transport unknown"}"#);
const UNKNOWN_SID: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const BAD_METHOD: (u16, &str) = (400, r#"{"code":2,"message":"Bad handshake method"}"#);
const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);
const FORBIDDEN: (u16, &str) = (403, r#"{"code":4,"message":"Forbidden"}"#);
const UNSUPPORTED: (u16, &str) = (400, r#"{"code":5,"message":"Unsupported protocol version"}"#);

async fn start() -> Server {
    Server::start(patio::Server::builder()).await
}

async fn upgrade(server: &Server, query: &str) -> Response {
    match server.upgrade(&target(query), &[]).await {
        Ok(_) => panic!("{query}: the upgrade was accepted"),
        Err(answer) => answer,
    }
}

#[tokio::test]
async fn the_open_packet_tells_what_node_tells() {
    let server = start().await;
    let defaults = |sid: &str, upgrades| {
        format!(
            r#"{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
    };
    for (eio, prefix) in [(V4, "0"), (V3, "118:0")] {
        let polling = server.polling(eio).await;
        let open = format!("{prefix}{}", defaults(polling.sid(), r#"["websocket"]"#));
        assert_eq!(polling.handshake.brief(), (200, &*open));
        assert_eq!(polling.sid().len(), 20);
        assert!(polling.sid().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        let ws = server.ws(eio).await;
        let open: serde_json::Value = support::json(&defaults(ws.sid(), "[]"));
        assert_eq!(ws.open, open);
    }
}

#[tokio::test]
async fn the_open_packet_follows_the_options() {
    let builder = || patio::Server::builder().max_http_buffer_size(77);
    let server = Server::start(builder().allow_upgrades(false)).await;
    let polling = server.polling(V4).await;
    assert_eq!(polling.open["upgrades"], json!([]));
    assert_eq!(polling.open["maxPayload"], json!(77));
    let server = Server::start(builder().transports([Transport::Polling])).await;
    assert_eq!(server.polling(V4).await.open["upgrades"], json!([]));
    // Nobody there knows what an upgrade is: it is a request like others.
    assert_eq!(upgrade(&server, "EIO=4&transport=websocket").await.brief(), UNKNOWN_TRANSPORT);
    let server = Server::start(builder().transports([Transport::WebSocket])).await;
    assert_eq!(server.get("EIO=4&transport=polling").await.brief(), UNKNOWN_TRANSPORT);
    assert_eq!(server.ws(V4).await.open["upgrades"], json!([]));
}

#[tokio::test]
async fn answers_have_nodes_headers() {
    let server = start().await;
    let mut polling = server.polling(V4).await;
    let handshake = &polling.handshake;
    assert_eq!(handshake.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(handshake.header("cache-control"), Some("no-store"));
    assert_eq!(handshake.header("set-cookie"), None);
    assert_eq!(handshake.header("x-xss-protection"), None);
    let posted = polling.post("40").await;
    assert_eq!(posted.header("content-type"), Some("text/html"));
    assert_eq!(posted.header("content-length"), Some("2"));
    assert_eq!(posted.header("cache-control"), Some("no-store"));
    let refused = server.get("EIO=4").await;
    assert_eq!(refused.header("content-type"), Some("application/json"));
    for agent in ["Mozilla/4.0 (compatible;MSIE 8.0)", "Mozilla/5.0 (Trident/7.0; rv:11.0)"] {
        let old = server.polling_with(V3, "", &[("user-agent", agent)]).await;
        assert_eq!(old.handshake.header("x-xss-protection"), Some("0"));
    }
}

#[tokio::test]
async fn requests_without_a_known_transport_are_refused_first() {
    let server = start().await;
    for query in [
        "",
        "EIO=4",
        "EIO=4&transport=",
        "EIO=4&transport=webtransport",
        "EIO=4&transport=constructor",
        "EIO=4&transport=polling&transport=x",
        "sid=x&EIO=4&transport=__proto__",
    ] {
        assert_eq!(server.get(query).await.brief(), UNKNOWN_TRANSPORT, "{query}");
    }
    assert_eq!(upgrade(&server, "EIO=4&transport=tobi").await.brief(), (400, "Transport unknown"));
    // The last value of a parameter wins, and values are percent-decoded.
    assert_eq!(server.get("EIO=3&EIO=4&transport=x&transport=%70olling").await.status, 200);
}

#[tokio::test]
async fn unknown_sessions_are_refused() {
    let server = start().await;
    for sid in ["unknown", "__proto__", "constructor", "%00", "../x"] {
        let query = format!("EIO=4&transport=polling&sid={sid}");
        assert_eq!(server.get(&query).await.brief(), UNKNOWN_SID, "{sid}");
        let posted = server.request("POST", &target(&query), &[], b"40").await;
        assert_eq!(posted.brief(), UNKNOWN_SID, "{sid}");
        let upgraded = upgrade(&server, &format!("EIO=4&transport=websocket&sid={sid}")).await;
        assert_eq!(upgraded.brief(), (400, "Session ID unknown"), "{sid}");
        assert_eq!(upgraded.header("content-type"), Some("text/html"));
        assert_eq!(upgraded.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn sessions_open_by_get_only() {
    let server = start().await;
    for method in ["POST", "PUT", "OPTIONS", "DELETE", "PATCH"] {
        let answer = server.request(method, &target("EIO=4&transport=polling"), &[], b"").await;
        assert_eq!(answer.brief(), BAD_METHOD, "{method}");
    }
    // Of an open session other methods are a mistake of the client that Node answers so.
    let polling = server.polling(V4).await;
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let answer = server.request(method, &polling.target(), &[], b"").await;
        assert_eq!(answer.brief(), (500, ""), "{method}");
    }
    assert_eq!(server.io.engine().clients_count(), 1);
}

#[tokio::test]
async fn a_session_keeps_its_transport_and_its_protocol() {
    let server = start().await;
    let (polling, ws) = (server.polling(V4).await, server.ws(V4).await);
    let of_ws = format!("EIO=4&transport=polling&sid={}", ws.sid());
    assert_eq!(server.get(&of_ws).await.brief(), BAD_REQUEST);
    let other = format!("EIO=3&transport=polling&sid={}", polling.sid());
    assert_eq!(server.get(&other).await.brief(), BAD_REQUEST);
    let other = format!("EIO=3&transport=websocket&sid={}", polling.sid());
    assert_eq!(upgrade(&server, &other).await.brief(), (400, "Bad request"));
    assert_eq!(server.io.engine().clients_count(), 2);
}

#[tokio::test]
async fn a_request_without_its_upgrade_header_is_told_so() {
    let server = start().await;
    let polling = server.polling(V4).await;
    for sid in [String::new(), format!("&sid={}", polling.sid())] {
        let answer = server.get(&format!("EIO=4&transport=websocket{sid}")).await;
        let told = "Bad request: the Upgrade header is missing (does a proxy remove it?)";
        assert_eq!(answer.brief(), (400, &*format!(r#"{{"code":3,"message":"{told}"}}"#)));
    }
    // A proxy may also leave the header and take away what belongs to it.
    for (headers, told) in [
        (&[("upgrade", "websocket")][..], "Connection header"),
        (&[("upgrade", "websocket"), ("connection", "upgrade")], "Sec-WebSocket-Key header"),
    ] {
        let answer = server.request("GET", &target("EIO=4&transport=websocket"), headers, b"").await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(told), "{answer:?}");
    }
    assert_eq!(server.io.engine().clients_count(), 1);
}

#[tokio::test]
async fn an_upgrade_of_the_polling_transport_is_refused() {
    let server = start().await;
    let mut polling = server.polling(V4).await;
    for sid in [String::new(), format!("&sid={}", polling.sid())] {
        let answer = upgrade(&server, &format!("EIO=4&transport=polling{sid}")).await;
        assert_eq!(answer.brief(), (400, "Bad request"));
    }
    polling.join("/").await;
}

#[tokio::test]
async fn other_versions_of_websocket_are_told_which_are_known() {
    let server = start().await;
    let headers = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "7"),
    ];
    let answer = server.request("GET", &target("EIO=4&transport=websocket"), &headers, b"").await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (400, Some("13, 8")));
}

#[tokio::test]
async fn protocol_3_is_refused_unless_it_is_allowed() {
    let server = Server::serve(patio::Server::new()).await;
    for eio in ["EIO=3&", "EIO=5&", "EIO=abc&", "EIO=&", ""] {
        let polling = server.get(&format!("{eio}transport=polling")).await;
        assert_eq!(polling.brief(), UNSUPPORTED, "{eio}");
        let ws = upgrade(&server, &format!("{eio}transport=websocket")).await;
        assert_eq!(ws.brief(), (400, "Unsupported protocol version"), "{eio}");
    }
    // What is not revision 4 is revision 3.
    let server = start().await;
    for eio in ["EIO=3&", "EIO=5&", "EIO=04&", ""] {
        let answer = server.get(&format!("{eio}transport=polling")).await;
        assert!(answer.text().starts_with("118:0{"), "{eio} {answer:?}");
    }
}

#[tokio::test]
async fn allow_request_decides_about_handshakes_only() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::start(patio::Server::builder().allow_request(move |parts: &Parts| {
        count.fetch_add(1, Ordering::Relaxed);
        let token = parts.headers.get("token").and_then(|token| token.to_str().ok()).map(str::to_owned);
        async move {
            tokio::task::yield_now().await;
            match token.as_deref() {
                Some("good") => Ok(()),
                Some(_) => Err("wrong \"token\"".to_owned()),
                None => Err("Forbidden".to_owned()),
            }
        }
    }))
    .await;
    assert_eq!(server.get("EIO=4&transport=polling").await.brief(), FORBIDDEN);
    // Over WebSocket the status is 400 whatever the code, and the body bare text.
    assert_eq!(upgrade(&server, "EIO=4&transport=websocket").await.brief(), (400, "Forbidden"));
    let bad = [("token", "bad")];
    let answer = server.request("GET", &target("EIO=4&transport=polling"), &bad, b"").await;
    assert_eq!(answer.brief(), (403, r#"{"code":4,"message":"wrong \"token\""}"#));
    let answer = server.upgrade(&target("EIO=4&transport=websocket"), &bad).await.err().unwrap();
    assert_eq!(answer.brief(), (400, "wrong \"token\""));
    assert_eq!(server.io.engine().clients_count(), 0);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // Not asked: what is wrong already, and requests of a session.
    server.get("EIO=4&transport=x").await;
    let polling = server.polling_with(V4, "", &[("token", "good")]).await;
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    assert_eq!(server.request("POST", &polling.target(), &[], b"40").await.brief(), (200, "ok"));
    server.candidate(V4, polling.sid()).await;
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn ids_can_be_made_by_the_application() {
    let server = Server::start(patio::Server::builder().generate_id(|parts: &Parts| {
        parts.headers.get("id").and_then(|id| id.to_str().ok()).map(str::to_owned)
    }))
    .await;
    let mut first = server.polling_with(V4, "", &[("id", "one")]).await;
    assert_eq!(first.sid(), "one");
    let second = server.ws_with(V4, "", &[("id", "two")]).await;
    assert_eq!(second.sid(), "two");
    // None, an empty one, one that is in use.
    for headers in [&[][..], &[("id", "")], &[("id", "one")]] {
        let answer = server.request("GET", &target("EIO=4&transport=polling"), headers, b"").await;
        assert_eq!(answer.brief(), BAD_REQUEST);
        let refused = server.upgrade(&target("EIO=4&transport=websocket"), headers).await.err().unwrap();
        assert_eq!(refused.brief(), (400, "Bad request"));
    }
    first.join("/").await;
    assert_eq!(server.io.engine().clients_count(), 2);
}

#[tokio::test]
async fn headers_can_be_changed() {
    let server = Server::start(
        patio::Server::builder()
            .initial_headers(|headers, parts| {
                headers.insert("x-initial", HeaderValue::from_str(parts.method.as_str()).unwrap());
                headers.insert("set-cookie", HeaderValue::from_static("a=b"));
            })
            .headers(|headers, _| {
                headers.insert("x-each", HeaderValue::from_static("1"));
            }),
    )
    .await;
    let mut polling = server.polling(V4).await;
    let both = |answer: &Response| {
        (answer.header("x-initial").map(str::to_owned), answer.header("x-each").map(str::to_owned))
    };
    let (initial, each) = (Some("GET".to_owned()), Some("1".to_owned()));
    assert_eq!(both(&polling.handshake), (initial.clone(), each.clone()));
    assert_eq!(polling.handshake.header("set-cookie"), Some("a=b"));
    assert_eq!(both(&polling.post("40").await), (None, each.clone()));
    assert_eq!(both(&polling.poll().await), (None, each.clone()));
    assert_eq!(both(&server.candidate(V4, polling.sid()).await.handshake), (None, each.clone()));
    assert_eq!(both(&server.ws(V4).await.handshake), (initial, each));
}

#[tokio::test]
async fn a_cookie_is_set_by_the_polling_handshake_only() {
    let server = Server::start(patio::Server::builder().cookie(Cookie::new())).await;
    let mut polling = server.polling(V4).await;
    let cookie = format!("io={}; Path=/; HttpOnly; SameSite=Lax", polling.sid());
    assert_eq!(polling.handshake.header("set-cookie"), Some(&*cookie));
    assert_eq!(polling.post("40").await.header("set-cookie"), None);
    assert_eq!(polling.poll().await.header("set-cookie"), None);
    assert_eq!(server.ws(V4).await.handshake.header("set-cookie"), None);
}

#[tokio::test]
async fn cors_headers_are_on_every_answer_to_a_page() {
    let server =
        Server::start(patio::Server::builder().cors(Cors::origin("https://page.example").credentials(true)))
            .await;
    let allowed = |answer: &Response| {
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://page.example"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
    };
    let origin = [("origin", "https://page.example")];
    let mut polling = server.polling_with(V4, "", &origin).await;
    allowed(&polling.handshake);
    allowed(&polling.post("40").await);
    allowed(&polling.poll().await);
    allowed(&server.get("EIO=4&transport=x").await);
    // As in Node, all but this: browsers ask for none before a WebSocket.
    let refused = upgrade(&server, "EIO=4&transport=websocket&sid=x").await;
    assert_eq!(refused.header("access-control-allow-origin"), None);
    allowed(&server.ws_with(V4, "", &origin).await.handshake);
    let large = [("content-length", "2000000")];
    polling.posts.send("PUT", &polling.target(), &large, b"").await;
    allowed(&polling.posts.response().await);

    let asking =
        [origin[0], ("access-control-request-headers", "x-a"), ("access-control-request-method", "POST")];
    let preflight = server.request("OPTIONS", &target("EIO=4&transport=polling"), &asking, b"").await;
    assert_eq!(preflight.brief(), (204, ""));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,HEAD,PUT,PATCH,POST,DELETE"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(preflight.header("vary"), Some("Origin, Access-Control-Request-Headers"));
}

#[tokio::test]
async fn refusals_are_reported_with_their_context() {
    let (sender, mut errors) = mpsc::unbounded_channel();
    let server = Server::serve(
        patio::Server::builder()
            .connection_error(move |error| sender.send(error.clone()).unwrap())
            .allow_request(|parts: &Parts| {
                let refused = parts.headers.contains_key("refuse");
                async move { if refused { Err("no".to_owned()) } else { Ok(()) } }
            })
            .generate_id(|parts: &Parts| {
                (!parts.headers.contains_key("no-id")).then(|| "the only one".into())
            })
            .max_connections(1)
            .build()
            .unwrap(),
    )
    .await;
    let mut expect = |code: u8, context: &str, message: &str| {
        let error = errors.try_recv().unwrap();
        assert_eq!((error.code.number(), error.context, &*error.message), (code, context, message));
        assert!(error.url.starts_with("/socket.io/?"), "{error:?}");
        assert!(error.address.unwrap().ip().is_loopback());
    };
    let request = async |query: &str, headers: &[(&str, &str)]| {
        server.request("GET", &target(query), headers, b"").await;
    };
    request("EIO=4&transport=x", &[]).await;
    expect(0, "", "Transport unknown");
    request("EIO=4&transport=polling&sid=x", &[]).await;
    expect(1, "", "Session ID unknown");
    server.request("PUT", &target("EIO=4&transport=polling"), &[], b"").await;
    expect(2, "", "Bad handshake method");
    upgrade(&server, "EIO=4&transport=polling").await;
    expect(3, "TRANSPORT_HANDSHAKE_ERROR", "Bad request");
    request("EIO=4&transport=polling", &[("refuse", "1")]).await;
    expect(4, "", "no");
    request("transport=polling", &[]).await;
    expect(5, "", "Unsupported protocol version");
    request("EIO=4&transport=polling", &[("no-id", "1")]).await;
    expect(3, "ID_GENERATION_ERROR", "Bad request");
    let _open = server.ws(V4).await;
    request("EIO=4&transport=polling&sid=the%20only+one", &[]).await;
    expect(3, "TRANSPORT_MISMATCH", "Bad request");
    request("EIO=4&transport=polling", &[]).await;
    expect(4, "TOO_MANY_CONNECTIONS", "Too many connections");
    assert_eq!(server.io.counters().refused_requests, 9);
}

#[tokio::test]
async fn only_the_servers_path_is_its_own() {
    let server = start().await;
    let status = async |server: &Server, path: &str| {
        server.request("GET", &format!("{path}?EIO=4&transport=polling"), &[], b"").await.status
    };
    for path in ["/socket.io/", "/socket.io/anything", "/socket.io//"] {
        assert_eq!(status(&server, path).await, 200, "{path}");
    }
    for path in ["/socket.io", "/socket.iox/", "/", "/x/socket.io/", "/Socket.io/"] {
        assert_eq!(status(&server, path).await, 404, "{path}");
    }
    let server = Server::start(patio::Server::builder().path("/a/b/").add_trailing_slash(false)).await;
    for path in ["/a/b", "/a/b/", "/a/bc"] {
        assert_eq!(status(&server, path).await, 200, "{path}");
    }
    assert_eq!(status(&server, "/a").await, 404);
}

#[tokio::test]
async fn handlers_see_the_request() {
    let server = start().await;
    let (sender, mut seen) = mpsc::unbounded_channel();
    server.io.on_connect(async move |socket: patio::Socket| {
        let handshake = socket.handshake();
        sender
            .send(json!({
                "agent": handshake.headers().get("user-agent"),
                "query": handshake.query().get("a b"),
                "url": handshake.url(),
                "loopback": socket.conn().remote_address().map(|address| address.ip().is_loopback()),
                "xdomain": handshake.xdomain(),
                "secure": handshake.secure(),
                "transport": socket.conn().transport().as_str(),
                "protocol": socket.conn().protocol().number(),
            }))
            .unwrap();
    });
    let headers = [("user-agent", "test"), ("origin", "http://x")];
    let mut polling: PollingClient = server.polling_with(V4, "&a%20b=c%26d", &headers).await;
    polling.join("/").await;
    let mut expected = json!({
        "agent": "test", "query": "c&d", "url": "/socket.io/?EIO=4&transport=polling&a%20b=c%26d",
        "loopback": true, "xdomain": true, "secure": false, "transport": "polling", "protocol": 4,
    });
    assert_eq!(seen.recv().await.unwrap(), expected);
    let mut ws: WsClient = server.ws_with(V3, "&a%20b=c%26d", &headers).await;
    ws.join("/").await;
    expected["url"] = "/socket.io/?EIO=3&transport=websocket&a%20b=c%26d".into();
    expected["transport"] = "websocket".into();
    expected["protocol"] = 3.into();
    assert_eq!(seen.recv().await.unwrap(), expected);
}
