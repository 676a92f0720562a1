use patio::{
    Reply, Socket,
    handler::{Handler, Middleware},
};

fn on<M>(_event: &str, _handler: impl Handler<M>) {}

fn middleware<M>(_handler: impl Middleware<M>) {}

struct MyError;

async fn number(_socket: Socket) -> u8 {
    1
}

async fn fallible(_socket: Socket) -> Result<Reply<u8>, MyError> {
    Err(MyError)
}

async fn guard(_socket: Socket) -> bool {
    true
}

fn main() {
    on("number", number);
    on("fallible", fallible);
    middleware(guard);
}
