//! How long a granted token may be handed out, and from when on a newer one is worth asking for. It reads no clock and draws no
//! lots: both are handed in.

use super::Settings;
use crate::clock::millis;
use crate::token::Granted;
use std::time::Duration;

/// The most that is left unused at the end of a token's life.
const EARLY_MOST: Duration = Duration::from_secs(30);
/// By how much a newer token must outlive the present one to be worth an exchange; what `exp` in whole seconds leaves open.
const GAIN: u64 = 2000;
/// After a renewal was begun, another is not before a quarter of what is left has passed, within these bounds.
const RETRY: (u64, u64) = (1000, 30_000);

/// No newer token is asked for.
pub(super) const NEVER: u64 = u64::MAX;

/// Moments of one token ([`crate::clock::Clock::millis`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// It is handed out no longer: its end, less a margin that lets the request that carries it arrive.
    pub until: u64,
    /// A newer one is asked for behind the next request; [`NEVER`] where that would live no longer.
    pub renew_at: u64,
}

impl Life {
    /// `subject_ends`: when the caller's own token does, by the clock of [`Granted::expires_at`]. `lot`: 0.0 to 1.0, so that tokens of one age are not renewed at once.
    pub(super) fn of(granted: &Granted, subject_ends: u64, settings: &Settings, lot: f64) -> Self {
        let begun = granted.expires_at.saturating_sub(millis(granted.lifetime));
        let ends = begun.saturating_add(millis(granted.by_issuer)).max(granted.expires_at);
        // An issuer that bounds what it issues by the subject's own end grants no more the second time, and we allow no more.
        let no_more_from = |end: u64| end.saturating_add(GAIN) >= subject_ends;
        // The margin is for what a newer token would replace in time. What the subject ends is used to its end: to exchange once more
        // before that would cost a request the wait, and gain it nothing.
        let margin = match no_more_from(ends) {
            true => Duration::ZERO,
            false => granted.by_issuer.mul_f64(settings.expire_early.clamp(0.0, 1.0)).min(EARLY_MOST),
        };
        let until = granted.expires_at.min(ends.saturating_sub(millis(margin)));
        let ahead = settings.refresh_ahead.clamp(0.0, 1.0);
        if ahead == 0.0 || no_more_from(granted.expires_at) {
            return Self { until, renew_at: NEVER };
        }
        // At the latest when `ahead` of the life is left, or half of that share of what is used of it; earlier by lot.
        let usable = Duration::from_millis(until.saturating_sub(begun));
        let latest = granted.lifetime.mul_f64(1.0 - ahead).min(usable.mul_f64(1.0 - ahead / 2.0));
        let jitter = granted.lifetime.mul_f64(ahead.min(1.0 - ahead) / 2.0 * lot.clamp(0.0, 1.0));
        Self { until, renew_at: begun.saturating_add(millis(latest.saturating_sub(jitter))) }
    }

    /// When another renewal may begin after one that began at `now`, if nothing came of that.
    pub(super) fn retry_at(until: u64, now: u64) -> u64 {
        now + (until.saturating_sub(now) / 4).clamp(RETRY.0, RETRY.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{AccessToken, Source};

    fn life(lifetime: u64, expire_early: f64, refresh_ahead: f64, subject_ends: u64, lot: f64) -> (u64, u64) {
        bounded(lifetime, None, expire_early, refresh_ahead, subject_ends, lot)
    }

    fn bounded(lifetime: u64, by_issuer: Option<u64>, expire_early: f64, refresh_ahead: f64, subject_ends: u64, lot: f64) -> (u64, u64) {
        let token = AccessToken::new("t").unwrap();
        let lifetime = Duration::from_secs(lifetime);
        let by_issuer = by_issuer.map_or(lifetime, Duration::from_secs);
        let granted =
            Granted { token, source: Source::Miss, generation: 1, expires_at: millis(lifetime), lifetime, by_issuer, not_before: 0 };
        let settings = Settings { expire_early, refresh_ahead, ..Settings::default() };
        let Life { until, renew_at } = Life::of(&granted, subject_ends, &settings, lot);
        (until / 1000, if renew_at == NEVER { NEVER } else { renew_at / 1000 })
    }

    #[test]
    fn a_tenth_is_left_unused_and_thirty_seconds_at_the_most() {
        let until = |lifetime, early| life(lifetime, early, 0.2, u64::MAX, 0.0).0;
        assert_eq!(until(100, 0.1), 90);
        assert_eq!(until(300, 0.1), 270);
        assert_eq!(until(3600, 0.1), 3570);
        assert_eq!(until(100, 0.0), 100);
        assert_eq!(until(0, 0.1), 0);
    }

    #[test]
    fn renewal_begins_between_seventy_and_eighty_percent_of_the_life() {
        let at = |ahead, lot| life(1000, 0.1, ahead, u64::MAX, lot).1;
        assert_eq!((at(0.2, 0.0), at(0.2, 1.0)), (800, 700));
        assert_eq!((at(0.5, 0.0), at(0.5, 1.0)), (500, 250));
        assert_eq!(at(0.0, 0.0), NEVER);
        // However much ahead, it never begins in the first half of what is before it, and never after the token is out of use.
        assert_eq!((at(0.9, 0.0), at(0.9, 1.0)), (100, 50));
        assert!(life(100, 0.5, 0.01, u64::MAX, 0.0).1 < 70, "30 s are left unused: 70 s are used");
    }

    #[test]
    fn what_ends_with_its_subject_is_not_renewed() {
        let at = |subject_ends| life(100, 0.1, 0.2, subject_ends, 0.0).1;
        assert_eq!(at(70_000), NEVER, "the subject's end and the skew bound it");
        assert_eq!(at(100_000), NEVER, "the issuer bounds it by the subject's end");
        assert_eq!(at(160_000), 80);
    }

    #[test]
    fn only_the_issuers_own_end_is_kept_clear_of() {
        let until = |lifetime, by_issuer, subject_ends| bounded(lifetime, Some(by_issuer), 0.1, 0.2, subject_ends, 0.0).0;
        assert_eq!(until(100, 100, 100_000), 100, "the issuer bounds it by the subject's end");
        assert_eq!(until(107, 300, 100_000), 107, "we do, and add the skew");
        assert_eq!(until(60, 300, 10_000_000), 60, "max_ttl does, long before the issuer");
        assert_eq!(until(95, 100, 10_000_000), 90, "max_ttl does, in the issuer's margin");
        assert_eq!(until(60, 300, 300_000), 60, "max_ttl first, then the subject");
    }

    #[test]
    fn a_renewal_that_failed_waits_a_while() {
        assert_eq!(Life::retry_at(100_000, 80_000), 85_000);
        assert_eq!(Life::retry_at(81_000, 80_000), 81_000);
        assert_eq!(Life::retry_at(900_000, 80_000), 110_000);
    }
}
