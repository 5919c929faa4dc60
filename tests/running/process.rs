//! The broker's process: started, watched, ended.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::PATIENCE;

/// A child whose output is read as it comes. Killed when it is dropped.
pub struct Process {
    child: Mutex<Child>,
    id: u32,
    printed: Text,
    log: Text,
}

/// What came from one of its outputs so far.
#[derive(Clone, Default)]
struct Text(Arc<(Mutex<Gathered>, Condvar)>);

#[derive(Default)]
struct Gathered {
    text: String,
    ended: bool,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let printed = Text::read(child.stdout.take().expect("piped"));
        let log = Text::read(child.stderr.take().expect("piped"));
        let id = child.id();
        let child = Mutex::new(child);
        Self {
            child,
            id,
            printed,
            log,
        }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// All that it printed, once `mark` is in it.
    pub fn wait_for(&self, mark: &str) -> String {
        match self.printed.wait_for(mark) {
            Ok(text) => text,
            Err(text) => panic!("{mark:?} was not printed:\n{text}\n{}", self.log()),
        }
    }

    /// Waits until the log has this.
    pub fn wait_for_log(&self, mark: &str) {
        let waited = self.log.wait_for(mark);
        waited.unwrap_or_else(|log| panic!("no {mark:?} in the log:\n{log}"));
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        self.log.now()
    }

    /// All that it logged, once it has ended.
    pub fn whole_log(&self) -> String {
        self.log.wait_for_end();
        self.log.now()
    }

    /// All that it printed so far.
    pub fn printed(&self) -> String {
        self.printed.now()
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id);
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill}");
    }

    /// Waits for its end; `None`: by a signal.
    pub fn wait(&self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut child = self.child.lock().expect("no panic while it was held");
            if let Some(status) = child.try_wait().expect("our child") {
                return status.code();
            }
            drop(child);
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Its resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id)).expect("runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.expect("VmRSS in kB") << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("no panic while it was held");
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
        self.log.wait_for_end();
        let log = self.log.now();
        if std::thread::panicking() {
            eprintln!(
                "--- the broker printed\n{}\n--- and logged\n{log}",
                self.printed.now()
            );
        } else {
            assert!(!log.contains("panicked at"), "the broker panicked:\n{log}");
        }
    }
}

impl Text {
    fn read(from: impl Read + Send + 'static) -> Self {
        let text = Self::default();
        let kept = text.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                kept.update(|read| {
                    read.text.push_str(&line);
                    read.text.push('\n');
                });
            }
            kept.update(|read| read.ended = true);
        });
        text
    }

    fn update(&self, change: impl FnOnce(&mut Gathered)) {
        change(&mut self.0.0.lock().expect("no panic while it was held"));
        self.0.1.notify_all();
    }

    fn now(&self) -> String {
        let read = self.0.0.lock().expect("no panic while it was held");
        read.text.clone()
    }

    fn wait_for(&self, mark: &str) -> Result<String, String> {
        self.wait_until(|read| read.ended || read.text.contains(mark));
        let text = self.now();
        if text.contains(mark) {
            Ok(text)
        } else {
            Err(text)
        }
    }

    fn wait_for_end(&self) {
        self.wait_until(|read| read.ended);
    }

    fn wait_until(&self, wanted: impl Fn(&Gathered) -> bool) {
        let (read, changed) = &*self.0;
        let read = read.lock().expect("no panic while it was held");
        let waited = changed.wait_timeout_while(read, PATIENCE, |read| !wanted(read));
        drop(waited.expect("no panic while it was held"));
    }
}
