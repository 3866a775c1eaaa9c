//! `workers`: how many threads hold callers' connections. It starts none.

use super::reading::Value;

const MOST: usize = 1024;

/// `None`: one per core.
pub fn workers(value: &Value) -> Option<Option<usize>> {
    if value.scalar() == Some("auto") { Some(None) } else { value.count(1, MOST).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{config, refused};

    #[test]
    fn as_many_as_cores_or_a_number() {
        assert_eq!(["", "workers: auto\n", "workers: 3\n"].map(|top| config(top).workers), [None, None, Some(3)]);
        assert_eq!(refused("workers: 0\n"), [Code::Range]);
        assert_eq!(refused("workers: many\n"), [Code::Quantity]);
    }
}
