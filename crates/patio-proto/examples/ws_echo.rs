//! An echo server over `patio_proto::ws` and nothing else, for the Autobahn suite and for a look at the API.
//!
//! `cargo run -p patio-proto --features deflate --example ws_echo -- 127.0.0.1:9001`, then
//! `wstest -m fuzzingclient` against it. One thread a connection: it is no server to deploy.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
};

use patio_proto::ws::{CloseFrame, Decoder, Message, Role, close_frame, encode_message, handshake};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut decoder = Decoder::new(Role::Server, 64 << 20);
    let mut buffer = vec![0; 64 * 1024];
    let mut head = 0;
    let end = loop {
        head += read(&mut stream, &mut buffer[head..])?;
        if let Some(at) = memchr::memmem::find(&buffer[..head], b"\r\n\r\n") {
            break at + 4;
        }
    };
    let (answer, compression) = answer(&buffer[..end])?;
    stream.write_all(answer.as_bytes())?;
    let mut compressor = None;
    if compression {
        (decoder, compressor) = with_deflate(decoder);
    }
    let mut filled = end..head;
    loop {
        let mut input = &mut buffer[filled];
        let mut out = Vec::new();
        let mut closed = false;
        while !closed {
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(Message::Ping(payload))) => encode_message(&mut out, &Message::Pong(payload), None),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(close))) => {
                    close_frame(&mut out, close.as_ref(), None);
                    closed = true;
                }
                Ok(Some(message)) => match &mut compressor {
                    Some(compress) => out.extend_from_slice(&compress(&message)),
                    None => encode_message(&mut out, &message, None),
                },
                Err(error) => {
                    let close = CloseFrame { code: error.close_code(), reason: error.to_string().into() };
                    close_frame(&mut out, Some(&close), None);
                    closed = true;
                }
            }
        }
        stream.write_all(&out)?;
        if closed {
            stream.shutdown(std::net::Shutdown::Write)?;
            while stream.read(&mut buffer)? > 0 {}
            return Ok(());
        }
        filled = 0..read(&mut stream, &mut buffer)?;
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match stream.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}

/// The answer to the request in `head`, and whether it accepts compression.
fn answer(head: &[u8]) -> io::Result<(String, bool)> {
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let headers = |name: &'static str| {
        text.lines().skip(1).filter_map(move |line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim().as_bytes())
        })
    };
    let key =
        handshake::accept(text.split(' ').next().unwrap_or_default(), headers).map_err(io::Error::other)?;
    let mut answer =
        String::from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    answer.extend(["Sec-WebSocket-Accept: ", key.as_str(), "\r\n"]);
    let extension = negotiate(headers("sec-websocket-extensions"))?;
    if let Some(extension) = extension {
        answer.extend(["Sec-WebSocket-Extensions: ", extension, "\r\n"]);
    }
    Ok((answer + "\r\n", extension.is_some()))
}

type Compress = Box<dyn FnMut(&Message) -> bytes::Bytes>;

#[cfg(feature = "deflate")]
fn negotiate<'h>(offers: impl Iterator<Item = &'h [u8]>) -> io::Result<Option<&'static str>> {
    patio_proto::ws::deflate::negotiate(offers).map_err(io::Error::other)
}

#[cfg(not(feature = "deflate"))]
fn negotiate<'h>(_offers: impl Iterator<Item = &'h [u8]>) -> io::Result<Option<&'static str>> {
    Ok(None)
}

#[cfg(feature = "deflate")]
fn with_deflate(decoder: Decoder) -> (Decoder, Option<Compress>) {
    use patio_proto::ws::{Opcode, deflate::Compressor};

    let mut compressor = Compressor::new(6);
    let compress = move |message: &Message| match message {
        Message::Text(text) => compressor.frame(Opcode::Text, text.as_bytes(), None),
        Message::Binary(bytes) => compressor.frame(Opcode::Binary, bytes, None),
        _ => bytes::Bytes::new(),
    };
    (decoder.with_deflate(), Some(Box::new(compress)))
}

#[cfg(not(feature = "deflate"))]
fn with_deflate(decoder: Decoder) -> (Decoder, Option<Compress>) {
    (decoder, None)
}
