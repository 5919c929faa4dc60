//! Keeps `docs/conformance.md` honest: every statement of both standards stands in it once, every
//! statement that binds a server has a test that exists and says so itself, and no test says so
//! without the table.
//!
//! A test names what it shows in its doc comment, `/// Shows: MQTT-1.5.4-1 (5.0); MQTT-1.5.3-1
//! (3.1.1); PEER-18`, on as many lines as it takes, each but the last ending in `,` or `;`.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet};

/// A statement: the standard (`5.0`, `3.1.1`, or `peers`) and the number.
type Id = (String, String);
/// A test: its file as the table writes it, `::`, its name.
type Test = String;
type Shown = BTreeMap<Id, BTreeSet<Test>>;

/// Sections of 5.0 and how many statements appendix B has in each; the first numbers of those that
/// do not begin at 1 stand in [`BEGINS_AT_2`].
const OF_5_0: &str = "1.5.4 3, 1.5.5 1, 1.5.7 1, 2.1.3 1, 2.2.1 6, 2.2.2 1, 3.1.0 2, 3.1.2 30, \
    3.1.3 12, 3.1.4 6, 3.2.0 2, 3.2.2 22, 3.3.1 13, 3.3.2 20, 3.3.4 10, 3.4.2 3, 3.5.2 3, 3.6.1 1, \
    3.6.2 3, 3.7.2 3, 3.8.1 1, 3.8.3 5, 3.8.4 8, 3.9.2 2, 3.9.3 2, 3.10.1 1, 3.10.3 2, 3.10.4 6, \
    3.11.2 2, 3.11.3 2, 3.12.4 1, 3.14.0 1, 3.14.1 1, 3.14.2 4, 3.14.4 3, 3.15.1 1, 3.15.2 3, \
    4.1.0 2, 4.2.0 1, 4.3.1 1, 4.3.2 5, 4.3.3 13, 4.4.0 2, 4.5.0 2, 4.6.0 6, 4.7.0 1, 4.7.1 2, \
    4.7.2 1, 4.7.3 4, 4.8.2 6, 4.9.0 3, 4.12.0 7, 4.12.1 2, 4.13.1 1, 4.13.2 1, 6.0.0 4";
/// There is no MQTT-2.2.1-1 in 5.0.
const BEGINS_AT_2: &str = "2.2.1";
/// The same of 3.1.1.
const OF_3_1_1: &str = "1.5.3 3, 2.2.2 2, 2.3.1 7, 3.1.0 2, 3.1.2 24, 3.1.3 11, 3.1.4 5, 3.2.0 1, \
    3.2.2 6, 3.3.1 12, 3.3.2 3, 3.3.4 1, 3.3.5 2, 3.6.1 1, 3.8.1 1, 3.8.3 4, 3.8.4 6, 3.9.3 2, \
    3.10.1 1, 3.10.3 2, 3.10.4 6, 3.12.4 1, 3.14.1 1, 3.14.4 3, 4.1.0 2, 4.3.1 1, 4.3.2 2, \
    4.3.3 2, 4.4.0 1, 4.5.0 2, 4.6.0 6, 4.7.1 3, 4.7.2 1, 4.7.3 4, 4.8.0 2, 6.0.0 4, 7.0.0 2, \
    7.1.1 1, 7.1.2 1";
const PEERS: usize = 19;

fn official() -> BTreeSet<Id> {
    let mut ids = BTreeSet::new();
    for (standard, sections) in [("5.0", OF_5_0), ("3.1.1", OF_3_1_1)] {
        for section in sections.split(", ") {
            let (section, count) = section.split_once(' ').expect("a count");
            let first = 1 + u8::from(standard == "5.0" && section == BEGINS_AT_2);
            for number in first..=count.parse().expect("a number") {
                ids.insert((standard.to_owned(), format!("MQTT-{section}-{number}")));
            }
        }
    }
    ids.extend((1..=PEERS).map(|number| ("peers".to_owned(), format!("PEER-{number}"))));
    ids
}

/// What the page says.
#[derive(Default)]
struct Page {
    /// Statements with the tests that show them.
    shown: Shown,
    /// Statements that bind only clients, do not arise, or are open: none of them has a test.
    others: BTreeSet<Id>,
    problems: Vec<String>,
}

