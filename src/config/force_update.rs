//! `force_update`: by which header a caller may ask for a newer token, from where, and how often one is got; and the same key of
//! a route, which says what counts there. It refuses a header that means something else.

use super::address::network;
use super::complaint::Code;
use super::duration::positive;
use super::place::At;
use super::reading::Value;
use super::routes::Mode;
use super::section::Section;
use super::target::meaningless;
use crate::stack::{ForceHeader, ForceRoute, OnUpstream401};
use http::HeaderName;
use ipnet::IpNet;
use std::time::Duration;

const ON_401: &[(&str, OnUpstream401)] =
    &[("invalid_token", OnUpstream401::InvalidToken), ("off", OnUpstream401::Off), ("any", OnUpstream401::Any)];

#[derive(Debug, Default)]
pub struct ForceUpdate {
    pub header: Option<At<HeaderName>>,
    /// The key is there, whatever stands in it.
    pub header_written: bool,
    pub trusted_from: Option<At<Vec<At<IpNet>>>>,
    pub min_interval: Option<At<Duration>>,
}

/// What a route says.
#[derive(Debug, Default)]
pub struct OnRoute {
    pub allow_header: Option<At<bool>>,
    pub on_upstream_401: Option<At<OnUpstream401>>,
}

pub fn read(root: &mut Section) -> ForceUpdate {
    let Some(at) = root.take("force_update", |value| value.section(&[])) else { return ForceUpdate::default() };
    let mut section = at.value;
    let header_written = section.has("header");
    if header_written {
        section.expect("trusted_from", "write from which networks the header counts, as in `[10.0.0.0/8]`");
    }
    let read = ForceUpdate {
        header: section.take("header", header),
        header_written,
        trusted_from: section.take("trusted_from", |v| v.list(network)),
        min_interval: section.take("min_interval", positive),
    };
    section.finish();
    read
}

pub fn on_route(route: &mut Section) -> Option<At<OnRoute>> {
    route.take("force_update", |value| {
        let mut section = value.section(&[])?;
        let read = OnRoute {
            allow_header: section.take("allow_header", |v| v.boolean()),
            on_upstream_401: section.take("on_upstream_401", |v| v.choice(ON_401, &[])),
        };
        section.finish();
        Some(read)
    })
}

/// It means nothing where a route gets no token.
pub fn check(route: &Section, written: Option<&At<OnRoute>>, mode: Option<Mode>) {
    let of = match mode {
        Some(Mode::Strip) => "strip",
        Some(Mode::Passthrough) => "passthrough",
        None | Some(Mode::Exchange | Mode::ClientCredentials) => return,
    };
    if let Some(at) = written {
        meaningless(route, "force_update", at.key, of, "nothing is exchanged");
    }
}

fn header(value: &Value) -> Option<HeaderName> {
    let text = value.text()?;
    let Ok(name) = text.parse::<HeaderName>() else {
        return value.refuse(Code::Impossible, "this is no header name", "write it as in `X-Token-Force-Update`");
    };
    match ForceHeader::new(name.clone(), Vec::new()) {
        Ok(_) => Some(name),
        Err(why) => value.refuse(Code::Impossible, why, "choose a name of your own, as in `X-Token-Force-Update`"),
    }
}

pub fn settings(written: ForceUpdate) -> Option<ForceHeader> {
    let trusted = written.trusted_from.map_or_else(Vec::new, |at| at.value.into_iter().map(|at| at.value).collect());
    ForceHeader::new(written.header?.value, trusted).ok()
}

pub fn route_settings(written: Option<At<OnRoute>>) -> ForceRoute {
    let (base, written) = (ForceRoute::default(), written.map(|at| at.value).unwrap_or_default());
    ForceRoute {
        allow_header: written.allow_header.map_or(base.allow_header, |at| at.value),
        on_upstream_401: written.on_upstream_401.map_or(base.on_upstream_401, |at| at.value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, refused, refused_route, with_route};
    use super::*;

    #[test]
    fn off_unless_written_and_only_from_where_it_says() {
        assert_eq!((config("").force, config("").cache.force_interval), (None, Duration::from_secs(5)));
        let found = config("force_update: { header: X-Token-Force-Update, trusted_from: [10.0.0.0/8, \"::1\"], min_interval: 1s }\n");
        let nets = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        assert_eq!(found.force, Some(ForceHeader::new(HeaderName::from_static("x-token-force-update"), nets).unwrap()));
        assert_eq!(found.cache.force_interval, Duration::from_secs(1));
        assert_eq!(config("force_update: { min_interval: 1s }\n").force, None);
        assert_eq!(refused("force_update: { header: X-Force }\n"), [Code::Missing]);
        for bad in ["Authorization", "X-Forwarded-For", "two words"] {
            assert_eq!(refused(&format!("force_update: {{ header: {bad}, trusted_from: [10.0.0.0/8] }}\n")), [Code::Impossible], "{bad}");
        }
        assert_eq!(refused("force_update: { header: X-Force, trusted_from: [10.0.0.0/33, ten] }\n"), [Code::Address, Code::Address]);
    }

    #[test]
    fn a_route_says_what_counts() {
        assert_eq!(with_route("").routes[0].force, ForceRoute::default());
        let found = with_route("force_update: { allow_header: false, on_upstream_401: any }").routes[0].force;
        assert_eq!(found, ForceRoute { allow_header: false, on_upstream_401: OnUpstream401::Any });
        assert_eq!(refused_route("force_update: { on_upstream_401: always }"), [Code::Choice]);
        assert_eq!(refused_route("force_update: { allow_header: true }"), [Code::Missing], "there is no header to allow");
    }
}
