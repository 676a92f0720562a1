use patio::{
    Socket,
    extract::Data,
    handler::{ConnectHandler, Handler},
};

fn on<M>(_event: &str, _handler: impl Handler<M>) {}

fn on_connect<M>(_handler: impl ConnectHandler<M>) {}

async fn message(Data(_text): Data<String>, _socket: Socket) {}

async fn joined(_socket: Socket, Data(_text): Data<String>) {}

fn main() {
    on("message", message);
    on_connect(joined);
}
