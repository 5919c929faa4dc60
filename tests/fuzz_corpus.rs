//! What fuzzing found stays found: every input of `fuzz/corpus` goes through its target again.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use targets::TARGETS;

/// A minimised corpus of any target has more inputs than this.
const CORPUS_MIN: usize = 30;

/// All that the corpus may take in the repository, in bytes.
const CORPUS_MAX: u64 = 3 << 19;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut entries: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    entries
}

/// Says which input it was when one of them panics.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input was {}", self.0.display());
        }
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, run) = target.unwrap_or_else(|| panic!("no target {name}"));
    let inputs = entries(&fuzz().join("corpus").join(name));
    assert!(inputs.len() >= CORPUS_MIN, "{name}: {} left", inputs.len());
    run(b""); // what libFuzzer tries first
    for path in inputs {
        let _named = Named(&path);
        run(&fs::read(&path).expect("an input"));
    }
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*

        #[test]
        fn every_target_is_replayed_has_a_corpus_and_is_built_by_cargo_fuzz() {
            let replayed = BTreeSet::from([$(stringify!($target).to_owned(),)*]);
            let known = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(replayed, known);
            let stem = |path: &PathBuf| {
                let stem = path.file_stem().unwrap_or_default();
                stem.to_string_lossy().into_owned()
            };
            let named = |folder: &str| entries(&fuzz().join(folder)).iter().map(stem).collect();
            assert_eq!(replayed, named("corpus"));
            assert_eq!(replayed, named("fuzz_targets"));
            let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
            for name in &replayed {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

replays! {
    packets websocket proxy topics policy files connection
}

#[test]
fn the_corpus_stays_small() {
    let folders = entries(&fuzz().join("corpus"));
    let inputs = folders.iter().flat_map(|folder| entries(folder));
    let bytes: u64 = inputs
        .map(|path| fs::metadata(path).expect("an input").len())
        .sum();
    assert!(bytes < CORPUS_MAX, "{bytes} bytes");
}
