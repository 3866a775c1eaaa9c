//! `issuers`: the IAM realms, and who we are there. It checks what can be known without asking them.

use super::complaint::{Code, Complaint};
use super::duration::positive;
use super::params::params;
use super::place::At;
use super::reading::Value;
use super::secret::authorities;
use super::section::{Section, named};
use super::verification::{self, Verification};
use super::{Issuer, client_auth, protection, timeouts, url};
use crate::exchange::{self, Profile};
use crate::issuer::{self, ClientAuth, Protection};
use crate::verify::By;
use ::url::Url;
use std::path::PathBuf;
use std::time::Duration;

const PROFILES: &[(&str, Profile)] = &[("keycloak", Profile::Keycloak), ("rfc8693", Profile::Rfc8693), ("entra_obo", Profile::EntraObo)];
const CONNECT: Duration = Duration::from_secs(1);
const TOTAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Written {
    pub name: At<String>,
    pub url: Option<At<(String, Url)>>,
    pub endpoints: Endpoints,
    pub profile: Option<At<Profile>>,
    pub client_id: Option<At<String>>,
    pub client_auth: Option<ClientAuth>,
    pub ca_file: Option<At<PathBuf>>,
    pub allow_http: Option<At<bool>>,
    pub verify: Verification,
    pub connect: Option<At<Duration>>,
    pub total: Option<At<Duration>>,
    pub protection: Protection,
    pub extra_params: Option<At<Vec<(String, String)>>>,
}

/// What may be given instead of what discovery would say.
#[derive(Debug, Default)]
pub struct Endpoints {
    pub discovery_url: Option<At<Url>>,
    pub token_endpoint: Option<At<Url>>,
    pub jwks_uri: Option<At<Url>>,
    pub introspection_endpoint: Option<At<Url>>,
}

impl Written {
    fn unread(name: At<String>) -> Self {
        Self {
            name,
            url: None,
            endpoints: Endpoints::default(),
            profile: None,
            client_id: None,
            client_auth: None,
            ca_file: None,
            allow_http: None,
            verify: Verification::default(),
            connect: None,
            total: None,
            protection: Protection::default(),
            extra_params: None,
        }
    }
}

/// `None`: the section is missing.
pub fn read(root: &mut Section) -> Option<Vec<Written>> {
    let value = root.value("issuers")?;
    named(&value, "issuer", |value, name| {
        // One that cannot be read is still one that routes may name.
        Some(value.section(&[]).map_or_else(|| Written::unread(name.clone()), |section| one(section, name.clone())))
    })
    .or(Some(Vec::new()))
}

fn one(mut section: Section, name: At<String>) -> Written {
    let s = &mut section;
    let url = s.require("url", "write the `iss` of its tokens, as in `https://iam.example.com/realms/main`", url::issuer);
    let endpoints = Endpoints {
        discovery_url: s.take("discovery_url", url::http),
        token_endpoint: s.take("token_endpoint", url::http),
        jwks_uri: s.take("jwks_uri", url::http),
        introspection_endpoint: s.take("introspection_endpoint", url::http),
    };
    let profile = s.take("profile", |v| v.choice(PROFILES, &[]));
    let client_id = s.require("client_id", "write the name under which the issuer knows this gateway", client_id);
    let client_auth = client_auth::read(s);
    let ca_file = s.take("ca_file", authorities);
    let allow_http = s.take("allow_http", |v| v.boolean());
    let verify = verification::read(s);
    let (connect, total) = read_timeouts(s);
    let protection = protection::read(s);
    let extra_params = s.take("extra_params", params);
    let written = Written {
        name,
        url,
        endpoints,
        profile,
        client_id,
        client_auth,
        ca_file,
        allow_http,
        verify,
        connect,
        total,
        protection,
        extra_params,
    };
    check_http(s, &written);
    check_discovery(s, &written.endpoints);
    check_introspection(s, &written);
    section.finish();
    written
}

