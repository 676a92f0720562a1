//! Questions about the cluster: how many sockets there are, which, in which rooms, on how many servers.

use patio::{BroadcastOperator, NamespaceHandle, SocketSnapshot};
use serde_json::{Value as Json, json};

use crate::ops::{
    Error, Operations,
    error::Code,
    fields::nearest,
    rooms::{is_like_an_id, user_of},
};

/// How many entries an answer has at most, if the question does not say.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// What a question says after its `?`.
#[derive(Debug, Default)]
pub(crate) struct Question {
    nsp: Option<String>,
    room: Option<String>,
    limit: usize,
    cursor: Option<String>,
}

impl Question {
    /// Reads a query. Errors name the field.
    pub(crate) fn read(query: &str) -> Result<Self, Error> {
        let mut question = Self { limit: LIMIT, ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "nsp" => question.nsp = Some(value),
                "room" => question.room = Some(value),
                "cursor" => question.cursor = Some(value),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    let message = || format!("must be a number from 1 to {MAX_LIMIT}");
                    question.limit =
                        limit.ok_or_else(|| Error::of(Code::InvalidField, "limit", message()))?;
                }
                other => {
                    let hint = nearest(other, &["nsp", "room", "limit", "cursor"]);
                    let hint = hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
                    return Err(Error::of(Code::UnknownField, other, format!("is no field here{hint}")));
                }
            }
        }
        Ok(question)
    }

    fn namespace(&self, operations: &Operations) -> Result<NamespaceHandle, Error> {
        operations.namespace(self.nsp.as_deref().unwrap_or("/"))
    }

    fn sockets(&self, namespace: &NamespaceHandle) -> BroadcastOperator {
        match &self.room {
            Some(room) => namespace.in_room(room),
            None => namespace.operator(),
        }
    }

    /// A page of what is ordered by a name: what comes after the cursor, and where the next one begins.
    fn page<T>(&self, mut entries: Vec<T>, name: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        entries.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        if let Some(cursor) = &self.cursor {
            let after = entries.partition_point(|entry| name(entry) <= cursor.as_str());
            entries.drain(..after);
        }
        let is_cut = entries.len() > self.limit;
        entries.truncate(self.limit);
        let next = entries.last().filter(|_| is_cut).map(|last| name(last).to_owned());
        (entries, next)
    }
}

/// `GET /api/count`
pub(crate) async fn count(operations: &Operations, question: &Question) -> Result<Json, Error> {
    let counted = question.sockets(&question.namespace(operations)?).count_sockets().await?;
    Ok(json!({ "count": counted.sockets, "missing": counted.missing }))
}

/// `GET /api/sockets`
pub(crate) async fn sockets(operations: &Operations, question: &Question) -> Result<Json, Error> {
    let fetched = question.sockets(&question.namespace(operations)?).fetch_sockets().await?;
    let (page, cursor) = question.page(fetched.sockets, |socket| &socket.id);
    let sockets: Json = page.iter().map(described).collect();
    Ok(json!({ "sockets": sockets, "cursor": cursor, "missing": fetched.missing }))
}

fn described(socket: &SocketSnapshot) -> Json {
    let user = socket.rooms.iter().find_map(|room| user_of(room));
    let rooms: Json =
        socket.rooms.iter().filter(|room| **room != socket.id).map(|room| room.as_str()).collect();
    json!({ "id": socket.id, "user": user, "rooms": rooms, "data": socket.data })
}

/// `GET /api/rooms`: without those of single sockets.
pub(crate) async fn rooms(operations: &Operations, question: &Question) -> Result<Json, Error> {
    let all = question.namespace(operations)?.all_rooms().await?;
    let rooms: Vec<_> = all.rooms.into_iter().filter(|room| !is_like_an_id(room)).collect();
    let (rooms, cursor) = question.page(rooms, |room| room);
    Ok(json!({ "rooms": rooms, "cursor": cursor, "missing": all.missing }))
}

/// `GET /api/servers`
pub(crate) async fn servers(operations: &Operations, question: &Question) -> Result<Json, Error> {
    let count = question.namespace(operations)?.server_count().await?;
    Ok(json!({ "servers": count }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let names = || ["d", "a", "c", "b"].map(str::to_owned).to_vec();
        let page = |query: &str| Question::read(query).unwrap().page(names(), |name| name);
        assert_eq!(page("limit=3"), (vec!["a".into(), "b".into(), "c".into()], Some("c".into())));
        assert_eq!(page("limit=3&cursor=c"), (vec!["d".into()], None));
        assert_eq!(page("cursor=bb").0, ["c", "d"]);
        for (query, field) in
            [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("rom=a", "rom")]
        {
            assert_eq!(Question::read(query).unwrap_err().field.as_deref(), Some(field), "{query}");
        }
    }
}