fn page(text: &str) -> Page {
    let mut page = Page::default();
    let (mut standard, mut has_tests) = ("", true);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            standard = match heading {
                "MQTT 5.0" => "5.0",
                "MQTT 3.1.1" => "3.1.1",
                "What peers get wrong" => "peers",
                _ => "",
            };
            has_tests = true;
        } else if let Some(heading) = line.strip_prefix("### ") {
            has_tests = !matches!(
                heading,
                "Binding clients only" | "Not arising here" | "Open"
            );
        }
        if standard.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut add = |id: &str, tests: BTreeSet<Test>| {
            let id: Id = (standard.to_owned(), id.to_owned());
            let twice = page.shown.contains_key(&id) || page.others.contains(&id);
            if twice {
                page.problems.push(format!("{id:?} stands twice"));
            }
            if !has_tests {
                page.others.insert(id);
            } else if tests.is_empty() {
                page.problems.push(format!("{id:?} has no test"));
            } else {
                page.shown.insert(id, tests);
            }
        };
        if let Some(row) = line.strip_prefix("| ") {
            let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            let (id, last) = (cells[0], cells[cells.len() - 1]);
            if id.starts_with("MQTT-") || id.starts_with("PEER-") {
                let tests = last.split("<br>").map(|test| test.trim_matches('`'));
                add(
                    id,
                    tests
                        .filter(|it| it.contains("::"))
                        .map(str::to_owned)
                        .collect(),
                );
            }
        } else if !has_tests {
            let words = line
                .split([' ', ','])
                .filter(|word| word.starts_with("MQTT-"));
            words.for_each(|id| add(id, BTreeSet::new()));
        }
    }
    page
}

/// What the tests say of themselves.
#[derive(Default)]
struct Tests {
    all: BTreeSet<Test>,
    shown: Shown,
    problems: Vec<String>,
}

/// The ids of a whole `Shows:` text.
fn ids(text: &str) -> Result<Vec<Id>, String> {
    let mut ids = Vec::new();
    for part in text.split(';').map(str::trim) {
        let (part, standard) = match (part.strip_suffix(" (5.0)"), part.strip_suffix(" (3.1.1)")) {
            (Some(part), _) => (part, "5.0"),
            (_, Some(part)) => (part, "3.1.1"),
            _ => (part, "peers"),
        };
        for id in part.split(", ") {
            if !id.starts_with(if standard == "peers" {
                "PEER-"
            } else {
                "MQTT-"
            }) {
                return Err(format!("`{id}` is no statement of {standard}"));
            }
            ids.push((standard.to_owned(), id.to_owned()));
        }
    }
    Ok(ids)
}

impl Tests {
    fn read(&mut self, file: &str, text: &str) {
        let (mut said, mut goes_on, mut is_test) = (String::new(), false, false);
        for line in text.lines().map(str::trim) {
            if let Some(doc) = line.strip_prefix("/// ") {
                if let Some(start) = doc.strip_prefix("Shows: ") {
                    start.clone_into(&mut said);
                    goes_on = true;
                } else if goes_on {
                    said = format!("{said} {doc}");
                }
                goes_on = goes_on && line.ends_with([',', ';']);
            } else if line == "#[test]" {
                is_test = true;
            } else if !line.starts_with('#') && !line.starts_with("///") {
                let name = line
                    .strip_prefix("fn ")
                    .and_then(|rest| rest.split('(').next());
                match name {
                    Some(name) if is_test => self.add(format!("{file}::{name}"), &said),
                    _ if !said.is_empty() => self
                        .problems
                        .push(format!("{file}: `{said}` stands above no test")),
                    _ => {}
                }
                said.clear();
                is_test = false;
            }
        }
    }

    fn add(&mut self, test: Test, said: &str) {
        if !said.is_empty() {
            match ids(said) {
                Ok(ids) => {
                    for id in ids {
                        self.shown.entry(id).or_default().insert(test.clone());
                    }
                }
                Err(error) => self.problems.push(format!("{test}: {error}")),
            }
        }
        self.all.insert(test);
    }
}

/// All that is wrong between the page and the tests.
fn problems(page: Page, tests: Tests, official: &BTreeSet<Id>) -> Vec<String> {
    let mut problems = [page.problems, tests.problems].concat();
    let listed: BTreeSet<&Id> = page.shown.keys().chain(&page.others).collect();
    for id in official {
        if !listed.contains(id) {
            problems.push(format!("{id:?} is missing on the page"));
        }
    }
    for id in listed {
        if !official.contains(id) {
            problems.push(format!("{id:?} is no statement"));
        }
    }
    for (id, on_page) in &page.shown {
        for test in on_page.difference(&tests.all) {
            problems.push(format!("{id:?}: there is no test {test}"));
        }
        let saying = tests.shown.get(id).cloned().unwrap_or_default();
        if *on_page != saying {
            let row: Vec<String> = saying.iter().map(|test| format!("`{test}`")).collect();
            problems.push(format!(
                "{id:?}: the tests that say so are {}",
                row.join("<br>")
            ));
        }
    }
    for (id, saying) in &tests.shown {
        if !page.shown.contains_key(id) {
            problems.push(format!(
                "{id:?} is shown by {saying:?}, which the page does not say"
            ));
        }
    }
    problems
}