fn client_id(value: &Value) -> Option<String> {
    let text = value.text()?;
    // RFC 6749 appendix A.1: VSCHAR.
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Some(text);
    }
    value.refuse(Code::Impossible, "a client id has printable ASCII characters only", "write it as the issuer shows it (RFC 6749 §A.1)")
}

fn read_timeouts(parent: &mut Section) -> (Option<At<Duration>>, Option<At<Duration>>) {
    let Some(at) = parent.take("timeouts", |value| value.section(&[])) else { return (None, None) };
    let mut section = at.value;
    let (connect, total) = (section.take("connect", positive), section.take("total", positive));
    let ends = total.map_or(TOTAL, |at| at.value);
    if let Some(part) = connect.filter(|at| at.value > ends) {
        timeouts::complain_of_total(&section, "connect", part, ends);
    }
    section.finish();
    (connect, total)
}

fn check_http(section: &Section, written: &Written) {
    let Endpoints { discovery_url, token_endpoint, jwks_uri, introspection_endpoint } = &written.endpoints;
    let issuer = written.url.as_ref().map(|at| ("url", &at.value.1, at.place));
    let others = [("discovery_url", discovery_url), ("token_endpoint", token_endpoint), ("jwks_uri", jwks_uri)];
    let others = others.into_iter().chain([("introspection_endpoint", introspection_endpoint)]);
    let others = others.into_iter().filter_map(|(key, at)| at.as_ref().map(|at| (key, &at.value, at.place)));
    // With every endpoint given, the issuer's own URL is only compared with `iss` and never asked.
    let asked = discovery_url.is_none() && (token_endpoint.is_none() || jwks_uri.is_none());
    let allowed = written.allow_http.is_some_and(|at| at.value);
    let certificate = matches!(written.client_auth, Some(ClientAuth::TlsClientAuth(_)));
    if let Some(at) = token_endpoint.as_ref().filter(|at| certificate && at.value.scheme() == "http") {
        let message = format!("{}: `token_endpoint`: a client certificate cannot be shown over http", section.name);
        section.reading.complain(Complaint::error(Code::PlainHttp, at.place, message).cure("write its https address"));
    }
    for (key, url, place) in issuer.filter(|_| asked).into_iter().chain(others) {
        if url.scheme() == "http" && !allowed && !url::is_loopback(url) {
            let message = format!("{}: `{key}`: http would show our secret and the tokens to whoever listens", section.name);
            let it = Complaint::error(Code::PlainHttp, place, message);
            section.reading.complain(it.cure("use https, or write `allow_http: true` where the network between is trusted"));
        }
    }
}

fn check_discovery(section: &Section, endpoints: &Endpoints) {
    let Endpoints { discovery_url, token_endpoint, jwks_uri, introspection_endpoint: _ } = endpoints;
    if let (Some(unused), Some(_), Some(_)) = (discovery_url, token_endpoint, jwks_uri) {
        let message = format!("{}: `discovery_url` is never asked: `token_endpoint` and `jwks_uri` are both given", section.name);
        section.reading.complain(Complaint::warning(Code::Discovery, unused.key, message).cure("take one of the three out"));
    }
}

/// Without discovery nobody else says where tokens are asked about.
fn check_introspection(section: &Section, written: &Written) {
    let Endpoints { token_endpoint, jwks_uri, introspection_endpoint, discovery_url: _ } = &written.endpoints;
    let Some(by) = written.verify.by.filter(|at| at.value == By::Introspection) else { return };
    if introspection_endpoint.is_none() && token_endpoint.is_some() && jwks_uri.is_some() {
        let message = format!("{}: it is asked about tokens, and without discovery nothing says where", section.name);
        let it = Complaint::error(Code::Introspection, by.place, message);
        section.reading.complain(it.cure("write `introspection_endpoint: https://…`"));
    }
}

