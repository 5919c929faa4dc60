//! Chains that somebody has been at.

use serde_json::{Map, json};

use super::*;
use crate::time::Time;

const TEAM: &str = "acme";

fn record(at: u64, team: Option<&str>) -> Record {
    let detail = json!({"cause": "lost", "messages_in": at});
    Record {
        at: Time::from_micros(at),
        level: team.map_or(Level::Platform, |_| Level::Team),
        team: team.map(str::to_owned),
        event: "disconnect".to_owned(),
        actor: Some("alice".to_owned()),
        client_id: None,
        remote: Some("192.0.2.7:1".to_owned()),
        listener: Some("wss".to_owned()),
        detail: detail.as_object().cloned().unwrap_or_default(),
        home: None,
    }
}

/// A chain of so many records.
fn chain(team: Option<&str>, count: u64) -> Vec<Linked> {
    let mut head = Head::NONE;
    let mut records = Vec::new();
    for at in 1..=count {
        let record = record(at * 10, team);
        let chain = chain_of(&record).to_owned();
        head = head.follow(&chain, &record);
        let Head { number, hash } = head;
        records.push(Linked {
            chain,
            number,
            hash,
            record,
        });
    }
    records
}

/// Gives every record from `from` on the hash that it should have.
fn mend(records: &mut [Linked], from: usize) {
    for at in from..records.len() {
        let head = match at {
            0 => Head::NONE,
            _ => Head {
                number: records[at - 1].number,
                hash: records[at - 1].hash,
            },
        };
        let next = head.follow(&records[at].chain, &records[at].record);
        (records[at].number, records[at].hash) = (next.number, next.hash);
    }
}

fn head_of(linked: &Linked) -> Head {
    Head {
        number: linked.number,
        hash: linked.hash,
    }
}

fn found(
    key: &AuditKey,
    checkpoints: &[Checkpoint],
    records: &[Linked],
) -> Vec<(String, u64, Fault)> {
    let mut verifier = Verifier::new(vec![key.public()]);
    for checkpoint in checkpoints {
        verifier.checkpoint(checkpoint);
    }
    for record in records {
        verifier.record(record.clone());
    }
    let (_, problems) = verifier.finish();
    let parts = problems
        .into_iter()
        .map(|it| (it.chain, it.number, it.fault));
    parts.collect()
}

fn only(number: u64, fault: Fault) -> Vec<(String, u64, Fault)> {
    vec![(TEAM.to_owned(), number, fault)]
}

struct Stage {
    key: AuditKey,
    records: Vec<Linked>,
    checkpoints: Vec<Checkpoint>,
}

/// Ten records, the fourth and the eighth signed.
fn stage() -> Stage {
    let key = AuditKey::random().unwrap();
    let records = chain(Some(TEAM), 10);
    let sign = |at: usize| Checkpoint::sign(&key, TEAM, head_of(&records[at]), Time::EPOCH);
    let checkpoints = vec![sign(3), sign(7)];
    Stage {
        key,
        records,
        checkpoints,
    }
}

impl Stage {
    fn found(&self) -> Vec<(String, u64, Fault)> {
        found(&self.key, &self.checkpoints, &self.records)
    }
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    let stage = stage();
    assert_eq!(stage.found(), []);
    let mut verifier = Verifier::new(vec![stage.key.public()]);
    stage
        .checkpoints
        .iter()
        .for_each(|it| verifier.checkpoint(it));
    stage
        .records
        .iter()
        .cloned()
        .for_each(|it| verifier.record(it));
    let tally = Tally {
        chains: 1,
        records: 10,
        signed: 8,
    };
    assert_eq!(verifier.finish().0, tally);
}

#[test]
fn every_field_of_a_record_is_covered_by_its_hash() {
    let text = || Some("another".to_owned());
    let alter: [(&str, fn(&mut Record)); 8] = [
        ("at", |it| it.at = Time::from_micros(51)),
        ("event", |it| it.event.push('x')),
        ("actor", |it| it.actor = None),
        ("client_id", |it| it.client_id = Some(String::new())),
        ("remote", |it| it.remote = Some("192.0.2.7:2".to_owned())),
        ("listener", |it| it.listener = Some("ws".to_owned())),
        ("detail", |it| it.detail = Map::new()),
        ("team", |it| it.team = Some("umbrella".to_owned())),
    ];
    for (field, alter) in alter {
        let mut stage = stage();
        alter(&mut stage.records[4].record);
        assert_eq!(stage.found(), only(5, Fault::Altered), "{field}");
    }
    // Two texts that end and begin elsewhere are not the same.
    let mut stage = stage();
    stage.records[4].record.actor = text();
    mend(&mut stage.records, 4);
    stage.records[4].record.actor = Some("anothe".to_owned());
    stage.records[4].record.client_id = Some("r".to_owned());
    assert_eq!(stage.found()[0].1, 5);
}

#[test]
fn what_is_altered_with_its_hash_breaks_the_chain_at_the_next_one() {
    let mut stage = stage();
    stage.records[4].record.event = "connect".to_owned();
    mend(&mut stage.records[..5], 4);
    assert_eq!(stage.found(), only(6, Fault::Altered));
}

#[test]
fn what_is_altered_with_all_hashes_after_it_is_not_what_was_signed() {
    let mut stage = stage();
    stage.records[4].record.event = "connect".to_owned();
    mend(&mut stage.records, 4);
    assert_eq!(stage.found(), only(8, Fault::Replaced { good: 4 }));
}

