//! The repository's own files, for tests that hold a page of the documentation to what is there.

#![allow(dead_code)] // each test takes what it needs

use std::fs;
use std::path::Path;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Hands over every Rust file of the tests and of the source: its name as pages write it, without
/// `tests/` before and `.rs` behind it, and its text.
pub fn each_rust_file(mut take: impl FnMut(&str, &str)) {
    for below in ["tests", "src"] {
        walk(&root().join(below), &mut take);
    }
}

fn walk(dir: &Path, take: &mut impl FnMut(&str, &str)) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            walk(&path, take);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let file = path.strip_prefix(root()).expect("below").with_extension("");
            let file = file.to_str().expect("UTF-8").trim_start_matches("tests/");
            take(file, &fs::read_to_string(&path).expect("a file"));
        }
    }
}
