//! Sockets that accept.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::layers::{Layers, WebSocketLayer};
use super::proxy::{Unintroduced, introduction};
use super::reactor::SharedReactor;
use super::server::drive;
use crate::broker::{Peer, Refusal};
use crate::config::{Proxies, WebSocket};

/// What new connections of a listener shake hands with; can be replaced while it listens.
pub type TlsInForce = Arc<ArcSwap<ServerConfig>>;

/// A listener, ready to be served by every shard.
#[derive(Clone)]
pub struct ListenerSpec {
    /// As in the configuration.
    pub name: Arc<str>,
    /// Where; port 0 lets the system choose, once for all shards.
    pub bind: SocketAddr,
    /// With TLS.
    pub tls: Option<TlsInForce>,
    /// MQTT in WebSocket frames.
    pub websocket: Option<Arc<WebSocket>>,
    /// Who may say for whom it speaks.
    pub proxies: Proxies,
    /// Connections come from `proxies` alone and begin with a PROXY header, which must be there
    /// within this time.
    pub proxy_protocol: Option<Duration>,
}

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// Connections on one shard whose proxy has still to say for whom it speaks; beyond it a listener
/// accepts no more for a while.
const INTRODUCTIONS: usize = 1024;

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
    let spec = Rc::new(spec);
    let introductions = Arc::new(Semaphore::new(INTRODUCTIONS));
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
        match spec.proxy_protocol {
            None => serve(&spec, tcp, address, &reactor),
            Some(patience) if spec.proxies.contains(address.ip()) => {
                // Whoever lists a proxy answers for it, so this is not a place to fill up; and where
                // a proxy has gone mad, its own connections wait.
                let Ok(place) = Arc::clone(&introductions).acquire_owned().await else {
                    return;
                };
                let (spec, reactor) = (Rc::clone(&spec), Rc::clone(&reactor));
                tokio::task::spawn_local(async move {
                    introduce(&spec, tcp, address, patience, &reactor).await;
                    drop(place);
                });
            }
            Some(_) => turn_away(&spec, address, Refusal::UnlistedProxy, &reactor),
        }
        if reactor.borrow().accepts_later() {
            tokio::task::yield_now().await;
        }
    }
}

/// Serves a connection from a listed proxy once that has said for whom it speaks.
async fn introduce(
    spec: &ListenerSpec,
    mut tcp: TcpStream,
    address: SocketAddr,
    patience: Duration,
    reactor: &SharedReactor,
) {
    let refusal = match timeout(patience, introduction(&mut tcp)).await {
        Ok(Ok(client)) => return serve(spec, tcp, client.unwrap_or(address), reactor),
        // A probe that says nothing is nobody's login.
        Ok(Err(Unintroduced::Silent)) => return,
        Ok(Err(Unintroduced::Gone)) => Refusal::Gone,
        Ok(Err(Unintroduced::Header(error))) => {
            tracing::debug!(listener = %spec.name, proxy = %address, %error, "not introduced");
            Refusal::ProxyHeader
        }
        Err(_) => Refusal::ConnectTimeout,
    };
    turn_away(spec, address, refusal, reactor);
}

fn serve(spec: &ListenerSpec, tcp: TcpStream, address: SocketAddr, reactor: &SharedReactor) {
    let Ok(layers) = layers(spec, address) else {
        return;
    };
    // A proxy stands for many: whom it speaks for is counted when it has said so.
    let is_proxy = spec.proxies.contains(address.ip());
    let accepted = reactor
        .borrow_mut()
        .accept(tcp, peer(spec, address), is_proxy, layers);
    if let Some(conn) = accepted {
        tokio::task::spawn_local(drive(Rc::clone(reactor), conn));
    }
}

fn turn_away(spec: &ListenerSpec, address: SocketAddr, why: Refusal, reactor: &SharedReactor) {
    reactor.borrow_mut().turn_away(peer(spec, address), why);
}

fn peer(spec: &ListenerSpec, address: SocketAddr) -> Peer {
    Peer {
        address,
        listener: Arc::clone(&spec.name),
    }
}

fn layers(spec: &ListenerSpec, peer: SocketAddr) -> Result<Layers, rustls::Error> {
    let tls = match &spec.tls {
        Some(config) => Some(Box::new(ServerConnection::new(config.load_full())?)),
        None => None,
    };
    let websocket = spec
        .websocket
        .as_ref()
        .map(|rules| WebSocketLayer::new(Arc::clone(rules), peer, spec.proxies.clone()))
        .map(Box::new);
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
