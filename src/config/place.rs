//! Where something stands in the file, and a value with its place. It keeps no text, so that it cannot show any.

/// A stretch of the file. Lines and columns count from 1, in characters; `start` and `end` are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// Characters to be underlined on that line.
    pub width: usize,
    pub start: usize,
    pub end: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it was written: the value itself, and the key in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
    pub key: Place,
}
