//! The broker's API: over the control socket, and over the admin address with a token.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::{Broker, Stream};

/// An answer of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The media type.
    pub media: String,
    /// The body, where it is JSON.
    pub body: Value,
}

impl Broker {
    /// Asks over the control socket.
    pub fn control(&self, method: &str, path: &str, body: &str) -> Answer {
        let socket = self.place().path("data/control.sock");
        let stream = UnixStream::connect(socket).expect("a control socket");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("set");
        ask(stream, method, path, "Cofferdam-Actor: tester\r\n", body)
    }

    /// Asks over the admin address, with these headers.
    pub fn admin(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let stream = Stream::tcp(self.address("admin"));
        ask(stream, method, path, headers, body)
    }
}

fn ask(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let head = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    // What is refused by its head need not be taken.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        panic!("no answer: {read:?} {answer:?}");
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let media = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type")
            .then(|| value.to_owned())
    });
    Answer {
        status: status.expect("a status"),
        media: media.unwrap_or_default(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}
