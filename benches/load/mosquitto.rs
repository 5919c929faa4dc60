//! Debian's mosquitto, with persistence, in a directory of its own.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::broker::{cpu_of, free_address};

/// A running mosquitto. It ends with this.
pub struct Mosquitto {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

/// Where Debian has it.
const PROGRAM: &str = "/usr/sbin/mosquitto";

impl Mosquitto {
    /// Whether it is there.
    pub fn is_installed() -> bool {
        std::path::Path::new(PROGRAM).exists()
    }

    /// Starts it and waits until it listens.
    pub fn start() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = free_address()?;
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {}/\nmax_queued_messages 0\nmax_inflight_messages 1024\n\
             set_tcp_nodelay true\nlog_type error\nuser root\n",
            address.port(),
            directory.path().display()
        );
        let file = directory.path().join("mosquitto.conf");
        std::fs::write(&file, config)?;
        let child = Command::new(PROGRAM)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()?;
        let started = Self {
            child,
            address,
            _directory: directory,
        };
        let patience = Instant::now() + Duration::from_secs(20);
        while let Err(error) = TcpStream::connect(address) {
            if Instant::now() > patience {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(started)
    }

    /// Where clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time that it has used.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu_of(self.child.id())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
