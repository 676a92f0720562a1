//! Deliberately broken adapters fail the contract suite, each at the cases that are about its fault.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt, StreamExt};
use patio_adapter::{
    AckEvent, Adapter, AdapterError, AdapterFactory, AllRooms, BroadcastOptions, Counted, Fetched, InProcess,
    Local, Offset, Payload, Replayed, Restored, Room, ServerAnswer, SessionRecord, contract::Contract,
    counters::Stats,
};

/// What is wrong with an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    IgnoresExcept,
    IgnoresLocal,
    DeliversTwice,
    CountsItselfTwice,
    FetchesItselfTwice,
    DropsTheLastAnswer,
    HidesWhoIsMissing,
    NeverDisconnects,
    TakesNobodyForEveryone,
}

struct BrokenFactory(Arc<dyn AdapterFactory>, Fault);

impl AdapterFactory for BrokenFactory {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        Arc::new(Broken { adapter: self.0.create(name, local), fault: self.1 })
    }
}

/// A working adapter with a fault in front of it.
struct Broken {
    adapter: Arc<dyn Adapter>,
    fault: Fault,
}

impl Broken {
    fn options(&self, options: &BroadcastOptions) -> BroadcastOptions {
        let mut options = options.clone();
        match self.fault {
            Fault::IgnoresExcept => options.except.clear(),
            Fault::IgnoresLocal => options.flags.local = false,
            Fault::TakesNobodyForEveryone if options.is_nobody() => options.rooms = None,
            _ => {}
        }
        options
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Adapter for Broken {
    fn init(&self) -> BoxFuture<'static, Result<(), AdapterError>> {
        self.adapter.init()
    }

    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions) -> Result<(), AdapterError> {
        if self.has(Fault::DeliversTwice) {
            self.adapter.broadcast(payload, options)?;
        }
        self.adapter.broadcast(payload, &self.options(options))
    }

    fn broadcast_confirmed(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxFuture<'static, Result<(), AdapterError>> {
        self.adapter.broadcast_confirmed(payload, &self.options(options))
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxStream<'static, AckEvent> {
        let events = self.adapter.broadcast_with_ack(payload, &self.options(options));
        let fault = self.fault;
        if ![Fault::DropsTheLastAnswer, Fault::HidesWhoIsMissing].contains(&fault) {
            return events;
        }
        async move {
            let mut events: Vec<_> = events.collect().await;
            if fault == Fault::HidesWhoIsMissing {
                events.retain(|event| !matches!(event, AckEvent::Missing { .. }));
            } else if let Some(last) =
                events.iter().rposition(|event| matches!(event, AckEvent::Answer { .. }))
            {
                events.remove(last);
            }
            futures_util::stream::iter(events)
        }
        .flatten_stream()
        .boxed()
    }

    fn join(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        self.adapter.join(&self.options(options), rooms)
    }

    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        self.adapter.leave(&self.options(options), rooms)
    }

    fn disconnect(&self, options: &BroadcastOptions, close: bool) -> Result<(), AdapterError> {
        if self.has(Fault::NeverDisconnects) {
            return Ok(());
        }
        self.adapter.disconnect(&self.options(options), close)
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Fetched, AdapterError>> {
        let all = self.adapter.fetch_sockets(&self.options(options));
        if !self.has(Fault::FetchesItselfTwice) {
            return all;
        }
        let own = self.adapter.fetch_sockets(&options.clone().local());
        async move {
            let mut fetched = all.await?;
            fetched.sockets.extend(own.await?.sockets);
            Ok(fetched)
        }
        .boxed()
    }

    fn count(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Counted, AdapterError>> {
        self.adapter.count(&self.options(options))
    }

    fn all_rooms(&self) -> BoxFuture<'static, Result<AllRooms, AdapterError>> {
        self.adapter.all_rooms()
    }

    fn server_side_emit(&self, payload: &Payload) -> Result<(), AdapterError> {
        if self.has(Fault::DeliversTwice) {
            self.adapter.server_side_emit(payload)?;
        }
        self.adapter.server_side_emit(payload)
    }

    fn server_side_emit_with_ack(
        &self,
        payload: &Payload,
        timeout: Duration,
    ) -> BoxStream<'static, ServerAnswer> {
        self.adapter.server_side_emit_with_ack(payload, timeout)
    }

    fn server_count(&self) -> BoxFuture<'static, Result<usize, AdapterError>> {
        let more = usize::from(self.has(Fault::CountsItselfTwice));
        self.adapter.server_count().map(move |count| count.map(|count| count + more)).boxed()
    }

    fn room_created(&self, room: &Room) {
        self.adapter.room_created(room);
    }

    fn room_deleted(&self, room: &Room) {
        self.adapter.room_deleted(room);
    }

    fn persist(&self, session: SessionRecord) {
        self.adapter.persist(session);
    }

    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>> {
        self.adapter.restore(pid, offset)
    }

    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>> {
        self.adapter.replay(cursor, rooms)
    }

    fn stats(&self) -> Stats {
        self.adapter.stats()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.adapter.close()
    }
}

