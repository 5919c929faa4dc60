//! What becomes of the broker when one of its threads panics. Called by `serve`.

use crate::journal;
use crate::net::server::SHARD_THREAD;

/// A shard that panicked would leave its connections open and unserved, and the other shards
/// waiting for it; a journal that did, everybody who waits for what is kept. No input is known to do
/// that; should one, the process ends and says why, and whoever supervises it starts it anew. Other
/// threads serve nobody: their tasks fail by themselves.
pub(super) fn end_with_a_needed_thread() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        let is_needed = |name: &str| name.starts_with(SHARD_THREAD) || name == journal::THREAD;
        if let Some(name) = thread.name().filter(|name| is_needed(name)) {
            tracing::error!(
                thread = name,
                "a thread panicked that everybody needs: the broker ends"
            );
            std::process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Output};

    use super::*;

    /// In the child process: the name of the thread that panics there.
    const THREAD: &str = "COFFERDAM_TEST_PANICKING_THREAD";
    const SIGABRT: i32 = 6;

    /// A process that hooks as the broker does, and in which a thread of this name panics.
    fn process_in_which_panics(thread: &str) -> Output {
        let test = std::env::current_exe().expect("this test");
        Command::new(test)
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("cli::panics::tests::child")
            .env(THREAD, thread)
            .output()
            .expect("it runs")
    }

    #[test]
    #[ignore = "the child process of the test below"]
    fn child() {
        let Ok(name) = std::env::var(THREAD) else {
            return;
        };
        end_with_a_needed_thread();
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(|| panic!("on purpose"));
        thread.expect("a thread").join().expect_err("it panicked");
        println!("the process goes on");
    }

    #[test]
    fn a_shard_or_the_journal_that_panics_ends_the_process_and_another_thread_does_not() {
        for thread in [&*format!("{SHARD_THREAD}1"), journal::THREAD] {
            let ended = process_in_which_panics(thread);
            assert_eq!(ended.status.signal(), Some(SIGABRT), "{ended:?}");
            let said = String::from_utf8_lossy(&ended.stderr);
            let named = format!("'{thread}'");
            assert!(
                said.contains(&named) && said.contains("on purpose"),
                "{said}"
            );
        }

        let went_on = process_in_which_panics("services");
        assert!(went_on.status.success(), "{went_on:?}");
        let said = String::from_utf8_lossy(&went_on.stdout);
        assert!(said.contains("the process goes on"), "{said}");
    }
}
