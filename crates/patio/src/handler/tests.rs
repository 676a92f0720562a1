//! What handlers get, what becomes of what they return, and which functions are handlers.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::FutureExt;
use patio_proto::{
    payload::{ArgsError, EncodeError, Payload},
    value::Value,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Call, HandlerError,
    erased::{ConnectHandler, DisconnectHandler, Erased, EventHandler, Middleware, PacketMiddleware},
    testing::TestSocket,
};
use crate::{
    extract::{
        Ack, Args, Auth, Data, Event, Extension, Handshake, MissingExtension, NoReason, RawData, State,
        StateMap,
    },
    reason::DisconnectReason,
    refusal::Refusal,
    reply::{IntoAck, Reply},
    server::Server,
    socket::Socket,
};

/// A socket whose client sent `auth`.
fn socket_with(auth: serde_json::Value) -> TestSocket {
    TestSocket::of(Server::builder(), Some(auth))
}

/// Calls `handler` with the event `["event", …args]` and the ack id 7: what it sent and what it reported.
fn call_with<T: Serialize>(
    socket: &TestSocket,
    handler: &EventHandler,
    args: &T,
) -> (Vec<String>, Result<(), HandlerError>) {
    let payload = Payload::event("event", args).expect("arguments are serialisable");
    let outcome = match handler.call(Call::event(Socket::clone(socket), payload, Some(7))) {
        Ok(future) => future.now_or_never().expect("the handler does not wait"),
        Err(error) => Err(error.into()),
    };
    (socket.acks(), outcome)
}

fn call<T: Serialize>(handler: &EventHandler, args: &T) -> (Vec<String>, Result<(), HandlerError>) {
    call_with(&TestSocket::new(), handler, args)
}

/// The acks of a handler that succeeds.
fn answers<T: Serialize>(handler: &EventHandler, args: &T) -> Vec<String> {
    let (acks, outcome) = call(handler, args);
    outcome.expect("the handler succeeds");
    acks
}

