//! How long a granted token may be handed out. It reads no clock.

use crate::token::Granted;
use std::time::Duration;

/// The most that is left unused at the end of a token's life.
const EARLY_MOST: Duration = Duration::from_secs(30);

/// When a token stops being handed out ([`crate::clock::Clock::millis`]): its end, less a margin that lets the request that
/// carries it arrive.
pub(super) fn usable_until(granted: &Granted, expire_early: f64) -> u64 {
    let early = granted.lifetime.mul_f64(expire_early.clamp(0.0, 1.0)).min(EARLY_MOST);
    granted.expires_at.saturating_sub(crate::clock::millis(early))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{AccessToken, Source};

    fn until(lifetime: u64, expire_early: f64) -> u64 {
        let token = AccessToken::new("t").unwrap();
        let lifetime = Duration::from_secs(lifetime);
        let granted = Granted { token, source: Source::Miss, generation: 1, expires_at: crate::clock::millis(lifetime), lifetime };
        usable_until(&granted, expire_early) / 1000
    }

    #[test]
    fn a_tenth_is_left_unused_and_thirty_seconds_at_the_most() {
        assert_eq!(until(100, 0.1), 90);
        assert_eq!(until(300, 0.1), 270);
        assert_eq!(until(3600, 0.1), 3570);
        assert_eq!(until(100, 0.0), 100);
        assert_eq!(until(0, 0.1), 0);
    }
}
