//! `shutdown`: how long the end takes. It ends nothing; zero is accepted for both parts.

use super::Shutdown;
use super::duration::duration;
use super::place::At;
use super::section::Section;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Written {
    pub delay: Option<At<Duration>>,
    pub grace: Option<At<Duration>>,
}

pub fn read(root: &mut Section) -> Written {
    let Some(at) = root.take("shutdown", |value| value.section(&[])) else { return Written::default() };
    let mut section = at.value;
    // Zero is right for both where nobody is waited for: in tests, or behind no load balancer.
    let read = Written { delay: section.take("delay", duration), grace: section.take("grace", duration) };
    section.finish();
    read
}

pub fn settings(Written { delay, grace }: Written) -> Shutdown {
    Shutdown { delay: delay.map_or(Duration::from_secs(5), |at| at.value), grace: grace.map_or(Duration::from_secs(20), |at| at.value) }
}

#[cfg(test)]
mod tests {
    use super::super::sample::config;
    use super::*;

    #[test]
    fn the_defaults_and_what_is_written() {
        assert_eq!(config("").shutdown, Shutdown { delay: Duration::from_secs(5), grace: Duration::from_secs(20) });
        assert_eq!(config("shutdown: { delay: 0s }\n").shutdown, Shutdown { delay: Duration::ZERO, grace: Duration::from_secs(20) });
    }
}
