//! Which sockets are in which rooms: the index of one namespace on this server, a plain data structure.
//!
//! A member has a slot, and a room is a set of slots, so that a broadcast walks a dense list and hashes nothing. The
//! room named by a member's own id is never stored: it is the id itself.

use std::hash::{BuildHasher, RandomState};

use hashbrown::{HashMap, HashTable};
use indexmap::IndexSet;
use patio_adapter::{BroadcastOptions, Room};
use slab::Slab;
use smallvec::SmallVec;

/// The index. `M` is what a broadcast needs of a member.
pub(crate) struct Rooms<M> {
    members: Slab<Member<M>>,
    /// Slots of `members` by id; the id stands in the member only.
    by_id: HashTable<u32>,
    rooms: Slab<Entry>,
    by_name: HashMap<Room, u32>,
    /// Random, because room names and ids may come from peers.
    hasher: RandomState,
}

struct Member<M> {
    id: Room,
    value: M,
    /// Rooms besides its own.
    rooms: SmallVec<[u32; 2]>,
    /// Whether it is in the room named by its id. It may leave it, as in Node.
    own: bool,
}

struct Entry {
    name: Room,
    members: IndexSet<u32, FastHash>,
}

/// What changed: Node's adapter events `create-room`, `join-room`, `leave-room`, `delete-room`, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The room has its first member.
    Create(Room),
    /// A socket joined: room, socket id.
    Join(Room, Room),
    /// A socket left: room, socket id.
    Leave(Room, Room),
    /// The room has no member any more.
    Delete(Room),
}

