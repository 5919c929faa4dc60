//! The control socket: the API for the CLI, on a Unix socket in the data directory.
//!
//! Its permissions say who may use it: the broker's own user. Whoever opens it holds the lock on the
//! data directory, so that a socket found there belongs to no running broker and is replaced.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::api::{self, Slot};

/// The socket's name in the data directory.
pub const FILE: &str = "control.sock";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The listening socket; its file goes with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    _file: Remove,
}

#[derive(Debug)]
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        // Whoever starts next replaces it anyhow.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl ControlSocket {
    /// Opens it in `data_dir`, which the caller has claimed. To be called within a tokio runtime.
    ///
    /// # Errors
    /// As the system says: something else has its name, or the path is too long for a socket.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        remove_stale(&path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(&path)?)?;
        let file = Remove(path);
        // Nobody can connect before it listens, so there is no moment with wider permissions.
        std::fs::set_permissions(&file.0, Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self {
            listener,
            _file: file,
        })
    }

    /// Serves the API until `stop` ends and requests under way are answered.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        slot: Slot,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let served = axum::serve(self.listener, api::local(slot)).with_graceful_shutdown(stop);
        served.await
    }
}

/// Takes away a socket that a broker left behind, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => {
            let what = format!("{} is there and is no socket", path.display());
            Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_runtime<T>(scene: impl FnOnce() -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async { scene() })
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_goes_with_the_broker() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        in_runtime(|| {
            let open = ControlSocket::open(dir.path()).expect("opened");
            let mode = std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            drop(open);
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_anything_else_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE);
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "left behind");
        in_runtime(|| {
            drop(ControlSocket::open(dir.path()).expect("replaced"));
            std::fs::write(&path, "precious").expect("a file");
            let refused = ControlSocket::open(dir.path()).expect_err("a file is there");
            assert!(refused.to_string().ends_with("is there and is no socket"));
        });
        assert_eq!(
            std::fs::read_to_string(&path).expect("still there"),
            "precious"
        );
        let target = dir.path().join("target");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&target, "precious").expect("a file");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        in_runtime(|| ControlSocket::open(dir.path()).expect_err("a link is there"));
        assert!(target.exists());
    }
}