#[test]
fn a_removed_record_is_named() {
    for at in 0..9 {
        let mut stage = stage();
        stage.records.remove(at);
        assert_eq!(stage.found(), only(at as u64 + 1, Fault::Missing));
    }
    // With the numbers closed up, the hashes tell.
    let mut stage = stage();
    stage.records.remove(5);
    for (number, record) in (1..).zip(&mut stage.records) {
        record.number = number;
    }
    assert_eq!(stage.found(), only(6, Fault::Altered));
    // And with the hashes made anew, the signature does.
    mend(&mut stage.records, 0);
    assert_eq!(stage.found(), only(8, Fault::Replaced { good: 4 }));
}

#[test]
fn a_record_that_was_put_in_is_named() {
    let mut stage = stage();
    let extra = stage.records[4].clone();
    stage.records.insert(5, extra);
    assert_eq!(stage.found(), only(5, Fault::OutOfPlace));
    stage.records[5].number = 6;
    assert_eq!(stage.found(), only(6, Fault::Altered));
}

#[test]
fn swapped_records_are_named_at_the_first_place() {
    let mut stage = stage();
    stage.records.swap(4, 6);
    assert_eq!(stage.found(), only(5, Fault::Missing));
    // Only their content changed places.
    let mut stage = self::stage();
    let (four, six) = (
        stage.records[4].record.clone(),
        stage.records[6].record.clone(),
    );
    (stage.records[4].record, stage.records[6].record) = (six, four);
    assert_eq!(stage.found(), only(5, Fault::Altered));
}

#[test]
fn a_tail_that_was_cut_off_falls_short_of_the_checkpoint() {
    let mut stage = stage();
    stage.records.truncate(8);
    assert_eq!(stage.found(), []); // what came after was not signed yet
    stage.records.truncate(7);
    assert_eq!(stage.found(), only(8, Fault::Missing));
    stage.records.clear();
    assert_eq!(stage.found(), only(1, Fault::Missing));
}

#[test]
fn a_record_of_another_team_does_not_fit() {
    let mut stage = stage();
    let foreign = chain(Some("umbrella"), 10).swap_remove(4);
    stage.records[4] = Linked {
        chain: TEAM.to_owned(),
        ..foreign
    };
    assert_eq!(stage.found(), only(5, Fault::Altered));
    stage.records[4].record.team = Some(TEAM.to_owned());
    assert_eq!(stage.found(), only(5, Fault::Altered));
}

#[test]
fn chains_may_alternate_and_each_names_its_own_first_problem() {
    let key = AuditKey::random().unwrap();
    let chains = [Some("a"), Some("b"), None].map(|team| chain(team, 5));
    let mut mixed: Vec<_> = (0..5)
        .flat_map(|at| chains.iter().map(move |chain| chain[at].clone()))
        .collect();
    assert_eq!(found(&key, &[], &mixed), []);
    mixed.retain(|it| (it.chain.as_str(), it.number) != ("b", 2));
    mixed.retain(|it| (it.chain.as_str(), it.number) != (PLATFORM, 4));
    let missing = |chain: &str, number| (chain.to_owned(), number, Fault::Missing);
    assert_eq!(
        found(&key, &[], &mixed),
        [missing(PLATFORM, 4), missing("b", 2)]
    );
}

#[test]
fn a_signature_counts_only_if_it_is_good_and_of_somebody_trusted() {
    let mut stage = stage();
    let other = AuditKey::random().unwrap();
    let head = head_of(&stage.records[7]);
    stage.checkpoints[1] = Checkpoint::sign(&other, TEAM, head, Time::EPOCH);
    let stranger = Fault::Stranger(other.public());
    assert_eq!(stage.found(), only(8, stranger));
    stage.checkpoints[1].signer = stage.key.public();
    assert_eq!(stage.found(), only(8, Fault::Forged));
    let mut stage = self::stage();
    stage.checkpoints[0].at = Time::from_micros(1);
    assert_eq!(stage.found(), only(4, Fault::Forged));
}

/// The chain after a retention has removed its first `gone` records.
fn trimmed(stage: &mut Stage, gone: usize, key: &AuditKey) {
    let upto = head_of(&stage.records[gone - 1]);
    let trim = Trim::sign(key, TEAM, upto);
    let mut record = record(200, Some(TEAM));
    record.event = Trim::EVENT.to_owned();
    record.detail = trim.to_detail(gone as u64).as_object().cloned().unwrap();
    let last = head_of(stage.records.last().unwrap()).follow(TEAM, &record);
    stage.records.push(Linked {
        chain: TEAM.to_owned(),
        number: last.number,
        hash: last.hash,
        record,
    });
    stage.records.drain(..gone);
}

#[test]
fn what_a_retention_removed_leaves_a_chain_that_can_be_checked() {
    let mut stage = stage();
    let key = stage.key.clone();
    trimmed(&mut stage, 5, &key);
    assert_eq!(stage.found(), []);
    let mut more = stage.records.clone();
    more.remove(0);
    assert_eq!(
        found(&key, &stage.checkpoints, &more),
        only(6, Fault::Missing)
    );
    stage.records[0].record.event = "connect".to_owned();
    assert_eq!(stage.found(), only(6, Fault::Altered));
}

#[test]
fn a_beginning_that_went_without_a_signed_cut_is_missing() {
    let mut stage = stage();
    stage.records.drain(..2);
    assert_eq!(stage.found(), only(1, Fault::Missing));
    let mut stage = self::stage();
    let other = AuditKey::random().unwrap();
    trimmed(&mut stage, 2, &other);
    assert_eq!(stage.found(), only(11, Fault::Stranger(other.public())));
    // Somebody who exports a part knows that it is one.
    let mut stage = self::stage();
    stage.records.drain(..2);
    let mut verifier = Verifier::new(vec![]).of_a_part();
    stage
        .records
        .iter()
        .cloned()
        .for_each(|it| verifier.record(it));
    assert_eq!(verifier.finish().1, []);
}
