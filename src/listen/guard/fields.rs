//! The guard's reading of one field: its name, and its value where that frames the body.

use super::scan::is_token;
use super::{BARE_LF, Guard, Part, State};

const BAD_LENGTH: &str = "a Content-Length that is not one plain number";
const BAD_CODING: &str = "a Transfer-Encoding other than `chunked` alone";
const BOTH: &str = "both Content-Length and Transfer-Encoding";
const CODING: &[u8] = b"chunked";

impl Guard {
    pub(super) fn name_byte(&mut self, byte: u8) -> Result<State, &'static str> {
        match byte {
            b':' if self.named > 0 => self.field(),
            b'\n' => Err(BARE_LF),
            b' ' | b'\t' => Err("a blank in a field's name, or between it and the colon"),
            _ if is_token(byte) => {
                if let Some(place) = self.name.get_mut(self.named) {
                    *place = byte.to_ascii_lowercase();
                }
                self.named = self.named.saturating_add(1);
                Ok(State::Name)
            }
            _ => Err("a line that is no field"),
        }
    }

    /// The field's name is complete.
    fn field(&mut self) -> Result<State, &'static str> {
        match self.name.get(..self.named) {
            _ if self.trailers => Ok(State::Value),
            Some(b"content-length") if self.chunked => Err(BOTH),
            Some(b"content-length") if self.length.is_some() => Err("more than one Content-Length"),
            Some(b"content-length") => Ok(State::Length(Part::Before)),
            Some(b"transfer-encoding") if self.length.is_some() => Err(BOTH),
            Some(b"transfer-encoding") if self.chunked => Err(BAD_CODING),
            Some(b"transfer-encoding") if self.http10 => Err("Transfer-Encoding in a message that is not HTTP/1.1"),
            Some(b"transfer-encoding") => Ok(State::Coding(0, Part::Before)),
            _ => Ok(State::Value),
        }
    }

    pub(super) fn length_byte(&mut self, byte: u8, part: Part) -> Result<State, &'static str> {
        match (byte, part) {
            (b'0'..=b'9', Part::Before) => {
                self.length = Some(u64::from(byte - b'0'));
                Ok(State::Length(Part::Within))
            }
            (b'0'..=b'9', Part::Within) => {
                // A number that begins with 0 has ended with it.
                let so_far = self.length.filter(|n| *n > 0);
                let longer = so_far.and_then(|n| n.checked_mul(10)?.checked_add(u64::from(byte - b'0')));
                self.length = Some(longer.ok_or(BAD_LENGTH)?);
                Ok(State::Length(Part::Within))
            }
            (b'\r', Part::Within | Part::After) => Ok(State::FieldLf),
            _ => Ok(State::Length(around(byte, part).ok_or(BAD_LENGTH)?)),
        }
    }

    pub(super) fn coding_byte(&mut self, byte: u8, seen: usize, part: Part) -> Result<State, &'static str> {
        let complete = seen == CODING.len();
        match (byte.to_ascii_lowercase(), part) {
            (letter, Part::Before | Part::Within) if CODING.get(seen) == Some(&letter) => Ok(State::Coding(seen + 1, Part::Within)),
            (b'\r', _) if complete => {
                self.chunked = true;
                Ok(State::FieldLf)
            }
            _ if seen == 0 || complete => Ok(State::Coding(seen, around(byte, part).ok_or(BAD_CODING)?)),
            _ => Err(BAD_CODING),
        }
    }
}

/// Where one is after a blank before or after a value; `None` for anything else.
fn around(byte: u8, part: Part) -> Option<Part> {
    matches!(byte, b' ' | b'\t').then_some(if part == Part::Before { Part::Before } else { Part::After })
}
