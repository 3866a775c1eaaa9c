//! The two questions that the head guard asks of bytes: how far a value goes on plainly, and what may stand in a name.

/// How many of the first bytes are no control bytes but HTAB. Eight at a time: most of a head is values.
pub(in crate::listen) fn plain(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let at = 8 * words.iter().take_while(|word| !may_have_control(u64::from_ne_bytes(**word))).count();
    at + bytes[at..].iter().take_while(|byte| **byte == b'\t' || !byte.is_ascii_control()).count()
}

/// Whether one of eight bytes is below 0x20, or DEL.
fn may_have_control(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let del = word ^ (ONES * 0x7f);
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let equal = del.wrapping_sub(ONES) & !del;
    (low | equal) & TOPS != 0
}

/// RFC 9110 §5.6.2.
pub(in crate::listen) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let others = *b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        while at < 256 {
            table[at] = at < 128 && (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        at = 0;
        while at < others.len() {
            table[others[at] as usize] = true;
            at += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}
