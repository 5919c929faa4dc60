//! The brokers: started on free ports of loopback, ended with their fixture.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cofferdam::wire::Version;
use tempfile::TempDir;

use super::running::{Broker, PATIENCE, Setup, eventually};

/// A running broker.
pub struct Peer {
    pub name: &'static str,
    /// How long it may take for anything. For a peer, that leaves some things undone, only as long as
    /// it takes where nothing else keeps the machine busy.
    pub patience: Duration,
    v3: SocketAddr,
    v5: SocketAddr,
    _runs: Runs,
}

#[allow(dead_code)] // held for what their ends do
enum Runs {
    Cofferdam(Broker),
    Other(Ended, TempDir),
}

/// Killed when it is let go.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Peer {
    /// Ours.
    pub fn cofferdam(shards: u32) -> Self {
        let config = format!(
            "data_dir = \"data\"\nshards = {shards}\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [[listener]]\nname = \"open\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n\
             anonymous_team = \"open\"\n[journal]\ndurability = \"memory\"\n"
        );
        let broker = Setup::new().config(&config).start();
        let address = broker.address("open");
        Self {
            name: "cofferdam",
            patience: PATIENCE,
            v3: address,
            v5: address,
            _runs: Runs::Cofferdam(broker),
        }
    }

    /// Debian's package.
    pub fn mosquitto() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = free_address();
        let config = directory.path().join("mosquitto.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             set_tcp_nodelay true\nlog_type none\n",
            address.port()
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = Command::new(sbin("mosquitto"));
        command.arg("-c").arg(&config);
        Self::other("mosquitto", command, directory, [address, address])
    }

    /// `tests/rumqttd-peer`, where `COFFERDAM_TEST_RUMQTTD` says it is.
    pub fn rumqttd() -> Self {
        let binary = std::env::var_os("COFFERDAM_TEST_RUMQTTD")
            .expect("COFFERDAM_TEST_RUMQTTD names the binary of tests/rumqttd-peer: make test");
        let (v3, v5) = (free_address(), free_address());
        let mut command = Command::new(binary);
        command.args([v3.port().to_string(), v5.port().to_string()]);
        let directory = tempfile::tempdir().expect("a directory");
        Self::other("rumqttd", command, directory, [v3, v5])
    }

    fn other(
        name: &'static str,
        mut command: Command,
        directory: TempDir,
        [v3, v5]: [SocketAddr; 2],
    ) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.current_dir(directory.path()).spawn();
        let child = Ended(child.unwrap_or_else(|error| panic!("{name}: {error}")));
        for address in [v3, v5] {
            eventually(name, || TcpStream::connect(address));
        }
        Self {
            name,
            patience: Duration::from_millis(1500),
            v3,
            v5,
            _runs: Runs::Other(child, directory),
        }
    }

    /// Where clients of this version connect.
    pub fn address(&self, version: Version) -> SocketAddr {
        match version {
            Version::V5 => self.v5,
            Version::V31 | Version::V311 => self.v3,
        }
    }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Debian keeps daemons where only root looks for programs.
fn sbin(name: &str) -> PathBuf {
    let path = PathBuf::from("/usr/sbin").join(name);
    if path.exists() { path } else { name.into() }
}
