//! The head guard: it follows the framing of HTTP/1 under hyper, just far enough to read each head once, and refuses what two
//! readers could take for two things. It keeps no byte, changes none, allocates nothing and does no I/O.

mod fields;
pub(super) mod scan;

use scan::{is_token, plain};

/// What is refused, and what of the bytes just read stands before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) cause: &'static str,
    /// So many of the bytes belong to whole messages before the refused one.
    pub(super) whole: usize,
    /// So many messages came before it on this connection.
    pub(super) before: usize,
    /// Its head was complete before these bytes came: it is the body that is malformed.
    pub(super) in_body: bool,
}

type Step = Result<usize, &'static str>;

const BARE_LF: &str = "a line that ends with a bare LF";
const BARE_CR: &str = "a CR without LF";
const CONTROL: &str = "a control byte in the head";
const NO_REQUEST_LINE: &str = "no request line of HTTP/1.0 or 1.1";
const BAD_CHUNK: &str = "a malformed chunk";

/// Longer names are of no interest.
const LONGEST_NAME: usize = b"transfer-encoding".len();
const VERSION: &[u8] = b"HTTP/1.";
/// Of a chunk's size.
const MOST_DIGITS: u8 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between two messages.
    #[default]
    Start,
    StartLf,
    /// After the one empty line that may stand before a request.
    Blank,
    Method,
    Target {
        empty: bool,
    },
    /// So many bytes of it have been seen.
    Version(usize),
    LineLf,
    FieldStart,
    Name,
    Value,
    Length(Part),
    /// So many letters of `chunked` have been seen.
    Coding(usize, Part),
    FieldLf,
    EndLf,
    Counted,
    /// So many digits have been seen.
    Size(u8),
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// Where in a value one is that has blanks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Before,
    Within,
    After,
}

#[derive(Debug, Default)]
pub(super) struct Guard {
    state: State,
    /// The fields are a chunked body's trailers.
    trailers: bool,
    http10: bool,
    length: Option<u64>,
    chunked: bool,
    /// The name of the field under way, in lower case, and its length.
    name: [u8; LONGEST_NAME],
    named: usize,
    /// Bytes of a body or a chunk that are still to come; while its size is read, what it is so far.
    left: u64,
    messages: usize,
}

