//! Writing of the data types of section 1.5. Called by the encoders only.

/// Largest value of a variable byte integer, and so of the remaining length.
pub(super) const VARIABLE_BYTE_INTEGER_MAX: usize = 268_435_455;

/// Bytes that `value` takes as a variable byte integer.
#[inline]
pub(super) const fn variable_byte_integer_length(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Section 1.5.5. A value above the largest is written as the largest: callers keep packets below.
#[inline]
pub(super) fn put_variable_byte_integer(out: &mut Vec<u8>, value: usize) {
    debug_assert!(value <= VARIABLE_BYTE_INTEGER_MAX);
    let mut rest = value.min(VARIABLE_BYTE_INTEGER_MAX);
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[inline]
pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// The part of `text` that fits its two-byte length. Everything that the broker writes is shorter
/// by its limits; should a text ever not be, it is cut rather than the packet torn.
#[inline]
pub(super) fn fitting_text(text: &str) -> &str {
    match u16::try_from(text.len()) {
        Ok(_) => text,
        Err(_) => &text[..text.floor_char_boundary(usize::from(u16::MAX))],
    }
}

/// Likewise for binary data.
#[inline]
pub(super) fn fitting_binary(data: &[u8]) -> &[u8] {
    &data[..data.len().min(usize::from(u16::MAX))]
}

/// Section 1.5.6.
#[inline]
pub(super) fn put_binary(out: &mut Vec<u8>, data: &[u8]) {
    let data = fitting_binary(data);
    put_u16(out, data.len() as u16);
    out.extend_from_slice(data);
}

/// Section 1.5.4.
#[inline]
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_binary(out, fitting_text(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;

    #[test]
    fn variable_byte_integers_survive_at_every_edge() {
        for (value, length) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_151, 3),
            (2_097_152, 4),
            (VARIABLE_BYTE_INTEGER_MAX, 4),
        ] {
            let mut out = Vec::new();
            put_variable_byte_integer(&mut out, value);
            assert_eq!(out.len(), length, "{value}");
            assert_eq!(variable_byte_integer_length(value), length, "{value}");
            let mut reader = Reader::new(&out);
            assert_eq!(reader.variable_byte_integer(), Ok(value as u32));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_text_too_long_is_cut_between_characters() {
        let text = "é".repeat(40_000);
        let mut out = Vec::new();
        put_text(&mut out, &text);
        assert_eq!(out[..2], 65_534_u16.to_be_bytes());
        assert_eq!(Reader::new(&out).text(), Ok(&text[..65_534]));
    }
}
