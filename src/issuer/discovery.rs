//! Where an issuer's endpoints are: given by the operator, or read from its discovery document (OpenID Connect Discovery 1.0).
//! The document must be the configured issuer's own, and it cannot send us anywhere that the operator would not be allowed to.

use super::{ClientAuth, Error, Settings, json};
use std::net::IpAddr;
use url::{Host, Url};

/// Where the token endpoint and the keys are, and where to ask about tokens, if anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub token: Url,
    pub jwks: Url,
    pub introspection: Option<Url>,
}

impl Endpoints {
    /// Where the operator gave both, nothing needs to be discovered.
    pub(super) fn given(settings: &Settings) -> Option<Self> {
        Some(Self {
            token: settings.token_endpoint.clone()?,
            jwks: settings.jwks_uri.clone()?,
            introspection: settings.introspection_endpoint.clone(),
        })
    }

    /// Reads a discovery document; what the operator gave wins over it.
    ///
    /// # Errors
    /// Cause and cure.
    pub(super) fn read(body: &[u8], settings: &Settings) -> Result<Self, (String, String)> {
        let name = &settings.name;
        let garbage = |e: String| (format!("the discovery document is {e}"), format!("check issuers.{name}.url and discovery_url"));
        let document = json::object(body).map_err(garbage)?;
        let text = |key: &str| json::string(&document, key).map_err(|e| garbage(format!("wrong: {e}")));
        match text("issuer")? {
            Some(found) if *found == *settings.url => {}
            Some(found) => {
                let cause = format!("the discovery document is of the issuer {:?}, not of {:?}", cut(found), settings.url);
                let cure = format!(
                    "set issuers.{name}.url to what stands in the tokens' iss, and discovery_url to where the document is read; \
                     or give the IAM the host name that the gateway has for it (Keycloak: hostname)"
                );
                return Err((cause, cure));
            }
            None => return Err(garbage("one without an issuer".to_owned())),
        }
        let endpoint = |key: &'static str, given: &Option<Url>, found: Option<&str>| match given {
            Some(url) => Ok::<_, (String, String)>(url.clone()),
            None => {
                let found = found.ok_or_else(|| garbage(format!("one without {key}")))?;
                let url = Url::parse(found).map_err(|e| garbage(format!("one whose {key} {:?} is no URL: {e}", cut(found))))?;
                permitted(&url, settings.allow_http).map_err(|why| {
                    let cause = format!("the discovery document names the {key} {:?}, which is refused: {why}", cut(found));
                    let cure =
                        format!("have the IAM name https endpoints, give issuers.{name}.{key} yourself, or set issuers.{name}.allow_http");
                    (cause, cure)
                })?;
                Ok(url)
            }
        };
        // Where client certificates are asked for may be another address than where they are not (RFC 8705 §5).
        let by_certificate = matches!(settings.client_auth, ClientAuth::TlsClientAuth(_));
        let aliases = document.get("mtls_endpoint_aliases").and_then(|a| a.as_object()).filter(|_| by_certificate);
        let alias = |key: &str| match aliases {
            Some(aliases) => json::string(aliases, key).map_err(|e| garbage(format!("wrong: {e}"))),
            None => Ok(None),
        };
        let token = endpoint("token_endpoint", &settings.token_endpoint, alias("token_endpoint")?.or(text("token_endpoint")?))?;
        if by_certificate && token.scheme() != "https" {
            let cause = format!("the token endpoint {} is not https, and a client certificate cannot be shown there", shown(&token));
            return Err((cause, format!("have the IAM name an https token endpoint, or give issuers.{name}.token_endpoint")));
        }
        let given = &settings.introspection_endpoint;
        // Not everybody has one; what is there must be as good as the others.
        let introspection = match (given, alias("introspection_endpoint")?.or(text("introspection_endpoint")?)) {
            (None, None) => None,
            (given, found) => Some(endpoint("introspection_endpoint", given, found)?),
        };
        let jwks = endpoint("jwks_uri", &settings.jwks_uri, text("jwks_uri")?)?;
        Ok(Self { token, jwks, introspection })
    }
}

/// Where discovery is read from, if it has to be; all URLs of the settings are looked at on the way.
pub(super) fn url(settings: &Settings) -> Result<Option<Url>, Error> {
    let given = [
        ("discovery_url", &settings.discovery_url),
        ("token_endpoint", &settings.token_endpoint),
        ("jwks_uri", &settings.jwks_uri),
        ("introspection_endpoint", &settings.introspection_endpoint),
    ];
    let refused = |what, url: &Url| permitted(url, settings.allow_http).map_err(|why| Error::Refused { what, url: shown(url), why });
    for (what, url) in given {
        if let Some(url) = url {
            refused(what, url)?;
        }
    }
    if Endpoints::given(settings).is_some() {
        return Ok(None);
    }
    if let Some(url) = &settings.discovery_url {
        return Ok(Some(url.clone()));
    }
    let text = format!("{}/.well-known/openid-configuration", settings.url.trim_end_matches('/'));
    let no_url = |e: url::ParseError| Error::NoUrl { what: "url", url: settings.url.to_string(), why: e.to_string() };
    let url = Url::parse(&text).map_err(no_url)?;
    refused("url", &url)?;
    Ok(Some(url))
}

/// Where RFC 8414 §3.1 puts the document: the well-known part comes before the issuer's path. `None`: the operator said where it is.
pub(super) fn as_oauth_has_it(settings: &Settings) -> Option<Url> {
    let mut url = Url::parse(&settings.url).ok().filter(|_| settings.discovery_url.is_none())?;
    let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url)
}

