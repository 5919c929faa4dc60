//! The shape of the house: the core stays pure, and imports run downwards only.
//!
//! The order of the modules is read from the table in `src/lib.rs`; what stands above the line in
//! it is the core. Test code is not looked at: it may use what it likes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the core never names, and why.
const FORBIDDEN: [(&str, &str); 15] = [
    ("tokio", "a runtime"),
    ("async ", "a runtime"),
    ("sqlx", "a database"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("OffsetDateTime", "a clock"),
    ("std::thread", "threads"),
    ("std::fs", "files"),
    ("std::io", "files and sockets"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::net", "sockets"),
    ("TcpStream", "sockets"),
    ("TcpListener", "sockets"),
    ("UdpSocket", "sockets"),
];

/// What the core may name of what is forbidden, and why: plain values, with which nothing can be
/// opened, read or waited for.
const ALLOWED: [(&str, &str); 2] = [
    (
        "std::net::SocketAddr",
        "where a client comes from, as the shell saw it: stands in events and is never dialled",
    ),
    (
        "std::net::{IpAddr, Ipv6Addr, SocketAddr}",
        "the same, and the network that an address counts as",
    ),
];

/// The modules in the table's order, and how many of them are the core.
struct Table {
    modules: Vec<String>,
    core: usize,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table(lib: &str) -> Table {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut table = Table {
        modules: Vec::new(),
        core: 0,
    };
    for row in rows {
        if row.starts_with('—') {
            table.core = table.modules.len();
        }
        if let Some((name, _)) = row.strip_prefix("[`").and_then(|row| row.split_once('`')) {
            table.modules.push(name.to_owned());
        }
    }
    table
}

/// The source files of a module, without those that are tests.
fn files(module: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(dir).into_iter().flatten();
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "tests" {
                walk(&path, into);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                into.push(path);
            }
        }
    }
    let mut found = Vec::new();
    let alone = root().join(format!("{module}.rs"));
    if alone.exists() {
        found.push(alone);
    }
    walk(&root().join(module), &mut found);
    assert!(!found.is_empty(), "the module {module} has no file");
    found
}

/// `source` without comments and without what follows `#[cfg(test)]` and a `mod`.
fn code(source: &str) -> String {
    let tests = source.find("#[cfg(test)]\nmod ").unwrap_or(source.len());
    source[..tests]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The crate's modules that `code` names, one of them perhaps many times. `depth` is how many
/// `super`s lead from this file to the crate's root.
fn named_modules(code: &str, depth: usize) -> BTreeSet<String> {
    let climb = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", climb.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend([word(rest)]),
            }
        }
    }
    found
}

/// The first words of a use group's elements: `a::b, c::{d, e}}` names `a` and `c`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && c.is_alphabetic() => {
                heads.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    let end = |c: char| !c.is_alphanumeric() && c != '_';
    text[..text.find(end).unwrap_or(text.len())].to_owned()
}

/// How many `super`s lead from a file to the crate's root.
fn depth(file: &Path) -> usize {
    let below = file.strip_prefix(root()).expect("a source file");
    let parts = below.components().count();
    if file.ends_with("mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// What `code` names of what the core never names.
fn forbidden(code: &str) -> Vec<(&'static str, &'static str)> {
    let named = FORBIDDEN.into_iter().filter(|(what, _)| names(code, what));
    named.collect()
}

/// Whether `code` names something as a whole word, and not as part of what is allowed.
fn names(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + what.len()..];
        let whole = !before.is_some_and(in_a_word)
            && (what.ends_with(' ') || !after.starts_with(in_a_word));
        whole && !begins_with_what_is_allowed(&code[at..])
    })
}

fn begins_with_what_is_allowed(code: &str) -> bool {
    let mut rests = ALLOWED
        .iter()
        .filter_map(|(what, _)| code.strip_prefix(what));
    rests.any(|rest| !rest.starts_with(in_a_word))
}

fn in_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn the_core_names_no_runtime_clock_thread_file_socket_or_database() {
    let table = table(&read(&root().join("lib.rs")));
    let mut found = Vec::new();
    for module in &table.modules[..table.core] {
        for file in files(module) {
            let code = code(&read(&file));
            for (what, why) in forbidden(&code) {
                found.push(format!("{}: {what} ({why})", file.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_core_imports_downwards_only() {
    let table = table(&read(&root().join("lib.rs")));
    let mut found = Vec::new();
    for (place, module) in table.modules[..table.core].iter().enumerate() {
        let may: BTreeSet<&String> = table.modules[..=place].iter().collect();
        for file in files(module) {
            for named in named_modules(&code(&read(&file)), depth(&file)) {
                if table.modules.contains(&named) && !may.contains(&named) {
                    found.push(format!("{}: {module} names {named}", file.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_map_in_lib_rs_lists_every_module_once() {
    let lib = read(&root().join("lib.rs"));
    let mut listed = table(&lib).modules;
    listed.sort();
    let mut declared: Vec<String> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")))
        .map(word)
        .collect();
    declared.sort();
    assert_eq!(listed, declared);
    let core = [
        "time", "limits", "wire", "topic", "policy", "team", "session", "broker",
    ];
    let table = table(&lib);
    for module in core {
        let place = table.modules.iter().position(|name| name == module);
        assert!(
            place.is_some_and(|place| place < table.core),
            "{module} is not in the core"
        );
    }
}

#[test]
fn these_tests_see_what_they_look_for() {
    let bad = "use std::time::Instant;\nasync fn f() {}\nfn g(t: &TcpStream) { tokio::spawn() }";
    let seen = forbidden(bad);
    assert_eq!(seen.len(), 4, "{seen:?}");
    for (code, wanted) in [
        ("use std::net::SocketAddr;", &[][..]),
        (
            "use std::net::{SocketAddr, TcpStream};",
            &["std::net", "TcpStream"],
        ),
        (
            "fn f(to: std::net::SocketAddr) { std::net::TcpStream }",
            &["std::net", "TcpStream"],
        ),
        ("std::net::SocketAddrs", &["std::net"]),
    ] {
        let seen: Vec<_> = forbidden(code).into_iter().map(|(what, _)| what).collect();
        assert_eq!(seen, wanted, "{code}");
    }
    assert!(!names("let instantly = InstantLike;", "Instant"));
    let code = code(
        "use crate::net; // crate::cli\n//! crate::admin\n#[cfg(test)]\nmod tests { crate::cli }",
    );
    assert_eq!(named_modules(&code, 9), BTreeSet::from(["net".to_owned()]));
    let group = named_modules("use crate::{net::{tls, cli}, admin, broker::X};", 9);
    assert_eq!(
        group.into_iter().collect::<Vec<_>>(),
        ["admin", "broker", "net"]
    );
    let climbed = named_modules("use super::super::net::tls;", 2);
    assert!(climbed.contains("net"));
    let map = table("//! | [`a`] | x |\n//! | — | — |\n//! | [`b`] | y |");
    assert_eq!(
        (map.modules, map.core),
        (vec!["a".to_owned(), "b".to_owned()], 1)
    );
}
