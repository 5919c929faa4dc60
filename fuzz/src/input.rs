//! The bytes of one fuzz input, read as numbers and pieces.

/// What is left of the input. Reading past the end gives zeros, so that every input is a whole one.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// All that has not been read.
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// At most `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }
}

/// Lengths that follow from a seed: 0 to `max`, short ones more often than long ones.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    state: u32,
    max: usize,
}

impl Lengths {
    pub fn new(seed: u16, max: usize) -> Self {
        let state = u32::from(seed).wrapping_mul(0x9E37_79B9) | 1;
        Self { state, max }
    }
}

impl Iterator for Lengths {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        // xorshift32
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        let bits = self.state >> 8;
        let max = if bits & 3 == 0 { self.max } else { 8 };
        Some((bits >> 2) as usize % (max + 1))
    }
}