fn repository() -> (Page, Tests) {
    let mut tests = Tests::default();
    repository::each_rust_file(|file, text| {
        if file != "conformance_table" {
            tests.read(file, text);
        }
    });
    (page(&repository::read("docs/conformance.md")), tests)
}

#[test]
fn the_page_and_the_tests_say_the_same_and_no_statement_is_missing() {
    let (page, tests) = repository();
    let problems = problems(page, tests, &official());
    assert!(
        problems.is_empty(),
        "{}\n{}",
        problems.join("\n"),
        problems.len()
    );
}

#[test]
fn the_numbers_of_statements_are_those_of_the_standards() {
    let official = official();
    let count = |standard| official.iter().filter(|(of, _)| of == standard).count();
    assert_eq!((count("5.0"), count("3.1.1")), (251, 141));
}

#[test]
fn what_the_packets_are_refused_for_is_shown_by_the_test_that_sends_them() {
    let (_, tests) = repository();
    let test =
        "served/packets_over_tcp::every_packet_of_the_table_gets_its_answer_and_harms_nobody";
    let packets = include_str!("data/packets.tsv");
    let expected = packets.lines().filter_map(|line| line.rsplit('\t').next());
    for id in expected.filter_map(|outcome| outcome.split(' ').nth(1)) {
        if id.starts_with("MQTT-") {
            let shown = tests.shown.get(&("5.0".to_owned(), id.to_owned()));
            assert!(shown.is_some_and(|by| by.contains(test)), "{id}");
        }
    }
}

/// A page and a test file that agree.
const GOOD: (&str, &str) = (
    "## MQTT 5.0\n### A\n| MQTT-1.1.1-1 | asks | `file::a_test` |\n### Binding clients only\nMQTT-1.1.1-2\n",
    "/// Shows: MQTT-1.1.1-1 (5.0)\n#[test]\nfn a_test() {\n",
);

fn problems_of(page_text: &str, test_text: &str) -> Vec<String> {
    let mut tests = Tests::default();
    tests.read("file", test_text);
    let statements = ["MQTT-1.1.1-1", "MQTT-1.1.1-2"];
    let official = statements.map(|id| ("5.0".to_owned(), id.to_owned()));
    problems(page(page_text), tests, &BTreeSet::from(official))
}

#[test]
fn every_way_to_be_dishonest_is_noticed() {
    let (page, test) = GOOD;
    assert_eq!(problems_of(page, test), [""; 0]);
    let other_page = |from: &str, to: &str| {
        assert!(page.contains(from));
        problems_of(&page.replace(from, to), test)
    };
    let other_test = |from: &str, to: &str| {
        assert!(test.contains(from));
        problems_of(page, &test.replace(from, to))
    };
    for (what, found) in [
        (
            "a statement without a test",
            other_page("`file::a_test`", ""),
        ),
        ("a test that is not there", other_page("a_test", "another")),
        ("a statement left out", other_page("MQTT-1.1.1-2", "")),
        (
            "a statement twice",
            other_page("MQTT-1.1.1-2", "MQTT-1.1.1-2, MQTT-1.1.1-2"),
        ),
        (
            "no such statement",
            other_page("MQTT-1.1.1-2", "MQTT-1.1.1-2, MQTT-9.9.9-9"),
        ),
        (
            "a shown statement that is said to be open",
            other_page("### A", "### Open"),
        ),
        (
            "a test that does not say so",
            other_test("/// Shows: MQTT-1.1.1-1 (5.0)\n", ""),
        ),
        (
            "a test that says more",
            other_test(" (5.0)", ", MQTT-1.1.1-2 (5.0)"),
        ),
        ("another standard", other_test("5.0", "3.1.1")),
        ("no standard", other_test(" (5.0)", "")),
        ("a function that is no test", other_test("#[test]\n", "")),
    ] {
        assert!(!found.is_empty(), "{what} is not noticed");
    }
}
