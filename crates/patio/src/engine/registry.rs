//! The sessions of one server by their ids. The id stands in the session only, so that a session costs its list one
//! pointer.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;

use super::{Application, session::Session};

pub(super) struct Sessions<A: Application> {
    table: HashTable<Arc<Session<A>>>,
    /// Random, because ids come from peers.
    hasher: RandomState,
}

impl<A: Application> Default for Sessions<A> {
    fn default() -> Self {
        Self { table: HashTable::new(), hasher: RandomState::new() }
    }
}

impl<A: Application> Sessions<A> {
    /// Adds a session. False: its id is listed already, which only ids of the application's own making can be.
    pub(super) fn insert(&mut self, session: Arc<Session<A>>) -> bool {
        let hash = self.hasher.hash_one(session.sid());
        if self.table.find(hash, |other| other.sid() == session.sid()).is_some() {
            return false;
        }
        self.table.insert_unique(hash, session, |session| self.hasher.hash_one(session.sid()));
        true
    }

    pub(super) fn get(&self, sid: &str) -> Option<Arc<Session<A>>> {
        let hash = self.hasher.hash_one(sid);
        self.table.find(hash, |session| session.sid() == sid).cloned()
    }

    /// Removes a session. False: it was not listed.
    pub(super) fn remove(&mut self, session: &Session<A>) -> bool {
        let hash = self.hasher.hash_one(session.sid());
        let entry = self.table.find_entry(hash, |other| std::ptr::eq(&**other, session));
        entry.map(|entry| drop(entry.remove())).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Session<A>>> {
        self.table.iter()
    }
}
