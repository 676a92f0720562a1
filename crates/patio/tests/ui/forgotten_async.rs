use patio::{Socket, handler::Handler};

fn on<M>(_event: &str, _handler: impl Handler<M>) {}

fn message(_socket: Socket) {}

fn main() {
    on("message", message);
    on("message", |_socket: Socket| ());
}
