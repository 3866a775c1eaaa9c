//! `workers`: how many threads hold callers' connections.

use super::reading::Value;

const MOST: usize = 1024;

/// `None`: one per core.
pub fn workers(value: &Value) -> Option<Option<usize>> {
    if value.scalar() == Some("auto") { Some(None) } else { value.count(1, MOST).map(Some) }
}