/// https; http to the same machine, or where the operator allows it.
fn permitted(url: &Url, allow_http: bool) -> Result<(), String> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http || loopback(url) => Ok(()),
        "http" => Err("http would show secrets and tokens to the network; use https, or set allow_http: true".to_owned()),
        other => Err(format!("{other} is neither https nor http")),
    }
}

fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|v4| IpAddr::V4(v4).is_loopback()),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// A URL without a user or password that might stand in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

fn cut(s: &str) -> String {
    s.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::settings;
    use super::*;

    fn read(document: &str, settings: &Settings) -> Result<Endpoints, (String, String)> {
        Endpoints::read(document.as_bytes(), settings)
    }

    #[test]
    fn the_document_must_be_the_issuers_own_and_what_is_given_wins() {
        let mut s = settings("https://iam.example/realms/a");
        let doc =
            r#"{"issuer":"https://iam.example/realms/a","token_endpoint":"https://iam.example/t","jwks_uri":"https://iam.example/k"}"#;
        assert_eq!(read(doc, &s).unwrap().token.as_str(), "https://iam.example/t");
        s.token_endpoint = Url::parse("http://127.0.0.1:1/t").ok();
        assert_eq!(read(doc, &s).unwrap().token.as_str(), "http://127.0.0.1:1/t");
        let (cause, cure) = read(&doc.replace("realms/a", "realms/b"), &s).unwrap_err();
        assert!(cause.contains("realms/b") && cure.contains("issuers.main.url"), "{cause} {cure}");
        assert!(read(&doc.replace("realms/a", "realms/a/"), &s).is_err(), "a slash more is another issuer");
        for bad in ["", "[]", "{}", r#"{"issuer":1}"#, r#"{"issuer":"https://iam.example/realms/a"}"#] {
            assert!(read(bad, &s).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_with_a_certificate_goes_where_certificates_are_asked_for() {
        let mut s = settings("https://iam.example/realms/a");
        let doc = r#"{"issuer":"https://iam.example/realms/a","token_endpoint":"https://iam.example/t","jwks_uri":"https://iam.example/k",
            "introspection_endpoint":"https://iam.example/i",
            "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.iam.example/t","introspection_endpoint":"https://mtls.iam.example/i"}}"#;
        let places = |doc: &str, s: &Settings| read(doc, s).map(|at| [at.token, at.introspection.unwrap()].map(String::from)).unwrap();
        assert_eq!(places(doc, &s), ["https://iam.example/t", "https://iam.example/i"]);
        s.client_auth = ClientAuth::TlsClientAuth(crate::tls::Identity { cert_file: "c".into(), key_file: "k".into() });
        assert_eq!(places(doc, &s), ["https://mtls.iam.example/t", "https://mtls.iam.example/i"]);
        assert_eq!(places(&doc.replace("mtls_endpoint", "other"), &s), ["https://iam.example/t", "https://iam.example/i"]);
        s.allow_http = true;
        let (cause, _) = read(&doc.replace("https://mtls", "http://mtls"), &s).unwrap_err();
        assert!(cause.contains("cannot be shown there"), "{cause}");
        s.introspection_endpoint = Url::parse("https://given.example/i").ok();
        s.token_endpoint = Url::parse("https://given.example/t").ok();
        assert_eq!(places(doc, &s), ["https://given.example/t", "https://given.example/i"]);
    }

    #[test]
    fn http_is_for_the_same_machine_unless_allowed() {
        let mut s = settings("https://iam.example/realms/a");
        let doc = r#"{"issuer":"https://iam.example/realms/a","token_endpoint":"http://iam.example/t","jwks_uri":"https://iam.example/k"}"#;
        let (cause, cure) = read(doc, &s).unwrap_err();
        assert!(cause.contains("http would show secrets") && cure.contains("allow_http"), "{cause} {cure}");
        s.allow_http = true;
        assert!(read(doc, &s).is_ok());
        assert!(read(&doc.replace("http://iam.example/t", "ftp://iam.example/t"), &s).is_err());
        for (host, ok) in [("127.9.9.9", true), ("[::1]", true), ("localhost", true), ("10.0.0.1", false), ("localhost.example", false)] {
            assert_eq!(loopback(&Url::parse(&format!("http://{host}/")).unwrap()), ok, "{host}");
        }
    }

    #[test]
    fn what_oauth_puts_in_comes_before_the_path() {
        let at = |url: &str| as_oauth_has_it(&settings(url)).unwrap().to_string();
        assert_eq!(at("https://iam.example/realms/a"), "https://iam.example/.well-known/oauth-authorization-server/realms/a");
        assert_eq!(at("https://iam.example/"), "https://iam.example/.well-known/oauth-authorization-server");
    }

    #[test]
    fn discovery_is_appended_as_openid_connect_has_it() {
        let at = |url: &str| super::url(&settings(url)).unwrap().unwrap().to_string();
        assert_eq!(at("https://iam.example/realms/a"), "https://iam.example/realms/a/.well-known/openid-configuration");
        assert_eq!(at("https://iam.example/"), "https://iam.example/.well-known/openid-configuration");
        assert!(matches!(super::url(&settings("http://iam.example")), Err(Error::Refused { .. })));
        assert!(matches!(super::url(&settings("iam.example")), Err(Error::NoUrl { .. })));
        let mut s = settings("http://127.0.0.1:1/a");
        s.jwks_uri = Url::parse("http://user:pass@10.0.0.1/k").ok();
        let said = super::url(&s).unwrap_err().to_string();
        assert!(said.contains("jwks_uri http://10.0.0.1/k") && !said.contains("pass"), "{said}");
    }
}
