//! A broker inside one process: joins several servers of it into a cluster, without bytes and without a network.
//!
//! Useful for one process that serves several ports with different settings, and for tests of everything that
//! [`Cluster`] does. Messages are handed over in the publisher's turn, so nothing is queued.

use std::{
    collections::HashMap,
    future::ready,
    sync::{Arc, Weak},
};

use futures_core::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    Cluster,
    broker::{Broker, Heartbeat, Inbox, Membership, Others, Query},
    message::{Incoming, Message, Sender},
};
use crate::{Adapter, AdapterError, AdapterFactory, Local, NodeId};

/// A bus that joins servers of one process. Cloning gives the same bus.
///
/// Each server gets its own [`node`](Self::node) as its adapter factory.
#[derive(Clone, Default)]
pub struct InProcess {
    bus: Arc<Bus>,
}

/// How the servers on a bus know each other. All work; real brokers differ in it, and so tests try each.
#[derive(Clone, Copy, Debug, Default)]
pub enum InProcessMembership {
    /// The bus tells their ids.
    #[default]
    Nodes,
    /// The bus tells their number only, as Redis does.
    Count,
    /// They tell each other.
    Heartbeat(Heartbeat),
}

#[derive(Default)]
struct Bus {
    membership: InProcessMembership,
    loop_back: bool,
    /// By namespace, in the order of joining.
    members: Mutex<HashMap<String, Vec<Member>>>,
}

#[derive(Clone)]
struct Member {
    node: NodeId,
    inbox: Inbox,
}

impl InProcess {
    /// A bus without servers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus whose servers know each other by `membership`.
    pub fn with_membership(membership: InProcessMembership) -> Self {
        Self { bus: Arc::new(Bus { membership, ..Bus::default() }) }
    }

    /// A bus that hands commands back to their sender, who applies them only then: as Redis streams do.
    pub fn with_loop_back() -> Self {
        Self { bus: Arc::new(Bus { loop_back: true, ..Bus::default() }) }
    }

    /// One more server: the adapter factory for it.
    pub fn node(&self) -> InProcessNode {
        InProcessNode { bus: self.bus.clone() }
    }
}

/// A server's place on the bus.
#[derive(Clone)]
pub struct InProcessNode {
    bus: Arc<Bus>,
}

impl AdapterFactory for InProcessNode {
    fn create(&self, name: &str, local: Weak<dyn Local>) -> Arc<dyn Adapter> {
        let broker =
            InProcessBroker { bus: self.bus.clone(), namespace: name.to_owned(), node: NodeId::random() };
        Arc::new(Cluster::new(local, broker))
    }
}

/// One namespace of one server on the bus.
struct InProcessBroker {
    bus: Arc<Bus>,
    namespace: String,
    node: NodeId,
}

impl InProcessBroker {
    /// A copy of the members, without this server: nothing is delivered under the lock.
    fn others(&self) -> Vec<Member> {
        let members = self.bus.members.lock();
        let members = members.get(&self.namespace).map_or(&[][..], Vec::as_slice);
        members.iter().filter(|member| member.node != self.node && member.inbox.is_alive()).cloned().collect()
    }

    fn receivers(&self, message: &Message) -> Vec<Member> {
        let mut members = self.others();
        if self.loops_back(message) {
            let all = self.bus.members.lock();
            let own = all.get(&self.namespace).and_then(|all| all.iter().find(|own| own.node == self.node));
            members.extend(own.cloned());
        }
        members
    }

    fn incoming(&self, message: &Message) -> Incoming {
        let sender = Sender { node: Some(self.node.clone()), via: 0 };
        Incoming { sender, offset: None, message: message.clone() }
    }
}

impl Broker for InProcessBroker {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn open(&self, inbox: Inbox) -> BoxFuture<'static, Result<(), AdapterError>> {
        let mut members = self.bus.members.lock();
        let members = members.entry(self.namespace.clone()).or_default();
        // A server that was dropped without being closed.
        members.retain(|member| member.inbox.is_alive());
        members.push(Member { node: self.node.clone(), inbox });
        Box::pin(ready(Ok(())))
    }

    fn publish(&self, message: &Message) -> Result<(), AdapterError> {
        for member in self.receivers(message) {
            member.inbox.deliver(self.incoming(message));
        }
        Ok(())
    }

    fn publish_confirmed(&self, message: &Message) -> BoxFuture<'static, Result<(), AdapterError>> {
        Box::pin(ready(self.publish(message)))
    }

    fn respond(&self, to: &Sender, message: &Message) -> Result<(), AdapterError> {
        let asker = self.others().into_iter().find(|member| Some(&member.node) == to.node.as_ref());
        if let Some(asker) = asker {
            asker.inbox.deliver(self.incoming(message));
        }
        Ok(())
    }

    fn membership(&self) -> Membership {
        match self.bus.membership {
            InProcessMembership::Nodes | InProcessMembership::Count => Membership::Broker,
            InProcessMembership::Heartbeat(rhythm) => Membership::Heartbeat(rhythm),
        }
    }

    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>> {
        let others = self.others();
        Box::pin(ready(Ok(match self.bus.membership {
            InProcessMembership::Count => Others::Count(others.len()),
            _ => Others::Nodes(others.into_iter().map(|member| member.node).collect()),
        })))
    }

    fn loops_back(&self, message: &Message) -> bool {
        self.bus.loop_back && message.is_command()
    }

    fn supports(&self, _query: Query) -> BoxFuture<'static, bool> {
        Box::pin(ready(true))
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let others = self.others();
        let mut members = self.bus.members.lock();
        if let Some(here) = members.get_mut(&self.namespace) {
            here.retain(|member| member.node != self.node);
            if here.is_empty() {
                members.remove(&self.namespace);
            }
        }
        drop(members);
        if let InProcessMembership::Nodes = self.bus.membership {
            others.iter().for_each(|member| member.inbox.left(&self.node));
        }
        Box::pin(ready(()))
    }
}

impl Drop for InProcessBroker {
    fn drop(&mut self) {
        if let Some(here) = self.bus.members.lock().get_mut(&self.namespace) {
            here.retain(|member| member.node != self.node);
        }
    }
}
