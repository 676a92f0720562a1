//! What the memory adapter does beyond the contract: what is recorded, and in which order it is delivered.

use std::sync::{Arc, Barrier, Weak};

use patio_adapter::{
    Adapter, AdapterFactory, BroadcastOptions, Local, Memory, MemoryRecovery, Payload, Room,
    contract::namespace::{Happened, TestNamespace},
};

fn start() -> (Arc<TestNamespace>, Arc<dyn Adapter>) {
    let namespace = TestNamespace::new("/");
    let local: Arc<dyn Local> = namespace.clone();
    let local: Weak<dyn Local> = Arc::downgrade(&local);
    let adapter = Memory::with_recovery(MemoryRecovery::default()).create("/", local);
    namespace.connect(&socket(), &[]);
    (namespace, adapter)
}

fn socket() -> Room {
    Room::from("a-socket-of-20-chars")
}

fn event(n: usize) -> Payload {
    Payload::event("n", &n).unwrap()
}

fn offsets(namespace: &TestNamespace) -> Vec<Option<String>> {
    let log = namespace.socket(&socket()).unwrap().log;
    log.into_iter()
        .map(|happened| match happened {
            Happened::Event { offset, .. } => offset.map(|offset| offset.to_string()),
            _ => None,
        })
        .collect()
}

#[test]
fn volatile_events_and_questions_are_not_recorded() {
    let (namespace, adapter) = start();
    let mut volatile = BroadcastOptions::everyone();
    volatile.flags.volatile = true;
    adapter.broadcast(&event(0), &volatile).unwrap();
    drop(adapter.broadcast_with_ack(&event(1), &BroadcastOptions::everyone()));
    assert_eq!(offsets(&namespace), [None, None]);
    adapter.broadcast(&event(2), &BroadcastOptions::everyone()).unwrap();
    assert!(offsets(&namespace)[2].as_ref().is_some_and(|offset| offset.len() >= 7));
}

#[test]
fn several_threads_deliver_in_the_order_of_offsets() {
    let (namespace, adapter) = start();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                for n in 0..500 {
                    adapter.broadcast(&event(n), &BroadcastOptions::everyone()).unwrap();
                }
            });
        }
    });
    let log = namespace.socket(&socket()).unwrap().log;
    let offsets = log.iter().map(|happened| match happened {
        Happened::Event { offset: Some(offset), .. } => offset,
        other => panic!("{other:?} has no offset"),
    });
    assert_eq!(log.len(), 2000);
    assert!(offsets.is_sorted_by(|a, b| a < b));
}
