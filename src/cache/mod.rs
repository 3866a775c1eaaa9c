//! A `TokenSource` around a `TokenSource`: store, life and single flight. It makes no HTTP call and never judges a token.

/// Bounds and margins of the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub max_entries: usize,
    /// Targets that one subject token may hold.
    pub max_per_token: usize,
    /// The share of a token's life (0.0 to 1.0) that is not used, 30 s at the most.
    pub expire_early: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_entries: 100_000, max_per_token: 64, expire_early: 0.1 }
    }
}
