use patio::{Socket, handler::Handler};

fn on<M>(_event: &str, _handler: impl Handler<M>) {}

async fn message(_socket: Socket, _text: String) {}

fn main() {
    on("message", message);
}
