//! Sockets that accept.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Protocol, Socket, Type};

use super::layers::{Layers, WebSocketLayer};
use super::reactor::SharedReactor;
use super::server::drive;
use crate::broker::Peer;
use crate::config::WebSocket;

/// A listener, ready to be served by every shard.
#[derive(Clone)]
pub struct ListenerSpec {
    /// As in the configuration.
    pub name: Arc<str>,
    /// Where; port 0 lets the system choose, once for all shards.
    pub bind: SocketAddr,
    /// With TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// MQTT in WebSocket frames.
    pub websocket: Option<Arc<WebSocket>>,
}

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// How long a shard leaves a listener alone when the system has no more sockets to give.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A listener's sockets, one a shard: the system spreads connections over them.
///
/// The first is bound and listens before it agrees to share (SO_REUSEPORT), so that the system
/// refuses an address which anybody else has, another broker of the same user included. Sharing
/// from the start would let two brokers split the clients between them without a word.
///
/// # Errors
/// As the system says: the address is in use, or not ours.
pub(super) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for place in 0..count {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        let first = place == 0;
        if !first {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        if first {
            socket.set_reuse_port(true)?;
        }
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Accepts for one shard until its runtime ends.
pub(super) async fn accept(spec: ListenerSpec, socket: TcpListener, reactor: SharedReactor) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(listener = %spec.name, %error, "cannot accept");
            return;
        }
    };
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the client was gone already: neither ends the listener.
                tracing::warn!(listener = %spec.name, %error, "cannot accept a connection");
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        let _ = tcp.set_nodelay(true);
        let Ok(layers) = layers(&spec) else { continue };
        let peer = Peer {
            address,
            listener: Arc::clone(&spec.name),
        };
        let accepted = reactor.borrow_mut().accept(tcp, peer, layers);
        if let Some(conn) = accepted {
            tokio::task::spawn_local(drive(Rc::clone(&reactor), conn));
        }
        if reactor.borrow().accepts_later() {
            tokio::task::yield_now().await;
        }
    }
}

fn layers(spec: &ListenerSpec) -> Result<Layers, rustls::Error> {
    let tls = match &spec.tls {
        Some(config) => Some(Box::new(ServerConnection::new(Arc::clone(config))?)),
        None => None,
    };
    let websocket = spec
        .websocket
        .as_ref()
        .map(|rules| Box::new(WebSocketLayer::new(Arc::clone(rules))));
    Ok(Layers { tls, websocket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_an_address_that_nobody_else_can_have() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let own = bind(any, 3).expect("a free port");
        let address = own[0].local_addr().expect("bound");
        for listener in &own {
            assert_eq!(listener.local_addr().ok(), Some(address));
        }
        let other = bind(address, 3).map(drop).map_err(|error| error.kind());
        assert_eq!(other, Err(io::ErrorKind::AddrInUse));
        drop(own);
        assert!(bind(address, 3).is_ok(), "free again");
    }
}
