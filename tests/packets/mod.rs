//! The shared table of packets, `tests/data/packets.tsv`: one reader for the codec's tests, the
//! tests over real sockets and the fuzz corpus. Names nothing but `std`, so that a unit test can
//! take it in by `#[path]`.

#![allow(dead_code)] // each test takes what it needs

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique together with `version` and `first`.
    pub name: &'static str,
    /// `3.1`, `3.1.1` or `5`.
    pub version: &'static str,
    /// To be sent as the first packet of a connection; otherwise after an accepted CONNECT.
    pub first: bool,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What it amounts to; the table's head explains the forms.
    pub expected: &'static str,
}

/// The largest packet that the table's reader takes, in bytes.
pub const MAX_PACKET_SIZE: u32 = 1 << 20;

impl Case {
    /// The reason code of 5.0, where the packet is to be refused.
    pub fn refusal(&self) -> Option<u8> {
        let code = self.expected.strip_prefix("0x")?.get(..2)?;
        u8::from_str_radix(code, 16).ok()
    }

    /// Whether a whole, right packet stands here.
    pub fn is_valid(&self) -> bool {
        self.refusal().is_none() && !self.expected.starts_with("partial")
    }
}

/// Every line of the table, in order.
pub fn cases() -> Vec<Case> {
    include_str!("../data/packets.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(case)
        .collect()
}

fn case(line: &'static str) -> Case {
    let [name, version, when, hex, expected] = line
        .split('\t')
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| panic!("not five columns: {line}"));
    Case {
        name,
        version,
        first: match when {
            "first" => true,
            "later" => false,
            _ => panic!("neither first nor later: {line}"),
        },
        bytes: bytes(hex).unwrap_or_else(|| panic!("no hex: {line}")),
        expected,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |place| u8::from_str_radix(hex.get(place..place + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}
