//! Path patterns, and the one reading of a request's path.

/// A path as a route names it. Begins with `/`; a prefix matches whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Prefix(String),
    Exact(String),
}

impl PathPattern {
    /// # Errors
    /// What is wrong with the pattern, for the one who wrote it.
    pub fn prefix(text: &str) -> Result<Self, String> {
        checked(text).map(|t| Self::Prefix(if t.len() > 1 { t.trim_end_matches('/').to_owned() } else { t }))
    }

    /// # Errors
    /// What is wrong with the pattern, for the one who wrote it.
    pub fn exact(text: &str) -> Result<Self, String> {
        checked(text).map(Self::Exact)
    }
}

fn checked(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err(format!("`{text}`: a path begins with `/`")) }
}