pub fn settings(written: Written) -> Option<Issuer> {
    let Written {
        name,
        url,
        endpoints,
        profile,
        client_id,
        client_auth,
        ca_file,
        allow_http,
        verify,
        connect,
        total,
        protection,
        extra_params,
    } = written;
    let Endpoints { discovery_url, token_endpoint, jwks_uri, introspection_endpoint } = endpoints;
    let client_id = client_id?.value;
    let (verify, jwks_refresh) = verification::settings(verify, &client_id);
    let issuer = issuer::Settings {
        name: name.value.into(),
        url: url?.value.0.into(),
        discovery_url: discovery_url.map(|at| at.value),
        token_endpoint: token_endpoint.map(|at| at.value),
        jwks_uri: jwks_uri.map(|at| at.value),
        introspection_endpoint: introspection_endpoint.map(|at| at.value),
        client_auth: client_auth?,
        client_id,
        ca_file: ca_file.map(|at| at.value),
        allow_http: allow_http.is_some_and(|at| at.value),
        jwks_refresh,
        timeouts: issuer::Timeouts { connect: connect.map_or(CONNECT, |at| at.value), total: total.map_or(TOTAL, |at| at.value) },
        protection,
    };
    let exchange = exchange::Settings {
        profile: profile.map_or(Profile::Keycloak, |at| at.value),
        extra_params: extra_params.map_or_else(Vec::new, |at| at.value),
    };
    Some(Issuer { issuer, verify, exchange })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{refused_issuer, with_issuer};
    use super::*;
    use crate::issuer::{Credential, Encoding};

    #[test]
    fn the_defaults_of_the_contract() {
        let Issuer { issuer, verify: _, exchange } = with_issuer("").issuers.remove(0);
        assert_eq!((&*issuer.name, &*issuer.url, &*issuer.client_id), ("main", "https://iam.example.com/realms/main", "gateway"));
        assert_eq!((issuer.discovery_url, issuer.token_endpoint, issuer.jwks_uri, issuer.ca_file), (None, None, None, None));
        let secret = Credential::File("/run/secrets/iam".into());
        assert_eq!(issuer.client_auth, ClientAuth::ClientSecretBasic { secret, encoding: Encoding::Form });
        assert_eq!(issuer.protection, Protection::default());
        assert_eq!(issuer.timeouts, issuer::Timeouts { connect: Duration::from_secs(1), total: Duration::from_secs(5) });
        assert_eq!((issuer.allow_http, issuer.jwks_refresh), (false, Duration::from_secs(600)));
        assert_eq!(exchange.profile, Profile::Keycloak);
    }

    #[test]
    fn everything_that_can_be_said() {
        let said = "profile: rfc8693\ntoken_endpoint_auth_method: client_secret_post\nca_file: /tls/ca.crt\nallow_http: true\n\
                    token_endpoint: http://iam:8080/t\njwks_uri: http://iam:8080/j\ntimeouts: { connect: 2s, total: 3s }";
        let Issuer { issuer, verify: _, exchange } = with_issuer(said).issuers.remove(0);
        assert_eq!(issuer.client_auth, ClientAuth::ClientSecretPost { secret: Credential::File("/run/secrets/iam".into()) });
        assert_eq!(issuer.token_endpoint.unwrap().as_str(), "http://iam:8080/t");
        assert_eq!(issuer.jwks_uri.unwrap().as_str(), "http://iam:8080/j");
        assert_eq!((issuer.ca_file, issuer.allow_http), (Some("/tls/ca.crt".into()), true));
        assert_eq!(issuer.timeouts, issuer::Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(3) });
        assert_eq!(exchange.profile, Profile::Rfc8693);
    }

    #[test]
    fn connect_may_not_outlast_total() {
        assert_eq!(refused_issuer("timeouts: { connect: 6s }"), [Code::Timeouts]);
        assert_eq!(refused_issuer("timeouts: { connect: 6s, total: 6s }"), []);
        assert_eq!(refused_issuer("timeouts: { total: 500ms }"), [], "shorter than a default is nobody's mistake");
    }
}