/// The names of the cases at which three servers with the fault fail.
async fn failed(fault: Fault) -> Vec<&'static str> {
    let make = move || {
        let bus = InProcess::new();
        let node = || Arc::new(BrokenFactory(Arc::new(bus.node()), fault)) as Arc<dyn AdapterFactory>;
        std::future::ready((0..3).map(|_| node()).collect())
    };
    Contract::new(make).run_all().await.failed()
}

#[track_caller]
fn assert_contains(failed: &[&str], expected: &[&str]) {
    for name in expected {
        assert!(failed.contains(name), "{name} passed; failed are {failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_all_is_well() {
    assert!(failed(Fault::None).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_ignores_except() {
    assert_contains(
        &failed(Fault::IgnoresExcept).await,
        &[
            "a_broadcast_except_a_room",
            "a_broadcast_except_a_socket",
            "a_broadcast_to_a_room_except_another",
            "acks_with_except",
            "members_of_a_room_join",
            "sockets_of_a_room_are_fetched",
            "sockets_are_counted",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_ignores_local() {
    assert_contains(
        &failed(Fault::IgnoresLocal).await,
        &[
            "a_local_broadcast_stays_here",
            "acks_of_this_server_only",
            "only_sockets_of_this_server_join",
            "only_sockets_of_this_server_are_disconnected",
            "sockets_of_this_server_are_fetched",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_delivers_twice() {
    assert_contains(
        &failed(Fault::DeliversTwice).await,
        &[
            "a_broadcast_reaches_everyone_once",
            "a_broadcast_to_a_room",
            "broadcasts_keep_their_order",
            "an_event_reaches_the_other_servers_only",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_counts_itself_twice() {
    assert_contains(
        &failed(Fault::CountsItselfTwice).await,
        &["servers_are_counted", "a_closed_server_is_gone"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_fetches_itself_twice() {
    assert_contains(
        &failed(Fault::FetchesItselfTwice).await,
        &["all_sockets_are_fetched_once", "sockets_of_a_room_are_fetched", "one_socket_is_fetched_by_id"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_drops_the_last_answer() {
    assert_contains(
        &failed(Fault::DropsTheLastAnswer).await,
        &["all_acks_come", "binary_acks_stay_binary", "slow_acks_come", "an_ack_of_one_other_socket"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_hides_who_is_missing() {
    assert_contains(
        &failed(Fault::HidesWhoIsMissing).await,
        &[
            "a_silent_socket_of_another_server_is_counted",
            "a_silent_socket_of_this_server_is_named",
            "a_socket_that_leaves_is_not_awaited",
            "a_late_ack_is_ignored",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_never_disconnects() {
    assert_contains(
        &failed(Fault::NeverDisconnects).await,
        &["everyone_is_disconnected", "a_packet_precedes_the_disconnection"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_takes_nobody_for_everyone() {
    assert_contains(
        &failed(Fault::TakesNobodyForEveryone).await,
        &["an_empty_list_of_rooms_is_nobody", "nobody_asked_is_no_answer"],
    );
}
