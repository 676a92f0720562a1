//! The cases, by topic. Server 0 acts; what must happen on the others is looked at there.

mod acks;
mod broadcast;
mod queries;
mod recovery;
mod servers;
mod sockets;

use super::{Case, Needs, Servers};
use crate::{AdapterError, Payload};

/// Ends a case with what is wrong unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

/// Ends a case with both values unless they are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $what:literal) => {
        match (&$left, &$right) {
            (left, right) if left != right => return Err(format!("{}: {left:?}, not {right:?}", $what)),
            _ => {}
        }
    };
}

use ensure;
use ensure_eq;

macro_rules! cases {
    ($($topic:ident { $($name:ident($needs:ident),)+ })+) => {
        /// Every case of the contract.
        pub const CASES: &[Case] = &[$($(Case {
            name: stringify!($name),
            needs: Needs::$needs,
            run: |servers| Box::pin($topic::$name(servers)),
        },)+)+];
    };
}

cases! {
    broadcast {
        a_broadcast_reaches_everyone_once(Any),
        own_sockets_have_it_when_broadcast_returns(Immediate),
        a_confirmed_broadcast_reaches_everyone_once(Any),
        broadcasts_keep_their_order(Any),
        a_broadcast_to_a_room(Any),
        a_broadcast_to_a_numeric_room(Any),
        a_broadcast_to_several_rooms_reaches_members_of_both_once(Any),
        a_broadcast_to_a_room_with_strange_characters(Any),
        a_broadcast_except_a_room(Any),
        a_broadcast_except_a_socket(Any),
        a_broadcast_to_a_room_except_another(Any),
        a_local_broadcast_stays_here(Any),
        a_broadcast_to_one_socket_by_id(Any),
        an_empty_list_of_rooms_is_nobody(Any),
        flags_travel(Three),
        namespaces_are_separate(Any),
    }
    acks {
        all_acks_come(Any),
        binary_acks_stay_binary(Any),
        nobody_asked_is_no_answer(Any),
        slow_acks_come(Any),
        a_silent_socket_of_another_server_is_counted(Three),
        a_silent_socket_of_this_server_is_named(Any),
        a_socket_that_leaves_is_not_awaited(Any),
        a_late_ack_is_ignored(Any),
        an_ack_of_one_other_socket(Three),
        acks_with_except(Any),
        acks_of_this_server_only(Any),
        questions_are_forgotten(Any),
        a_dropped_question_is_forgotten(Any),
        two_questions_do_not_mix(Any),
    }
    sockets {
        everyone_joins(Any),
        members_of_a_room_join(Any),
        one_socket_joins_by_id(Any),
        only_sockets_of_this_server_join(Any),
        everyone_leaves(Any),
        members_of_a_room_leave(Any),
        one_socket_leaves_by_id(Any),
        a_joined_room_is_reached_and_a_left_one_is_not(Any),
        everyone_is_disconnected(Any),
        members_of_a_room_are_disconnected_with_their_connections(Any),
        only_sockets_of_this_server_are_disconnected(Any),
        a_packet_precedes_the_disconnection(Any),
    }
    queries {
        all_sockets_are_fetched_once(Any),
        sockets_of_a_room_are_fetched(Any),
        one_socket_is_fetched_by_id(Any),
        sockets_of_this_server_are_fetched(Any),
        sockets_are_counted(Any),
        all_rooms_are_listed(Any),
        queries_at_once_do_not_mix(Any),
    }
    servers {
        servers_are_counted(Any),
        an_event_reaches_the_other_servers_only(Any),
        other_servers_answer(Any),
        a_silent_server_is_counted(Three),
        a_closed_server_is_gone(Three),
        a_closed_server_serves_its_own(Any),
    }
    recovery {
        a_session_is_restored_with_what_it_missed(Recovery),
        what_a_session_would_not_have_got_is_not_replayed(Recovery),
        an_unknown_session_is_not_restored(Recovery),
        an_unknown_offset_is_not_restored(Recovery),
        a_replay_continues_at_the_cursor(Recovery),
        offsets_grow_in_the_order_of_delivery(Recovery),
    }
}

/// The event `["name", n]`.
fn event(name: &str, n: usize) -> Payload {
    Payload::event(name, &n).expect("a number can always be written")
}

/// An error of an operation that must work.
fn failed(error: AdapterError) -> String {
    format!("failed: {error}")
}
