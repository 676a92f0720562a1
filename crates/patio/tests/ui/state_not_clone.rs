use patio::{Socket, extract::State, handler::Handler};

fn on<M>(_event: &str, _handler: impl Handler<M>) {}

struct Db;

async fn message(_socket: Socket, State(_db): State<Db>) {}

fn main() {
    on("message", message);
}
