//! `log`: how much is logged, and in what form. It starts no logging, and has no say in what may be in a line.

use super::place::At;
use super::section::Section;
use crate::telemetry::{self, Format, Level};

#[derive(Debug, Default)]
pub struct Log {
    pub level: Option<At<Level>>,
    pub format: Option<At<Format>>,
    pub access: Option<At<bool>>,
}

pub fn read(root: &mut Section) -> Log {
    let Some(at) = root.take("log", |value| value.section(&[])) else { return Log::default() };
    let mut section = at.value;
    let read = Log {
        level: section.take("level", |v| v.choice(&Level::ALL, &[])),
        format: section.take("format", |v| v.choice(&[("json", Format::Json), ("text", Format::Text)], &[])),
        access: section.take("access", |v| v.boolean()),
    };
    section.finish();
    read
}

pub fn settings(Log { level, format, access }: Log) -> telemetry::Settings {
    let base = telemetry::Settings::default();
    telemetry::Settings {
        level: level.map_or(base.level, |at| at.value),
        format: format.map_or(base.format, |at| at.value),
        access: access.map_or(base.access, |at| at.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::config;
    use super::*;

    #[test]
    fn level_form_and_access_lines() {
        let found = config("log: { level: debug, format: text, access: false }\n").log;
        assert_eq!((found.level, found.format, found.access), (Level::Debug, Format::Text, false));
        let found = config("").log;
        assert_eq!((found.level, found.format, found.access), (Level::Info, Format::Json, true));
    }
}