impl Guard {
    /// Follows `bytes`, which came after all that was fed before. After a refusal there is nothing more to follow.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let (mut at, mut whole, mut in_body) = (0, 0, self.in_body());
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                Ok(n) => at += n,
                Err(cause) => return Err(Refused { cause, whole, before: self.messages, in_body }),
            }
            if self.state == State::Start {
                (whole, in_body) = (at, false);
            }
        }
        Ok(())
    }

    /// Whole ones so far.
    #[cfg(test)]
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// The head of the message under way is complete.
    fn in_body(&self) -> bool {
        use State::{Counted, Data, DataCr, DataLf, Extension, Size, SizeLf};
        self.trailers || matches!(self.state, Counted | Size(_) | Extension | SizeLf | Data | DataCr | DataLf)
    }

    /// Takes at least the first of `bytes`, and tells how many it took.
    fn step(&mut self, bytes: &[u8]) -> Step {
        let byte = bytes[0];
        match self.state {
            State::Counted | State::Data => return Ok(self.skip(bytes.len())),
            State::Value | State::Extension => {
                let run = plain(bytes);
                if run > 0 {
                    return Ok(run);
                }
            }
            _ => {}
        }
        self.state = match self.state {
            State::Start | State::Blank => self.start(byte)?,
            State::StartLf => lf(byte, State::Blank)?,
            State::Method | State::Target { .. } | State::Version(_) => self.request_line(byte)?,
            State::LineLf | State::FieldLf => lf(byte, State::FieldStart)?,
            State::FieldStart if byte == b'\r' => State::EndLf,
            State::FieldStart if matches!(byte, b' ' | b'\t') => return Err("a folded line"),
            State::FieldStart => {
                self.named = 0;
                self.name_byte(byte)?
            }
            State::Name => self.name_byte(byte)?,
            State::Value => end_of_line(byte, State::FieldLf)?,
            State::Length(part) => self.length_byte(byte, part)?,
            State::Coding(seen, part) => self.coding_byte(byte, seen, part)?,
            State::EndLf if byte != b'\n' => return Err(BARE_CR),
            State::EndLf if self.trailers => self.whole(),
            State::EndLf => self.end_of_head(),
            State::Size(digits) => self.size_byte(byte, digits)?,
            State::Extension => end_of_line(byte, State::SizeLf)?,
            State::SizeLf => {
                self.trailers = self.left == 0;
                lf(byte, if self.trailers { State::FieldStart } else { State::Data })?
            }
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => self.size(),
            State::DataCr | State::DataLf | State::Counted | State::Data => return Err(BAD_CHUNK),
        };
        Ok(1)
    }

    /// Passes over what is there of a body or a chunk.
    fn skip(&mut self, there: usize) -> usize {
        let taken = usize::try_from(self.left).map_or(there, |left| left.min(there));
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = if self.state == State::Data { State::DataCr } else { self.whole() };
        }
        taken
    }

    /// A message is complete.
    fn whole(&mut self) -> State {
        *self = Self { messages: self.messages + 1, ..Self::default() };
        State::Start
    }

    fn end_of_head(&mut self) -> State {
        match self.length {
            _ if self.chunked => self.size(),
            Some(length) if length > 0 => {
                self.left = length;
                State::Counted
            }
            _ => self.whole(),
        }
    }

    fn size(&mut self) -> State {
        self.left = 0;
        State::Size(0)
    }

    fn start(&self, byte: u8) -> Result<State, &'static str> {
        match byte {
            b'\r' if self.state == State::Start => Ok(State::StartLf),
            b'\r' => Err("empty lines before the request line"),
            b'\n' => Err(BARE_LF),
            _ if is_token(byte) => Ok(State::Method),
            _ => Err(NO_REQUEST_LINE),
        }
    }

    fn request_line(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::Version(seen), b'\r') if seen > VERSION.len() => Ok(State::LineLf),
            (_, b'\n') => Err(BARE_LF),
            (_, b'\r') => Err(NO_REQUEST_LINE),
            (_, 0..=0x1f | 0x7f) => Err(CONTROL),
            (State::Method, b' ') => Ok(State::Target { empty: true }),
            (State::Method, _) if is_token(byte) => Ok(State::Method),
            (State::Target { empty: false }, b' ') => Ok(State::Version(0)),
            (State::Target { .. }, b'#') => Err("a `#` in the request's target"),
            (State::Target { .. }, b'!'..) => Ok(State::Target { empty: false }),
            (State::Version(seen), _) if VERSION.get(seen) == Some(&byte) => Ok(State::Version(seen + 1)),
            (State::Version(seen), b'0' | b'1') if seen == VERSION.len() => {
                self.http10 = byte == b'0';
                Ok(State::Version(seen + 1))
            }
            _ => Err(NO_REQUEST_LINE),
        }
    }

    fn size_byte(&mut self, byte: u8, digits: u8) -> Result<State, &'static str> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if digits > 0 => return Ok(State::Extension),
            b'\r' if digits > 0 => return Ok(State::SizeLf),
            _ => return Err(BAD_CHUNK),
        };
        if digits == MOST_DIGITS {
            return Err(BAD_CHUNK);
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size(digits + 1))
    }
}

/// What stands after a CR.
fn lf(byte: u8, next: State) -> Result<State, &'static str> {
    if byte == b'\n' { Ok(next) } else { Err(BARE_CR) }
}

/// What stands where a value or an extension goes on no more.
fn end_of_line(byte: u8, next: State) -> Result<State, &'static str> {
    match byte {
        b'\r' => Ok(next),
        b'\n' => Err(BARE_LF),
        _ => Err(CONTROL),
    }
}
