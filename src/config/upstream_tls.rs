//! An upstream's `tls`: whom we believe, who we say we are, whom we look for. Its files are looked into now, so that a broken one is
//! told with its place and not found out at the first connection.

use super::client_auth::certificate;
use super::complaint::{Code, Complaint};
use super::place::At;
use super::reading::Value;
use super::secret::authorities;
use super::section::Section;
use crate::upstream::{Endpoints, TlsSettings};

pub fn read(value: &Value) -> Option<TlsSettings> {
    let mut section = value.section(&[])?;
    let ca_file = section.take("ca_file", authorities);
    let identity = section.take("client_certificate", certificate);
    let server_name = section.take("server_name", server_name);
    section.finish();
    Some(TlsSettings {
        ca_file: ca_file.map(|at| at.value),
        identity: identity.map(|at| at.value),
        server_name: server_name.map(|at| at.value),
    })
}

fn server_name(value: &Value) -> Option<String> {
    let text = value.text()?;
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if text.chars().all(good) && !text.is_empty() {
        Some(text)
    } else {
        value.refuse(Code::Impossible, "this is no name that a certificate could hold", "write a host name, as in `stock.internal`")
    }
}

/// Over http nobody shows or asks for a certificate.
pub fn check(section: &Section, tls: Option<&At<TlsSettings>>, endpoints: Option<&Endpoints>) {
    if let (Some(tls), Some(endpoints)) = (tls, endpoints)
        && endpoints.written().iter().all(|endpoint| !endpoint.tls)
    {
        let message = format!("{}: `tls` has no effect: it is reached over http", section.name);
        section.reading.complain(Complaint::error(Code::PlainHttp, tls.key, message).cure("write an https address, or take it out"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{codes, whole};
    use super::*;
    use crate::upstream::Protocol;

    const ROUTE: &str = include_str!("../../config/minimal.yaml");

    fn text(upstream: &str) -> String {
        format!("{}upstreams:\n  orders: {{ {upstream} }}\n", ROUTE.replace("http://orders:8080", "orders"))
    }

    #[test]
    fn protocol_and_tls_with_their_defaults() {
        let plain = &whole(&text("endpoints: [https://o]")).upstreams[0];
        assert_eq!((plain.protocol, &plain.tls), (Protocol::Auto, &TlsSettings::default()));
        let full = &whole(&text(
            "endpoints: [https://o], protocol: http2, tls: { ca_file: /tls/ca.crt, server_name: stock.internal, \
             client_certificate: { cert_file: /tls/client.crt, key_file: /tls/client.key } }",
        ))
        .upstreams[0];
        assert_eq!((full.protocol, full.tls.server_name.as_deref()), (Protocol::Http2, Some("stock.internal")));
        assert!(full.tls.identity.is_some() && full.tls.ca_file.is_some());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (upstream, code) in [
            ("endpoints: [http://o], tls: { server_name: x }", Code::PlainHttp),
            ("endpoints: [https://o], tls: { server_name: \"a b\" }", Code::Impossible),
            ("endpoints: [https://o], tls: { ca_file: /nowhere }", Code::Authorities),
            ("endpoints: [https://o], protocol: spdy", Code::Choice),
            ("endpoints: [https://o], tls: { insecure: true }", Code::UnknownField),
        ] {
            assert_eq!(codes(&text(upstream)), [code], "{upstream}");
        }
    }
}
