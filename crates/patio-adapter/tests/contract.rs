//! The contract suite, run against the adapters of this crate.

use std::{sync::Arc, time::Duration};

use patio_adapter::{
    AdapterFactory, InProcess, Memory, MemoryRecovery,
    cluster::{InProcessMembership, broker::Heartbeat},
    contract::{CASES, Contract, Needs},
};

/// Three servers on a bus.
fn three(bus: impl Fn() -> InProcess + Send + Sync + 'static) -> Contract {
    Contract::new(move || {
        let bus = bus();
        let nodes = (0..3).map(|_| Arc::new(bus.node()) as Arc<dyn AdapterFactory>).collect();
        std::future::ready(nodes)
    })
}

fn one(factory: Memory) -> Contract {
    Contract::new(move || std::future::ready(vec![Arc::new(factory.clone()) as Arc<dyn AdapterFactory>]))
}

fn needing(needs: &[Needs]) -> usize {
    CASES.iter().filter(|case| needs.contains(&case.needs)).count()
}

#[tokio::test(start_paused = true)]
async fn in_process_with_ids() {
    let expected = needing(&[Needs::Any, Needs::Three, Needs::Immediate]);
    three(InProcess::new).run_all().await.assert_passed(expected);
}

#[tokio::test(start_paused = true)]
async fn in_process_with_a_count() {
    let bus = || InProcess::with_membership(InProcessMembership::Count);
    let expected = needing(&[Needs::Any, Needs::Three, Needs::Immediate]);
    three(bus).run_all().await.assert_passed(expected);
}

#[tokio::test(start_paused = true)]
async fn in_process_with_heartbeats() {
    let rhythm = Heartbeat { interval: Duration::from_secs(5), timeout: Duration::from_secs(10) };
    let bus = move || InProcess::with_membership(InProcessMembership::Heartbeat(rhythm));
    let expected = needing(&[Needs::Any, Needs::Three, Needs::Immediate]);
    three(bus).run_all().await.assert_passed(expected);
}

#[tokio::test(start_paused = true)]
async fn in_process_with_loop_back() {
    let expected = needing(&[Needs::Any, Needs::Three]);
    three(InProcess::with_loop_back).loops_back().run_all().await.assert_passed(expected);
}

#[tokio::test(start_paused = true)]
async fn memory() {
    one(Memory::new()).run_all().await.assert_passed(needing(&[Needs::Any, Needs::Immediate]));
}

#[tokio::test(start_paused = true)]
async fn memory_with_recovery() {
    let expected = needing(&[Needs::Any, Needs::Immediate, Needs::Recovery]);
    one(Memory::with_recovery(MemoryRecovery::default())).run_all().await.assert_passed(expected);
}