/// The place of a member in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    pub(crate) fn raw(self) -> u32 {
        self.0
    }

    pub(crate) fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Self {
            members: Slab::new(),
            by_id: HashTable::new(),
            rooms: Slab::new(),
            by_name: HashMap::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<M: Clone> Rooms<M> {
    /// Adds a member, in the room of its own id. `None`: there is one with this id already.
    pub(crate) fn insert(&mut self, id: Room, value: M, events: &mut Vec<RoomEvent>) -> Option<Slot> {
        if self.slot_of(&id).is_some() {
            return None;
        }
        // Somebody may have been put into a room of that name before.
        if !self.by_name.contains_key(&*id) {
            events.push(RoomEvent::Create(id.clone()));
        }
        events.push(RoomEvent::Join(id.clone(), id.clone()));
        let hash = self.hasher.hash_one(id.as_str());
        let slot = self.members.insert(Member { id, value, rooms: SmallVec::new(), own: true }) as u32;
        let (members, hasher) = (&self.members, &self.hasher);
        self.by_id.insert_unique(hash, slot, |&slot| hasher.hash_one(members[slot as usize].id.as_str()));
        Some(Slot(slot))
    }

    /// Removes a member from everything; its rooms, its own included.
    pub(crate) fn remove(&mut self, slot: Slot, events: &mut Vec<RoomEvent>) -> Vec<Room> {
        let Some(member) = self.members.get_mut(slot.0 as usize) else { return Vec::new() };
        let (rooms, own, id) = (std::mem::take(&mut member.rooms), member.own, member.id.clone());
        let mut left = Vec::with_capacity(rooms.len() + 1);
        if own {
            self.leave_own(slot, events);
            left.push(id.clone());
        }
        for room in rooms {
            left.push(self.rooms[room as usize].name.clone());
            self.leave_entry(slot, room, &id, events);
        }
        let hash = self.hasher.hash_one(id.as_str());
        if let Ok(found) = self.by_id.find_entry(hash, |&other| other == slot.0) {
            found.remove();
        }
        self.members.remove(slot.0 as usize);
        left
    }

    /// Puts a member into a room.
    pub(crate) fn join(&mut self, slot: Slot, name: &Room, events: &mut Vec<RoomEvent>) {
        let Some(member) = self.members.get(slot.0 as usize) else { return };
        if member.id == *name {
            if !member.own {
                let id = member.id.clone();
                if !self.by_name.contains_key(&**name) {
                    events.push(RoomEvent::Create(id.clone()));
                }
                events.push(RoomEvent::Join(id.clone(), id));
                self.members[slot.0 as usize].own = true;
            }
            return;
        }
        let id = member.id.clone();
        let room = match self.by_name.get(&**name) {
            Some(&room) => room,
            None => {
                let entry = Entry { name: name.clone(), members: IndexSet::with_hasher(FastHash) };
                let room = self.rooms.insert(entry) as u32;
                self.by_name.insert(name.clone(), room);
                if !self.is_own_room(name) {
                    events.push(RoomEvent::Create(name.clone()));
                }
                room
            }
        };
        if self.rooms[room as usize].members.insert(slot.0) {
            self.members[slot.0 as usize].rooms.push(room);
            events.push(RoomEvent::Join(name.clone(), id));
        }
    }

    /// Takes a member out of a room.
    pub(crate) fn leave(&mut self, slot: Slot, name: &str, events: &mut Vec<RoomEvent>) {
        let Some(member) = self.members.get_mut(slot.0 as usize) else { return };
        if *member.id == *name {
            if member.own {
                self.leave_own(slot, events);
            }
            return;
        }
        let Some(&room) = self.by_name.get(name) else { return };
        let Some(at) = member.rooms.iter().position(|&other| other == room) else { return };
        member.rooms.swap_remove(at);
        let id = member.id.clone();
        self.leave_entry(slot, room, &id, events);
    }

    fn leave_own(&mut self, slot: Slot, events: &mut Vec<RoomEvent>) {
        let member = &mut self.members[slot.0 as usize];
        member.own = false;
        let id = member.id.clone();
        events.push(RoomEvent::Leave(id.clone(), id.clone()));
        if !self.by_name.contains_key(&*id) {
            events.push(RoomEvent::Delete(id));
        }
    }

    /// The room's side of a leave; the member's is done.
    fn leave_entry(&mut self, slot: Slot, room: u32, id: &Room, events: &mut Vec<RoomEvent>) {
        let entry = &mut self.rooms[room as usize];
        entry.members.swap_remove(&slot.0);
        let name = entry.name.clone();
        let empty = entry.members.is_empty();
        events.push(RoomEvent::Leave(name.clone(), id.clone()));
        if empty {
            self.by_name.remove(&*name);
            self.rooms.remove(room as usize);
            if !self.is_own_room(&name) {
                events.push(RoomEvent::Delete(name));
            }
        }
    }

    fn slot_of(&self, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.by_id.find(hash, |&slot| *self.members[slot as usize].id == *id).copied()
    }

    fn is_own_room(&self, name: &str) -> bool {
        self.slot_of(name).is_some_and(|slot| self.members[slot as usize].own)
    }

    /// The member with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&M> {
        self.slot_of(id).map(|slot| &self.members[slot as usize].value)
    }

    /// The number of members.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Names of all rooms, the members' own included.
    pub(crate) fn names(&self) -> Vec<Room> {
        let own = self.members.iter().map(|(_, member)| member).filter(|member| member.own);
        let own = own.map(|member| &member.id).filter(|id| !self.by_name.contains_key(&***id));
        own.chain(self.by_name.keys()).cloned().collect()
    }

    /// How many members a room has.
    pub(crate) fn room_len(&self, name: &str) -> usize {
        let members = self.by_name.get(name).map_or(0, |&room| self.rooms[room as usize].members.len());
        members + usize::from(self.is_own_room(name))
    }

    /// The rooms of a member, its own included.
    pub(crate) fn rooms_of(&self, slot: Slot) -> Vec<Room> {
        let Some(member) = self.members.get(slot.0 as usize) else { return Vec::new() };
        let own = member.own.then_some(&member.id);
        let others = member.rooms.iter().map(|&room| &self.rooms[room as usize].name);
        own.into_iter().chain(others).cloned().collect()
    }

    /// Visits the members that `options` are for, each once.
    pub(crate) fn each<'a>(&'a self, options: &BroadcastOptions, mut visit: impl FnMut(&'a M)) {
        let excluded = Excluded::new(self, &options.except);
        let mut visit = |slot: u32| {
            if !excluded.contains(slot) {
                visit(&self.members[slot as usize].value);
            }
        };
        let Some(rooms) = &options.rooms else {
            return self.members.iter().for_each(|(slot, _)| visit(slot as u32));
        };
        if let [room] = &rooms[..] {
            return self.slots_in(room).for_each(visit);
        }
        let mut seen = vec![false; self.members.capacity()];
        for room in rooms {
            for slot in self.slots_in(room) {
                if !std::mem::replace(&mut seen[slot as usize], true) {
                    visit(slot);
                }
            }
        }
    }

    fn slots_in(&self, room: &str) -> impl Iterator<Item = u32> {
        let own = self.slot_of(room).filter(|&slot| self.members[slot as usize].own);
        let entry = self.by_name.get(room).map(|&room| &self.rooms[room as usize]);
        own.into_iter().chain(entry.into_iter().flat_map(|entry| entry.members.iter().copied()))
    }

    /// The members that `options` are for. Each is given to `touch` shortly before it is cloned.
    pub(crate) fn select(&self, options: &BroadcastOptions, touch: impl Fn(&M)) -> Vec<M> {
        let mut found = Vec::new();
        self.each(options, |member| found.push(member));
        let mut selected = Vec::with_capacity(found.len());
        for some in found.chunks(TOUCHED) {
            some.iter().for_each(|member| touch(member));
            selected.extend(some.iter().map(|&member| member.clone()));
        }
        selected
    }
}

