//! Whether records are those that were written: the same for a database and for an export.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::{Checkpoint, Hash, Head, Linked, PublicKey, Trim, chain_of};

/// Checks records as they come, each chain's in their order; chains may alternate.
#[derive(Debug, Default)]
pub struct Verifier {
    chains: HashMap<String, Chain>,
    /// Whose signatures count; empty: anybody's.
    trusted: Vec<PublicKey>,
    /// What comes before the first record may be missing.
    is_part: bool,
    problems: Vec<Problem>,
}

/// The first record of a chain that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whose chain.
    pub chain: String,
    /// Which record.
    pub number: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there, and others are that came after it, or a checkpoint that has it.
    Missing,
    /// Its content is not what its hash says, or its predecessor is another one.
    Altered,
    /// It stands where another should, or there is one too many.
    OutOfPlace,
    /// It, or one since the last good checkpoint, is another one than was signed.
    Replaced {
        /// The last number up to which signatures hold.
        good: u64,
    },
    /// A checkpoint or cut of it has a signature that its signer did not make.
    Forged,
    /// A checkpoint or cut of it is signed by somebody who is not trusted.
    Stranger(PublicKey),
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Chains.
    pub chains: u64,
    /// Records.
    pub records: u64,
    /// Of these, records that a good checkpoint vouches for.
    pub signed: u64,
}

#[derive(Debug)]
struct Chain {
    head: Head,
    records: u64,
    /// The first record, where it is not number 1: its hash is checked once the cut is known.
    first: Option<Linked>,
    trims: Vec<Trim>,
    checkpoints: BTreeMap<u64, Hash>,
    signed: u64,
    is_broken: bool,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            head: Head::NONE,
            records: 0,
            first: None,
            trims: Vec::new(),
            checkpoints: BTreeMap::new(),
            signed: 0,
            is_broken: false,
        }
    }
}

impl Verifier {
    /// Trusts signatures by `trusted` only, or by anybody where it is empty.
    pub fn new(trusted: Vec<PublicKey>) -> Self {
        Self {
            trusted,
            ..Self::default()
        }
    }

    /// Takes it that what came before the first record of each chain was left out on purpose.
    pub fn of_a_part(mut self) -> Self {
        self.is_part = true;
        self
    }

    /// What was signed. To be given before the records.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let number = checkpoint.head.number;
        let fault = self.mistrust(&checkpoint.signer, checkpoint.is_signed());
        let chain = self.chains.entry(checkpoint.chain.clone()).or_default();
        let known = chain.checkpoints.get(&number).copied();
        match (fault, known) {
            (Some(fault), _) => self.report(&checkpoint.chain, number, fault),
            // Two that are both signed and differ: one chain was written twice.
            (None, Some(hash)) if hash != checkpoint.head.hash => {
                self.report(&checkpoint.chain, number, Fault::Altered);
            }
            (None, _) => drop(chain.checkpoints.insert(number, checkpoint.head.hash)),
        }
    }

    /// The next record of its chain.
    pub fn record(&mut self, linked: Linked) {
        let trim = (linked.record.event == Trim::EVENT)
            .then(|| Trim::from_detail(&linked.chain, &linked.record.detail))
            .flatten();
        let name = linked.chain.clone();
        let chain = self.chains.entry(name.clone()).or_default();
        if chain.is_broken {
            return;
        }
        chain.records += 1;
        let number = linked.number;
        if let Err((number, fault)) = chain.follow(linked) {
            return self.report(&name, number, fault);
        }
        if let Some(trim) = trim {
            match self.mistrust(&trim.signer, trim.is_signed()) {
                Some(fault) => self.report(&name, number, fault),
                None => {
                    let chain = self.chains.entry(name).or_default();
                    chain.trims.push(trim);
                }
            }
        }
    }

    /// A record that cannot be read as one.
    pub fn unreadable(&mut self, chain: &str, number: u64) {
        self.report(chain, number, Fault::Altered);
    }

    /// A record that stands at another place than its number says.
    pub fn misplaced(&mut self, chain: &str, number: u64) {
        self.report(chain, number, Fault::OutOfPlace);
    }

    /// How a database says that a chain ends.
    pub fn head(&mut self, name: &str, head: Head) {
        let chain = self.chains.entry(name.to_owned()).or_default();
        let found = chain.head;
        if found.number < head.number {
            self.report(name, found.number + 1, Fault::Missing);
        } else if found.number > head.number {
            self.report(name, head.number + 1, Fault::OutOfPlace);
        } else if found.hash != head.hash {
            self.report(name, head.number, Fault::Altered);
        }
    }

    /// All was given. The first problem of each chain, and how much was checked.
    pub fn finish(mut self) -> (Tally, Vec<Problem>) {
        let mut tally = Tally::default();
        let mut late = Vec::new();
        for (name, chain) in &self.chains {
            tally.chains += 1;
            tally.records += chain.records;
            tally.signed += chain.records.min(chain.signed);
            if let Some((number, fault)) = chain.shortfall(self.is_part) {
                late.push((name.clone(), number, fault));
            }
        }
        for (name, number, fault) in late {
            self.report(&name, number, fault);
        }
        self.problems.sort_by(|a, b| a.chain.cmp(&b.chain));
        (tally, self.problems)
    }

    /// Why a signature does not count.
    fn mistrust(&self, signer: &PublicKey, is_signed: bool) -> Option<Fault> {
        if !is_signed {
            return Some(Fault::Forged);
        }
        let is_known = self.trusted.is_empty() || self.trusted.contains(signer);
        (!is_known).then_some(Fault::Stranger(*signer))
    }

    fn report(&mut self, chain: &str, number: u64, fault: Fault) {
        let known = self.chains.entry(chain.to_owned()).or_default();
        if !std::mem::replace(&mut known.is_broken, true) {
            self.problems.push(Problem {
                chain: chain.to_owned(),
                number,
                fault,
            });
        }
    }
}

