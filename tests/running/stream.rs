//! A socket of a client, with or without TLS. Whatever blocks does so for a while only.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A connected socket. A read or write that takes longer than [`PATIENCE`] fails.
pub enum Stream {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The TLS versions that a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Any,
    V12,
    V13,
}

/// A client that trusts a CA.
pub(super) fn client_config(ca: &Path, versions: Tls) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("the CA's certificate");
    roots.add(ca).expect("a CA");
    let versions: &[_] = match versions {
        Tls::Any => &[&TLS12, &TLS13],
        Tls::V12 => &[&TLS12],
        Tls::V13 => &[&TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions that the provider has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Stream {
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Tcp(connect(address))
    }

    /// From an address of the loopback network.
    pub fn tcp_from(own: Ipv4Addr, address: SocketAddr) -> Self {
        Self::Tcp(connect_from(own, address))
    }

    /// Shakes hands, and checks the certificate for `localhost`.
    pub fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::tcp(address).into_tls(config)
    }

    /// Shakes hands over what is connected already.
    pub fn into_tls(self, config: &Arc<ClientConfig>) -> Self {
        let Self::Tcp(socket) = self else {
            panic!("TLS stands already");
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .expect("a handshake");
        }
        Self::Tls(Box::new(stream))
    }

    /// What was agreed on; `None` without TLS.
    pub fn tls_version(&self) -> Option<ProtocolVersion> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(stream) => stream.conn.protocol_version(),
        }
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// As the broker sees it, and writes it in the audit.
    pub fn own_address(&self) -> String {
        self.socket().local_addr().expect("connected").to_string()
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        // The broker may have closed already.
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Everything until the broker closes.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = self.read_to_end(&mut bytes) {
            panic!("the broker does not close: {error}, after {bytes:02x?}");
        }
        bytes
    }
}

/// Each connection from an address of its own: refused connections of one address are folded on
/// record when they come as fast as tests make them.
fn connect(address: SocketAddr) -> TcpStream {
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let host = CONNECTIONS.fetch_add(1, Ordering::Relaxed) % 0x00ff_0000;
    connect_from(
        Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + host),
        address,
    )
}

fn connect_from(own: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    if address.is_ipv4() {
        socket
            .bind(&SocketAddr::from((own, 0)).into())
            .expect("an address of the loopback network");
    }
    socket.connect(&address.into()).expect("the broker listens");
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket.set_write_timeout(Some(PATIENCE)).expect("a socket");
    socket
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