/// So many receivers of a broadcast are read before the first of them is changed. Reads that miss the cache wait side by
/// side; a changed reference count or lock waits by itself: with 10,000 receivers most of the time that `emit` takes.
pub(crate) const TOUCHED: usize = 16;

/// The rooms whose members are left out.
struct Excluded<'a> {
    ids: SmallVec<[u32; 2]>,
    rooms: SmallVec<[&'a Entry; 2]>,
    /// Instead of both where they are many: whether each slot is left out.
    marked: Vec<bool>,
}

/// Up to so many rooms to leave out are looked at for every receiver.
const FEW: usize = 8;

impl<'a> Excluded<'a> {
    fn new<M: Clone>(rooms: &'a Rooms<M>, except: &[Room]) -> Self {
        let own = except.iter().filter_map(|room| rooms.slot_of(room));
        let named = except.iter().filter_map(|room| rooms.by_name.get(&**room));
        let mut ids: SmallVec<_> = own.filter(|&slot| rooms.members[slot as usize].own).collect();
        let mut named: SmallVec<[&Entry; 2]> = named.map(|&room| &rooms.rooms[room as usize]).collect();
        let mut marked = Vec::new();
        if ids.len() + named.len() > FEW {
            marked.resize(rooms.members.capacity(), false);
            for slot in ids.drain(..).chain(named.drain(..).flat_map(|room| room.members.iter().copied())) {
                marked[slot as usize] = true;
            }
        }
        Self { ids, rooms: named, marked }
    }

    fn contains(&self, slot: u32) -> bool {
        self.marked.get(slot as usize).is_some_and(|&marked| marked)
            || self.ids.contains(&slot)
            || self.rooms.iter().any(|room| room.members.contains(&slot))
    }
}

/// Slots are our own small numbers, so nobody can choose them to collide: one multiplication spreads them.
#[derive(Clone, Copy, Default)]
struct FastHash;

impl BuildHasher for FastHash {
    type Hasher = SlotHasher;

    fn build_hasher(&self) -> SlotHasher {
        SlotHasher(0)
    }
}

struct SlotHasher(u64);

