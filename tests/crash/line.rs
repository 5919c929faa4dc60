//! A connection that may break anywhere.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use cofferdam::wire::Version;
use cofferdam::wire::client::{self, Connect, ServerPacket};

use crate::running::{Broker, Login, lasting};

/// A socket to the broker, and what came by it.
pub struct Line {
    stream: TcpStream,
    came: Vec<u8>,
    version: Version,
}

impl Line {
    /// Logs in to a session that is kept; whether there was one.
    pub fn open(broker: &Broker, login: &Login, version: Version) -> io::Result<(Self, bool)> {
        Self::with(broker, &lasting(login.connect(version), 3600))
    }

    /// Logs in as `connect` says.
    pub fn with(broker: &Broker, connect: &Connect) -> io::Result<(Self, bool)> {
        let stream = TcpStream::connect(broker.address("tcp"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let mut line = Self {
            stream,
            came: Vec::new(),
            version: connect.version,
        };
        line.send(&connect.encode())?;
        match line.packet()? {
            ServerPacket::ConnAck(connack) => {
                assert_eq!(connack.code, 0);
                Ok((line, connack.session_present))
            }
            other => panic!("no CONNACK: {other:?}"),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn packet(&mut self) -> io::Result<ServerPacket> {
        loop {
            let read = client::read(&self.came, self.version).expect("a packet");
            if let Some((packet, length)) = read {
                self.came.drain(..length);
                return Ok(packet);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.came.extend_from_slice(&buffer[..length]),
            }
        }
    }
}