#[test]
fn the_return_value_is_the_ack() {
    assert_eq!(answers(&Erased::new(async || ()), &()), ["7[]"]);
    assert_eq!(answers(&Erased::new(async || Reply(1)), &()), ["7[1]"]);
    assert_eq!(answers(&Erased::new(async || Reply((1, "two"))), &()), [r#"7[1,"two"]"#]);
    assert_eq!(answers(&Erased::new(async || Reply([1, 2])), &()), ["7[[1,2]]"]);
    assert_eq!(answers(&Erased::new(async || Reply(())), &()), ["7[]"]);
    let fallible = Erased::new(async || Ok::<_, String>(Reply("fine")));
    assert_eq!(answers(&fallible, &()), [r#"7["fine"]"#]);
}

#[test]
fn errors_answer_only_if_they_say_how() {
    struct Code(u32);
    impl fmt::Display for Code {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }
    impl IntoAck for Code {
        fn into_ack(self) -> Option<Payload> {
            Payload::args(&self.0).ok()
        }
    }
    let failed = |handler: EventHandler| match call(&handler, &()) {
        (acks, Err(HandlerError::Failed(text))) => (acks, text),
        other => panic!("{other:?}"),
    };
    assert_eq!(failed(Erased::new(async || Err::<(), _>(Code(5)))), (vec!["7[5]".into()], "code 5".into()));
    assert_eq!(failed(Erased::new(async || Err::<Reply<u8>, _>("no".to_owned()))), (vec![], "no".into()));
    let refused = failed(Erased::new(async || Err::<(), _>(Refusal::new("no").with_data(1))));
    assert_eq!(refused, (vec![r#"7[{"message":"no","data":1}]"#.into()], "no".into()));
    let boxed = failed(Erased::new(async || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        "x".parse::<u8>()?;
        Ok(())
    }));
    assert_eq!(boxed, (vec![], "invalid digit found in string".into()));
}

#[test]
fn a_reply_that_cannot_be_serialised_is_reported() {
    let handler = Erased::new(async || Reply(std::collections::HashMap::from([((1, 2), 3)])));
    assert!(matches!(call(&handler, &()), (acks, Err(HandlerError::Reply(_))) if acks.is_empty()));
}

#[test]
fn nothing_is_serialised_for_a_client_that_asked_for_nothing() {
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("serialised")
        }
    }
    let handler: EventHandler = Erased::new(async || Reply(Never));
    let future = handler
        .call(Call::event(Socket::clone(&TestSocket::new()), Payload::empty(), None))
        .expect("nothing is extracted");
    assert!(matches!(future.now_or_never(), Some(Ok(()))));
}

#[test]
fn an_extracted_ack_turns_the_return_value_off() {
    let unanswered: EventHandler = Erased::new(async |_ack: Ack| ());
    assert_eq!(answers(&unanswered, &()), [""; 0]);
    let answered: EventHandler =
        Erased::new(async |ack: Ack, Data(n): Data<u8>| -> Result<(), EncodeError> {
            assert!(ack.is_requested());
            ack.send(&(n, n + 1))
        });
    assert_eq!(answers(&answered, &1), ["7[1,2]"]);

    // answered by somebody else, after the handler has ended
    let kept = Arc::new(Mutex::new(None));
    let later: EventHandler = {
        let kept = Arc::clone(&kept);
        Erased::new(async move |ack: Ack| {
            kept.lock().expect("no panic").replace(ack);
        })
    };
    let socket = TestSocket::new();
    assert_eq!(call_with(&socket, &later, &()).0, [""; 0]);
    let ack = kept.lock().expect("no panic").take().expect("the handler kept it");
    ack.send("late").expect("text is serialisable");
    assert_eq!(socket.acks(), [r#"7["late"]"#]);
}

#[test]
fn arguments_are_read_by_type() {
    let first: EventHandler = Erased::new(async |Data(text): Data<String>| Reply(text));
    assert_eq!(answers(&first, &("a", "b")), [r#"7["a"]"#]);
    let tuple: EventHandler = Erased::new(async |Data((a, b)): Data<(String, Option<u8>)>| Reply((b, a)));
    assert_eq!(answers(&tuple, &"a"), [r#"7[null,"a"]"#]);
    let list: EventHandler = Erased::new(async |Data(list): Data<Vec<u8>>| Reply(list.len()));
    assert_eq!(answers(&list, &[1, 2, 3]), ["7[3]"]);
    let binary: EventHandler = Erased::new(async |Data(bytes): Data<Bytes>| Reply(bytes.len()));
    assert_eq!(answers(&binary, &Bytes::from_static(b"abcd")), ["7[4]"]);
    let any: EventHandler = Erased::new(async |Event(name): Event, Args(args): Args| {
        assert_eq!(args[1], Value::from("b"));
        Reply((name, args.len()))
    });
    assert_eq!(answers(&any, &(1, "b")), [r#"7["event",2]"#]);
    let raw: EventHandler = Erased::new(async |event: Event, RawData(payload): RawData| {
        assert_eq!(payload.event_name().as_deref(), Some(&*event.0));
    });
    assert_eq!(answers(&raw, &()), ["7[]"]);
}

#[test]
fn a_failed_extractor_keeps_the_handler_from_running() {
    let called = Arc::new(AtomicUsize::new(0));
    let handler: EventHandler = {
        let called = Arc::clone(&called);
        Erased::new(async move |Data(_): Data<u8>| {
            called.fetch_add(1, Ordering::Relaxed);
        })
    };
    let (acks, outcome) = call(&handler, &"x");
    let Err(HandlerError::Extract(error)) = outcome else { panic!("{outcome:?}") };
    assert!(error.extractor().ends_with("Data<u8>"), "{error}");
    assert!(error.message().starts_with("argument 0: invalid type: string"), "{error}");
    assert_eq!((acks.len(), called.load(Ordering::Relaxed)), (0, 0));

    let careful: EventHandler = Erased::new(async |data: Result<Data<u8>, ArgsError>| Reply(data.is_err()));
    assert_eq!(answers(&careful, &"x"), ["7[true]"]);
}

#[derive(Clone)]
struct Db(&'static str);

#[test]
fn state_is_found_by_its_type() {
    let mut states = StateMap::default();
    states.insert(Db("main"));
    let handler: EventHandler =
        Erased::new(async |State(db): State<Db>, none: Option<State<u8>>| Reply((db.0, none.is_none())));
    handler.check(&states);
    let socket = TestSocket::of(Server::builder().state(Db("main")), None);
    assert_eq!(call_with(&socket, &handler, &()).0, [r#"7["main",true]"#]);
}

#[test]
fn missing_state_is_named_with_the_place_of_the_handler() {
    let (handler, line): (ConnectHandler, u32) = (Erased::new(async |_: Socket, _: State<Db>| ()), line!());
    let missing = handler.missing_state(&StateMap::default()).expect("it is missing");
    assert!(missing.contains(&format!("{}:{line}:", file!())), "{missing}");
    assert!(missing.contains("State<patio::handler::tests::Db>"), "{missing}");
    let panic =
        catch_unwind(AssertUnwindSafe(|| handler.check(&StateMap::default()))).expect_err("it panics");
    assert_eq!(HandlerError::panicked(panic).to_string(), format!("the handler panicked: {missing}"));
}

#[test]
fn extensions_are_those_of_the_socket() {
    let handler: EventHandler =
        Erased::new(async |Extension(n): Extension<u8>, other: Result<Extension<i8>, MissingExtension>| {
            Reply((n, other.map_or_else(|missing| missing.to_string(), |_| String::new())))
        });
    let socket = TestSocket::new();
    assert!(call_with(&socket, &handler, &()).1.is_err());
    socket.extensions().insert(5_u8);
    assert!(call_with(&socket, &handler, &()).0[0].starts_with(r#"7[5,"no extension of type i8"#));
}

#[test]
fn auth_is_an_empty_object_if_there_is_none() {
    #[derive(Deserialize)]
    struct Login {
        #[serde(default)]
        token: String,
    }
    let handler: EventHandler = Erased::new(async |Auth(login): Auth<Login>, given: Option<Auth<Login>>| {
        Reply((login.token, given.is_some()))
    });
    assert_eq!(call(&handler, &()).0, [r#"7["",false]"#]);
    let with_auth = socket_with(json!({ "token": "t" }));
    assert_eq!(call_with(&with_auth, &handler, &()).0, [r#"7["t",true]"#]);
    let malformed = socket_with(json!({ "token": 1 }));
    assert!(matches!(call_with(&malformed, &handler, &()).1, Err(HandlerError::Extract(_))));
}

#[test]
fn connections_and_disconnections_have_handlers_without_payload() {
    let joined: ConnectHandler =
        Erased::new(async |_: Socket, _: Server, _: Handshake, event: Option<Event>| -> Result<(), String> {
            assert!(event.is_none());
            Err("failed".to_owned())
        });
    let outcome = joined
        .call(Call::connect(Socket::clone(&TestSocket::new())))
        .expect("all is extracted")
        .now_or_never();
    assert!(matches!(outcome, Some(Err(HandlerError::Failed(text))) if text == "failed"));

    let reasons = Arc::new(Mutex::new(Vec::new()));
    let left: DisconnectHandler = {
        let reasons = Arc::clone(&reasons);
        Erased::new(async move |reason: DisconnectReason| reasons.lock().expect("no panic").push(reason))
    };
    let call = Call::disconnect(Socket::clone(&TestSocket::new()), DisconnectReason::PingTimeout);
    assert!(matches!(left.call(call).expect("all is extracted").now_or_never(), Some(Ok(()))));
    assert_eq!(*reasons.lock().expect("no panic"), [DisconnectReason::PingTimeout]);

    let careful: EventHandler =
        Erased::new(async |reason: Option<DisconnectReason>, result: Result<DisconnectReason, NoReason>| {
            Reply((reason.is_none(), result.is_err()))
        });
    assert_eq!(answers(&careful, &()), ["7[true,true]"]);
}

#[test]
#[should_panic(expected = "extracts a DisconnectReason, which only disconnect handlers have")]
fn a_reason_is_for_disconnect_handlers() {
    let _: EventHandler = Erased::new(async |_: DisconnectReason| ());
}

#[test]
fn middlewares_refuse() {
    let guard: Middleware = Erased::new(async |auth: Option<Auth<Value>>| match auth {
        Some(_) => Ok(()),
        None => Err("not authorized"),
    });
    let verdict = |socket: &TestSocket| {
        guard.call(Call::connect(Socket::clone(socket))).expect("all is extracted").now_or_never()
    };
    assert_eq!(verdict(&TestSocket::new()), Some(Err(Refusal::new("not authorized"))));
    assert_eq!(verdict(&socket_with(json!({ "token": "t" }))), Some(Ok(())));

    let filter: PacketMiddleware =
        Erased::new(async |_: Socket, Event(name): Event, RawData(_): RawData| -> Result<(), Refusal> {
            if name == "secret" { Err(Refusal::new("no")) } else { Ok(()) }
        });
    let verdict = |name| {
        let payload = Payload::event(name, &()).expect("text is serialisable");
        filter
            .call(Call::event(Socket::clone(&TestSocket::new()), payload, None))
            .expect("all is extracted")
            .now_or_never()
    };
    assert_eq!(verdict("secret"), Some(Err(Refusal::new("no"))));
    assert_eq!(verdict("open"), Some(Ok(())));
}

/// Four kinds of closures that capture, each called twice.
#[test]
fn capturing_async_closures_are_handlers() {
    fn twice(handler: &EventHandler) -> Vec<String> {
        let mut all = answers(handler, &1);
        all.extend(answers(&handler.clone(), &2));
        all
    }

    // what it captured moves into the future
    let shared = Arc::new(AtomicUsize::new(10));
    let moved: EventHandler = {
        let shared = Arc::clone(&shared);
        Erased::new(async move |_: Socket, Data(n): Data<usize>| {
            tokio::task::coop::consume_budget().await;
            Reply(shared.fetch_add(n, Ordering::Relaxed))
        })
    };
    assert_eq!(twice(&moved), ["7[10]", "7[11]"]);

    // each call has a clone, which it may use up
    let text = "text".to_owned();
    let cloned: EventHandler = Erased::new(async move |Data(n): Data<usize>| {
        let mut mine = text;
        mine.push_str(&n.to_string());
        Reply(mine)
    });
    assert_eq!(twice(&cloned), [r#"7["text1"]"#, r#"7["text2"]"#]);

    // a reference to what lives as long as the program
    static NAMES: [&str; 3] = ["a", "b", "c"];
    let names = &NAMES;
    let borrowed: EventHandler = Erased::new(async move |Data(n): Data<usize>| {
        tokio::task::coop::consume_budget().await;
        Reply(names[n])
    });
    assert_eq!(twice(&borrowed), [r#"7["b"]"#, r#"7["c"]"#]);

    // a handler that declares a handler, both with what the outer one captured
    let declared = Arc::new(Mutex::new(None));
    let nested: EventHandler = {
        let declared = Arc::clone(&declared);
        Erased::new(async move |_: Socket| {
            let own = Arc::clone(&shared);
            let inner: EventHandler = Erased::new(async move |Data(n): Data<usize>| {
                tokio::task::coop::consume_budget().await;
                Reply(own.fetch_add(n, Ordering::Relaxed))
            });
            declared.lock().expect("no panic").replace(inner);
        })
    };
    assert_eq!(twice(&nested), ["7[]", "7[]"]);
    let inner = declared.lock().expect("no panic").take().expect("it was declared");
    assert_eq!(twice(&inner), ["7[13]", "7[14]"]);
}

#[test]
fn functions_of_any_number_of_arguments_are_handlers() {
    async fn none() {}
    async fn generic<T: Serialize + serde::de::DeserializeOwned + Send + 'static>(
        Data(x): Data<T>,
    ) -> Reply<T> {
        Reply(x)
    }
    fn not_async(_: Socket) -> std::future::Ready<Reply<u8>> {
        std::future::ready(Reply(1))
    }
    #[expect(clippy::too_many_arguments, reason = "the most that a handler may have")]
    async fn twelve(
        _: Socket,
        _: Server,
        _: Handshake,
        _: Event,
        _: Socket,
        _: Socket,
        _: Socket,
        _: Socket,
        _: Socket,
        _: Socket,
        ack: Ack,
        Data(n): Data<u8>,
    ) {
        ack.send(&n).expect("a number is serialisable");
    }
    assert_eq!(answers(&Erased::new(none), &()), ["7[]"]);
    assert_eq!(answers(&Erased::new(generic::<u8>), &3), ["7[3]"]);
    assert_eq!(answers(&Erased::new(not_async), &3), ["7[1]"]);
    assert_eq!(answers(&Erased::new(twelve), &12), ["7[12]"]);
}

#[test]
fn handlers_start_when_their_future_is_polled_and_own_what_they_need() {
    let handler: EventHandler = Erased::new(async |socket: Socket, Data(n): Data<u8>| {
        tokio::task::yield_now().await;
        drop(socket);
        Reply(n)
    });
    let socket = TestSocket::new();
    let payload = Payload::event("event", &1).expect("a number is serialisable");
    let mut future =
        handler.call(Call::event(Socket::clone(&socket), payload, Some(1))).expect("all is extracted");
    drop(handler);
    assert!((&mut future).now_or_never().is_none());
    assert!(socket.acks().is_empty());
    assert!(matches!(future.now_or_never(), Some(Ok(()))));
    assert_eq!(socket.acks(), ["1[1]"]);
}