impl std::hash::Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, slot: u32) {
        self.0 = (self.0 ^ u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(ids: &[&str]) -> (Rooms<&'static str>, Vec<Slot>) {
        let mut rooms = Rooms::default();
        let slots = ids
            .iter()
            .map(|&id| {
                let name: &'static str = Box::leak(id.to_owned().into_boxed_str());
                rooms.insert(Room::new(id), name, &mut Vec::new()).unwrap()
            })
            .collect();
        (rooms, slots)
    }

    fn join(rooms: &mut Rooms<&'static str>, slot: Slot, room: &str) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        rooms.join(slot, &Room::new(room), &mut events);
        events
    }

    fn select(rooms: &Rooms<&'static str>, options: &BroadcastOptions) -> Vec<&'static str> {
        let mut selected = rooms.select(options, |_| ());
        selected.sort_unstable();
        selected
    }

    #[test]
    fn a_member_is_reached_once_by_several_rooms() {
        let (mut rooms, slots) = index(&["a", "b", "c"]);
        join(&mut rooms, slots[0], "r1");
        join(&mut rooms, slots[0], "r2");
        join(&mut rooms, slots[1], "r2");
        assert_eq!(select(&rooms, &BroadcastOptions::to(["r1", "r2"])), ["a", "b"]);
        assert_eq!(select(&rooms, &BroadcastOptions::to(["r1", "a", "c"])), ["a", "c"]);
        assert_eq!(select(&rooms, &BroadcastOptions::everyone().except("r1")), ["b", "c"]);
        assert_eq!(select(&rooms, &BroadcastOptions::to("r2").except("a")), ["b"]);
        let many: Vec<_> = (0..20).map(|n| format!("r{n}")).chain(["c".to_owned()]).collect();
        assert!(select(&rooms, &BroadcastOptions::everyone().except(many.clone())).is_empty());
        assert_eq!(select(&rooms, &BroadcastOptions::everyone().except(many[3..].to_vec())), ["a", "b"]);
        assert!(select(&rooms, &BroadcastOptions::to(Vec::<Room>::new())).is_empty());
        assert!(select(&rooms, &BroadcastOptions::to("nowhere")).is_empty());
    }

    #[test]
    fn rooms_live_as_long_as_they_have_members() {
        let (mut rooms, slots) = index(&["a", "b"]);
        let r = Room::new("r");
        let (a, b) = (Room::new("a"), Room::new("b"));
        assert_eq!(
            join(&mut rooms, slots[0], "r"),
            [RoomEvent::Create(r.clone()), RoomEvent::Join(r.clone(), a.clone())]
        );
        assert_eq!(join(&mut rooms, slots[0], "r"), [], "joining twice is nothing");
        assert_eq!(join(&mut rooms, slots[1], "r"), [RoomEvent::Join(r.clone(), b.clone())]);
        let mut events = Vec::new();
        rooms.leave(slots[0], "r", &mut events);
        assert_eq!(events, [RoomEvent::Leave(r.clone(), a)]);
        events.clear();
        let left = rooms.remove(slots[1], &mut events);
        assert_eq!(left, [b.clone(), r.clone()]);
        assert!(events.ends_with(&[RoomEvent::Leave(r.clone(), b), RoomEvent::Delete(r)]));
        assert_eq!(rooms.names(), [Room::new("a")]);
        assert_eq!(rooms.len(), 1);
    }

    #[test]
    fn a_members_own_room_is_a_room_like_others() {
        let (mut rooms, slots) = index(&["a", "b"]);
        join(&mut rooms, slots[1], "a");
        assert_eq!(rooms.room_len("a"), 2);
        assert_eq!(select(&rooms, &BroadcastOptions::to("a")), ["a", "b"]);
        rooms.leave(slots[0], "a", &mut Vec::new());
        assert_eq!(select(&rooms, &BroadcastOptions::to("a")), ["b"]);
        assert_eq!(select(&rooms, &BroadcastOptions::everyone().except("a")), ["a"]);
        assert!(rooms.get("a").is_some(), "it is still there, only out of that room");
        join(&mut rooms, slots[0], "a");
        assert_eq!(rooms.room_len("a"), 2);
    }

    #[test]
    fn an_id_is_taken_once_and_free_again_afterwards() {
        let (mut rooms, slots) = index(&["a"]);
        assert!(rooms.insert(Room::new("a"), "again", &mut Vec::new()).is_none());
        rooms.remove(slots[0], &mut Vec::new());
        assert!(rooms.insert(Room::new("a"), "again", &mut Vec::new()).is_some());
        assert!(rooms.get("b").is_none());
    }
}
