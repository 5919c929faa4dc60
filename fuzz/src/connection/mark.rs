//! What a team's clients put into all that they publish, and nobody else can, so that a packet which
//! has it tells where it comes from.

/// A team's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u8);

/// The teams of `Directory::demo`.
const MARKS: [(&str, Mark); 2] = [("alpha", Mark(b'~')), ("beta", Mark(b'^'))];

/// So often in a row no packet has such a byte for another reason.
const LENGTH: usize = 4;

impl Mark {
    /// That of the team which this username or topic names.
    pub fn named_in(text: &str) -> Option<Self> {
        let named = MARKS.iter().find(|(team, _)| text.contains(team));
        named.map(|(_, mark)| *mark)
    }

    /// What a payload is filled with.
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// The mark in a topic or a property.
    pub fn text(self) -> String {
        char::from(self.0).to_string().repeat(LENGTH)
    }

    /// Whether a packet has the mark of another team.
    pub fn is_not_that_in(self, packet: &[u8]) -> bool {
        let others = MARKS.iter().filter(|(_, mark)| *mark != self);
        let mut runs = others.map(|(_, mark)| [mark.0; LENGTH]);
        runs.any(|run| packet.windows(LENGTH).any(|bytes| bytes == run))
    }

    /// The bytes without any mark.
    pub fn without(bytes: &[u8]) -> Vec<u8> {
        let marks = |byte: u8| MARKS.iter().any(|(_, mark)| mark.0 == byte);
        let other = |&byte: &u8| if marks(byte) { b'_' } else { byte };
        bytes.iter().map(other).collect()
    }
}
