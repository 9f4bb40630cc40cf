//! Wakes the daemon: a datagram that says *look again*, and at most a hint where.
//!
//! A ping may be lost, doubled or sent to nobody: the process that wakes up reads what is true from the store
//! and the disk, and looks on a timer too. So senders ignore every error.

use crate::error::{Doing, Error, ErrorKind};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};
use tokio::net::UnixDatagram;

/// The hint of a shim whose attempt is over.
pub const ENDED: &str = "ended";
/// The hint of a stream that has committed.
pub const COMMITTED: &str = "committed";
/// The hint of a command line that has left a request.
pub const REQUESTED: &str = "requested";

/// A hint is one word; what is longer is cut off by the reader.
const HINT_BYTES_MAX: usize = 256;
/// `sun_path` holds 108 bytes with its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Tells the daemon of the project whose state is in `home` to look again.
pub fn send(home: &Path, hint: &str) {
    let sent = StdDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?; // A full queue is a wake-up too.
        with_short_path(home, |path| socket.send_to(hint.as_bytes(), path))
    });
    drop(sent);
}

/// The receiving end, of which a project has one.
#[derive(Debug)]
pub struct Listener {
    socket: UnixDatagram,
}

impl Listener {
    /// Takes the socket over from a daemon that is gone; the caller holds the daemon's lock.
    pub fn bind(home: &Path) -> Result<Self, Error> {
        let socket = with_short_path(home, |path| {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            UnixDatagram::bind(path)
        });
        let socket = socket
            .map_err(|error| Error::new(ErrorKind::Input, error))
            .doing(|| format!("open the socket {}/ping.sock", home.display()))?;
        Ok(Self { socket })
    }

    /// Waits for a ping and returns its hint, which may be empty.
    pub async fn heard(&self) -> String {
        let mut hint = [0; HINT_BYTES_MAX];
        match self.socket.recv(&mut hint).await {
            Ok(length) => String::from_utf8_lossy(&hint[..length]).into_owned(),
            Err(_) => String::new(), // Whatever it was, to look again is right.
        }
    }
}

/// Calls `act` with the socket's path, by way of an open folder where the path itself is too long.
fn with_short_path<T>(home: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = home.join("ping.sock");
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return act(&path);
    }
    let folder = File::open(home)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}/ping.sock", folder.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check_heard(home: &Path) {
        let listener = Listener::bind(home).unwrap();
        send(home, "wikimedia.land");
        assert_eq!(listener.heard().await, "wikimedia.land");
    }

    #[tokio::test]
    async fn a_ping_arrives_with_its_hint() {
        check_heard(tempfile::tempdir().unwrap().path()).await;
    }

    #[tokio::test]
    async fn a_folder_too_deep_for_a_socket_name_is_reached_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("deep".repeat(20)).join("deeper".repeat(20));
        std::fs::create_dir_all(&home).unwrap();
        check_heard(&home).await;
    }

    #[tokio::test]
    async fn the_socket_of_a_killed_daemon_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        std::mem::forget(Listener::bind(home.path()).unwrap());
        check_heard(home.path()).await;
    }

    #[test]
    fn a_ping_to_nobody_is_no_error() {
        send(Path::new("/nowhere"), "x");
    }
}