impl Chain {
    fn follow(&mut self, linked: Linked) -> Result<(), (u64, Fault)> {
        let number = linked.number;
        if number == 0 || chain_of(&linked.record) != linked.chain {
            return Err((number, Fault::Altered));
        }
        if self.records == 1 && number > 1 {
            // What it follows is not here: see `shortfall`.
            self.head = Head {
                number,
                hash: linked.hash,
            };
            self.first = Some(linked);
            return self.compare();
        }
        let expected = self.head.number + 1;
        if number > expected {
            return Err((expected, Fault::Missing));
        }
        if number < expected {
            return Err((number, Fault::OutOfPlace));
        }
        let head = self.head.follow(&linked.chain, &linked.record);
        if head.hash != linked.hash {
            return Err((number, Fault::Altered));
        }
        self.head = head;
        self.compare()
    }

    /// Holds the record that came last against what was signed.
    fn compare(&mut self) -> Result<(), (u64, Fault)> {
        let Head { number, hash } = self.head;
        match self.checkpoints.get(&number) {
            Some(signed) if *signed != hash => {
                let good = self.signed;
                Err((number, Fault::Replaced { good }))
            }
            Some(_) => {
                self.signed = number;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What should have come and did not.
    fn shortfall(&self, is_part: bool) -> Option<(u64, Fault)> {
        if self.is_broken {
            return None;
        }
        if let Some(first) = &self.first {
            let cut = self
                .trims
                .iter()
                .find(|it| it.upto.number + 1 == first.number);
            match cut {
                Some(cut) if cut.upto.follow(&first.chain, &first.record).hash != first.hash => {
                    return Some((first.number, Fault::Altered));
                }
                None if !is_part => {
                    // After the last cut, if there was one.
                    let cuts = self.trims.iter().map(|it| it.upto.number);
                    let cut = cuts.filter(|cut| *cut < first.number).max();
                    return Some((cut.unwrap_or(0) + 1, Fault::Missing));
                }
                _ => {}
            }
        }
        let last = self.checkpoints.keys().next_back();
        last.filter(|signed| **signed > self.head.number)
            .map(|_| (self.head.number + 1, Fault::Missing))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chain,
            number,
            fault,
        } = self;
        write!(f, "chain {chain}: record {number} ")?;
        match fault {
            Fault::Missing => f.write_str("is missing"),
            Fault::Altered => f.write_str("was altered, or follows another record than it did"),
            Fault::OutOfPlace => f.write_str("is out of place: it was put in, or moved"),
            Fault::Replaced { good } => write!(
                f,
                "is not the one that was signed: one of the records after {good} was replaced"
            ),
            Fault::Forged => f.write_str("has a signature that its signer did not make"),
            Fault::Stranger(signer) => write!(f, "is signed by {signer}, who is not trusted"),
        }
    }
}
