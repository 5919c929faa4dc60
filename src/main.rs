//! The command line's entry; nothing else.

fn main() {}
