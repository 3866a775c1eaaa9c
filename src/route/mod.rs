//! `Table<R>`: finds and explains what a host, path, method and headers lead to. It knows nothing of what `R` is.

mod explain;
mod held;
mod host;
pub mod path;
mod table;

use http::{HeaderName, HeaderValue, Method};

pub use explain::{By, Verdict};
pub use held::holds;
pub use host::HostPattern;
pub use path::PathPattern;
pub use table::{Found, Table, Tie};

/// Which requests a route takes. Of several that match, the most specific wins, whatever their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Empty: any.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Empty: any.
    pub methods: Vec<Method>,
    /// All of them, exactly.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The path is taken as it is written: no second look at its boldest reading.
    pub as_written: bool,
}

#[cfg(test)]
mod tests;
