//! The core under simulation: several shards in one thread, a clock that only steps move, clients
//! of several teams, and between them a network that delays and cuts. After every call of a shard
//! what it did is compared with a plain model of what it had to do; `docs/simulation.md` says more.
//!
//! `plan` makes a world and its steps from a seed; `sim` and `run` carry them out on the real core,
//! `client` answers; `model` says what is owed to whom; `observe`, `compare` and `state` compare;
//! `shrink` makes a failure short. To repeat a seed: `cargo test --test simulation -- --seed N`.

mod arguments;
mod cast;
mod client;
mod compare;
mod crash;
mod deliveries;

#[path = "../cluster/directory.rs"]
#[allow(dead_code)]
mod directory;
mod expected;
mod failure;
mod groups;
mod late;
mod model;
mod motion;
mod observe;
mod outboxes;
mod plan;
mod progress;
mod promises;
#[path = "../cluster/random.rs"]
#[allow(dead_code)]
mod random;
mod room;
mod run;
mod shrink;
mod sim;
mod state;
mod step;
mod storage;
#[path = "../cluster/store.rs"]
#[allow(dead_code)]
mod store;
mod turns;
mod unseen;
mod wire;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cofferdam::policy::Policy;

use arguments::{Arguments, NAME, Wanted};
use failure::{Failure, broken};
use plan::Plan;

/// How long a failure may be made shorter.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        println!("{NAME}: test\n\n1 test, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    if !arguments.selected {
        println!("\nrunning 0 tests\n");
        println!(
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s\n"
        );
        return ExitCode::SUCCESS;
    }
    println!("\nrunning 1 test");
    let began = Instant::now();
    let (runs, failed) = all_runs(&arguments);
    let outcome = if failed.is_some() { "FAILED" } else { "ok" };
    println!("test {NAME} ... {outcome}");
    println!(
        "{runs} runs of {} steps, from seed {}",
        arguments.steps, arguments.first
    );
    if let Some((seed, story)) = &failed {
        println!("\nfailures:\n\n---- {NAME} ----\nseed {seed}: {story}");
        println!(
            "To repeat it: cargo test --test simulation -- --seed {seed} --steps {}",
            arguments.steps
        );
    }
    let bad = u8::from(failed.is_some());
    println!(
        "\ntest result: {outcome}. {} passed; {bad} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        1 - bad,
        began.elapsed().as_secs_f64()
    );
    ExitCode::from(if bad > 0 { 101 } else { 0 })
}

/// Runs all that is asked for, on as many threads as asked for. The first failure ends it.
fn all_runs(arguments: &Arguments) -> (u64, Option<(u64, String)>) {
    let policy = Arc::new(Policy::flowfuse().unwrap_or_else(|error| panic!("{error}")));
    let (next, runs, stop) = (
        AtomicU64::new(arguments.first),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    let began = Instant::now();
    let is_over = |seed: u64| match arguments.wanted {
        Wanted::Seeds(count) => seed - arguments.first >= count,
        Wanted::Seconds(seconds) => began.elapsed() >= Duration::from_secs(seconds),
    };
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if is_over(seed) {
                break;
            }
            runs.fetch_add(1, Ordering::Relaxed);
            let plan = Plan::of(seed, arguments.steps);
            if let Err(found) = guarded(&plan, &policy) {
                stop.store(true, Ordering::Relaxed);
                return Some((seed, plan, found));
            }
        }
        None
    };
    // A panic is a finding, and is told with the steps that led to it.
    panic::set_hook(Box::new(|_| {}));
    let failed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        let ends = workers
            .into_iter()
            .filter_map(|worker| worker.join().ok().flatten());
        ends.min_by_key(|(seed, ..)| *seed)
    });
    let failed = failed.map(|(seed, plan, found)| (seed, story(&plan, &policy, found)));
    (runs.into_inner(), failed)
}

/// Runs a plan; a panic in the core is a failure like others.
fn guarded(plan: &Plan, policy: &Arc<Policy>) -> Result<(), (usize, Failure)> {
    panic::catch_unwind(AssertUnwindSafe(|| run::run(plan, policy))).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| {
            payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
        });
        let last = plan.steps.len().saturating_sub(1);
        Err((last, broken("nothing panics", text.unwrap_or_default())))
    })
}

/// What happened, made as short as can be, in words.
fn story(plan: &Plan, policy: &Arc<Policy>, found: (usize, Failure)) -> String {
    let (short, failure) = shrink::shrink(plan, policy, found, PATIENCE);
    let mut text = format!("broken: {}\n{}\n\n", failure.promise, failure.what);
    text += &short.tell();
    for (at, step) in short.steps.iter().enumerate() {
        text += &format!("{:4}. {}\n", at + 1, step.tell(&short));
    }
    text
}
