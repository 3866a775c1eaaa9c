//! A gzip bomb, made by hand (RFC 1951, RFC 1952): a few bytes as they are, then blanks that take a thousandth of their size. It
//! unpacks nothing, and it packs nothing else.

/// How many blanks one back reference stands for, at the most that DEFLATE knows.
const RUN: usize = 258;

/// `head`, followed by at least `blanks` blanks.
pub(super) fn bomb(head: &[u8], blanks: usize) -> Vec<u8> {
    let (runs, head) = (blanks.div_ceil(RUN), head.get(..usize::from(u16::MAX)).unwrap_or(head));
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    // One block that is stored: its length, and the same inverted.
    let length = u16::try_from(head.len()).unwrap_or(u16::MAX);
    out.push(0);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(head);
    let mut bits = Bits { out, held: 0, count: 0 };
    codes(&mut bits);
    // One blank as it is; then a run is the code of the length, `0`, and that of the distance 1, `0`.
    bits.code(0b10, 2);
    (0..runs).for_each(|_| bits.code(0, 2));
    bits.code(0b11, 2);
    let mut out = bits.end();
    out.extend(crc32(head, 1 + runs * RUN).to_le_bytes());
    out.extend(u32::try_from(head.len() + 1 + runs * RUN).unwrap_or(u32::MAX).to_le_bytes());
    out
}

/// The head of the last block, with codes of its own: `0` for a run, `10` for a blank, `11` for the end, and `0` for a distance.
fn codes(bits: &mut Bits) {
    bits.number(0b101, 3);
    // 286 lengths for literals and runs, 1 for distances, and 18 for the codes of these lengths.
    bits.number(286 - 257, 5);
    bits.number(0, 5);
    bits.number(18 - 4, 4);
    // In DEFLATE's own order. Those of use are 18 (zeros), 2 and 1, which become `0`, `11` and `10`.
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        bits.number(length, 3);
    }
    let zeros = |bits: &mut Bits, n: u32| {
        bits.code(0, 1);
        bits.number(n - 11, 7);
    };
    zeros(bits, 32);
    bits.code(0b11, 2); // The blank, 32: 2 bits.
    zeros(bits, 138);
    zeros(bits, 223 - 138);
    bits.code(0b11, 2); // The end, 256: 2 bits.
    zeros(bits, 28);
    bits.code(0b10, 2); // A run of 258, 285: 1 bit.
    bits.code(0b10, 2); // The distance 1: 1 bit.
}

/// Bits as DEFLATE has them: numbers from their lowest bit on, codes from their highest.
struct Bits {
    out: Vec<u8>,
    held: u8,
    count: u8,
}

impl Bits {
    fn bit(&mut self, bit: u32) {
        self.held |= u8::from(bit & 1 == 1) << self.count;
        self.count += 1;
        if self.count == 8 {
            self.out.push(self.held);
            (self.held, self.count) = (0, 0);
        }
    }

    fn number(&mut self, value: u32, width: u32) {
        (0..width).for_each(|i| self.bit(value >> i));
    }

    fn code(&mut self, value: u32, width: u32) {
        (0..width).rev().for_each(|i| self.bit(value >> i));
    }

    fn end(mut self) -> Vec<u8> {
        while self.count > 0 {
            self.bit(0);
        }
        self.out
    }
}

fn crc32(head: &[u8], blanks: usize) -> u32 {
    let row = |n: u32| (0..8).fold(n, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 });
    let table: Vec<u32> = (0..256).map(row).collect();
    let next = |crc: u32, byte: u8| table[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    let crc = head.iter().fold(u32::MAX, |crc, byte| next(crc, *byte));
    !(0..blanks).fold(crc, |crc, _| next(crc, b' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    #[test]
    fn a_checksum_is_the_one_that_everybody_knows() {
        assert_eq!(crc32(b"123456789", 0), 0xcbf4_3926);
        assert_eq!(crc32(b"a ", 1), crc32(b"a  ", 0));
    }

    /// By a program that did not come from here; where there is none, the checksum above has to do.
    #[test]
    fn it_is_gzip_and_a_thousand_times_as_large_as_it_looks() {
        let packed = bomb(b"{\"a\":1}", 10_000_000);
        assert!(packed.len() < 10_000, "{}", packed.len());
        let Ok(mut gzip) = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else { return };
        let (mut input, mut output) = (gzip.stdin.take().unwrap(), gzip.stdout.take().unwrap());
        let writer = std::thread::spawn(move || input.write_all(&packed).unwrap());
        let mut text = Vec::new();
        output.read_to_end(&mut text).unwrap();
        writer.join().unwrap();
        assert!(gzip.wait().unwrap().success());
        assert!(text.starts_with(b"{\"a\":1} ") && text.len() >= 10_000_000, "{}", text.len());
        assert!(text[7..].iter().all(|b| *b == b' '));
    }
}
