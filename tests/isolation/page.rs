//! Keeps `docs/isolation.md` honest: every way across has something that stops it and a test that
//! shows it, those files and tests exist, and every test of this suite stands on the page.

use std::collections::{BTreeMap, BTreeSet};

use crate::repository;

/// A row of the page: the way across, what stops it, and the tests that show it.
type Row = (String, Vec<String>, Vec<String>);

fn rows(page: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<Row> {
        let row = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<&str> = row.split(" | ").collect();
        let [way, stops, tests] = cells[..] else {
            panic!("three cells: {line}");
        };
        let quoted = |cell: &str| {
            let quoted = cell.split('`').skip(1).step_by(2);
            quoted.map(str::to_owned).collect::<Vec<_>>()
        };
        let is_head = way == "way across" || way.starts_with("---");
        (!is_head).then(|| (way.to_owned(), quoted(stops), quoted(tests)))
    };
    page.lines().filter_map(cells).collect()
}

/// Every test of the repository, by file.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    repository::each_rust_file(|file, text| {
        let names = text.lines().filter_map(|line| {
            let line = line.trim_start();
            let rest = line
                .strip_prefix("fn ")
                .or(line.strip_prefix("async fn "))?;
            Some(rest.split('(').next()?.to_owned())
        });
        tests.entry(file.to_owned()).or_default().extend(names);
    });
    tests
}

/// The tests of this suite: functions under `#[test]`.
fn own_tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    repository::each_rust_file(|file, text| {
        if !file.starts_with("isolation/") || file == "isolation/page" {
            return;
        }
        for after in text.split("#[test]\n").skip(1) {
            let name = after
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split('(').next());
            found.insert(format!("{file}::{}", name.expect("a name")));
        }
    });
    found
}

fn problems(page: &str) -> Vec<String> {
    let (rows, tests) = (rows(page), tests());
    let mut problems = Vec::new();
    let mut shown = BTreeSet::new();
    for (way, stops, by) in rows {
        if stops.is_empty() || by.is_empty() {
            problems.push(format!("`{way}` has nothing that stops it, or no test"));
        }
        for file in stops.iter().filter(|it| it.contains('/')) {
            if !repository::root().join(file).exists() {
                problems.push(format!("`{way}`: there is no {file}"));
            }
        }
        for test in by {
            let there = test.split_once("::").is_some_and(|(file, name)| {
                tests.get(file).is_some_and(|names| names.contains(name))
            });
            if !there {
                problems.push(format!("`{way}`: there is no test {test}"));
            }
            shown.insert(test);
        }
    }
    for test in own_tests().difference(&shown) {
        problems.push(format!("{test} does not stand on the page"));
    }
    problems
}

#[test]
fn the_page_names_every_way_across_what_stops_it_and_the_test() {
    let page = repository::read("docs/isolation.md");
    let found = problems(&page);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_dishonest_page_is_noticed() {
    let page = repository::read("docs/isolation.md");
    let test = "isolation/packets::no_field_of_any_packet_reaches_another_team";
    for (what, from, to) in [
        (
            "a test that is not there",
            test,
            "isolation/packets::no_such_test",
        ),
        (
            "a test left out",
            &*format!("`{test}`"),
            "`isolation/twins::the_same_names_in_two_teams_are_different_things`",
        ),
        (
            "a file that is not there",
            "src/broker/publish.rs",
            "src/broker/nothing.rs",
        ),
    ] {
        assert!(page.contains(from), "{what}");
        assert!(
            !problems(&page.replace(from, to)).is_empty(),
            "{what} is not noticed"
        );
    }
    let bare = "| a way | `src/lib.rs` | nobody looked |";
    assert!(
        !problems(&format!("{page}\n{bare}\n")).is_empty(),
        "a way without a test"
    );
}
