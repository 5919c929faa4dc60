//! The release build of the broker, in a directory of its own.

use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running broker with a plain listener for each team, whose clients need no name. It ends with
/// this.
pub struct Broker {
    child: Child,
    directory: tempfile::TempDir,
    teams: Vec<(String, SocketAddr)>,
}

impl Broker {
    /// Starts `binary` and waits until it listens. `more` goes at the top of its configuration.
    pub fn start(binary: &Path, teams: &[&str], more: &str) -> io::Result<Self> {
        Self::start_with(binary, teams, more, &[])
    }

    /// The same with more in its environment.
    pub fn start_with(
        binary: &Path,
        teams: &[&str],
        more: &str,
        variables: &[(&str, String)],
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut config = format!("data_dir = \"data\"\n{more}\n[admin]\nbind = \"127.0.0.1:0\"\n");
        config += "[log]\nfilter = \"warn\"\n";
        let mut places = Vec::new();
        for team in teams {
            let address = free_address()?;
            config += &format!(
                "[[listener]]\nname = \"{team}\"\ntransport = \"tcp\"\nbind = \"{address}\"\n\
                 anonymous_team = \"{team}\"\n"
            );
            places.push(((*team).to_owned(), address));
        }
        std::fs::write(directory.path().join("cofferdam.toml"), config)?;
        let child = Command::new(binary)
            .arg("serve")
            .current_dir(directory.path())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .spawn()?;
        let broker = Self {
            child,
            directory,
            teams: places,
        };
        let patience = Instant::now() + Duration::from_secs(60);
        for (_, address) in &broker.teams {
            while let Err(error) = TcpStream::connect(address) {
                if Instant::now() > patience {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(broker)
    }

    /// Where clients of this team connect.
    pub fn address(&self, team: &str) -> Option<SocketAddr> {
        let found = self.teams.iter().find(|(name, _)| name == team);
        found.map(|(_, address)| *address)
    }

    /// Where it has its files.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// User and system time that it has used.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu_of(self.child.id())
    }

    /// The most memory that it had, in bytes.
    pub fn peak_memory(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        let number = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        Ok(number.unwrap_or(0) << 10)
    }

    /// Kills it and starts it again where it was; how long it took until it said that it is ready.
    pub fn restart(&mut self, binary: &Path) -> io::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let begun = Instant::now();
        self.child = Command::new(binary)
            .arg("serve")
            .current_dir(self.directory.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let printed = self.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        for line in BufReader::new(printed).lines() {
            if line?.contains("is ready") {
                return Ok(begun.elapsed());
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// What makes a broker's every sync take so much longer, in its environment: built by `cc` into a
/// directory.
pub fn slow_sync(by: Duration, directory: &Path) -> io::Result<Vec<(&'static str, String)>> {
    let library = directory.join("slow_sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load/slow_sync.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()?;
    match built.success() {
        true => Ok(vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("SLOW_SYNC_US", by.as_micros().to_string()),
        ]),
        false => Err(io::Error::other("cc failed")),
    }
}

/// User and system time that a process has used.
pub fn cpu_of(process: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold blanks: fields are counted from its end.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of loopback that nobody listens at.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
