//! What is in certificates: the names that ours are for, so that one is chosen by the name that a caller asks for, and whom a
//! caller's own certificate names. It judges no certificate: rustls does.

use std::collections::HashMap;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The DNS names of several certificates, in lower case: whose is which.
#[derive(Debug, Default)]
pub struct Names {
    exact: HashMap<String, Vec<usize>>,
    /// Without `*.`
    wild: HashMap<String, Vec<usize>>,
    /// The first, and those that are for the same names.
    default: Vec<usize>,
    certificates: usize,
}

impl Names {
    /// The names of each certificate, in the order of the configuration.
    pub(super) fn new(all: &[Vec<String>]) -> Self {
        let mut names = Self { certificates: all.len(), ..Self::default() };
        for (at, of_one) in all.iter().enumerate() {
            for name in of_one {
                let (map, name) = name.strip_prefix("*.").map_or((&mut names.exact, name.as_str()), |rest| (&mut names.wild, rest));
                map.entry(name.to_owned()).or_default().push(at);
            }
            if all.first() == Some(of_one) {
                names.default.push(at);
            }
        }
        names
    }

    /// The certificates for a name: those that hold it, then those with a wildcard in place of its first label, then the default.
    pub(super) fn find(&self, name: Option<&str>) -> &[usize] {
        let Some(name) = name else { return &self.default };
        let folded;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            folded = name.to_ascii_lowercase();
            &folded
        } else {
            name
        };
        let wild = || name.split_once('.').and_then(|(_, rest)| self.wild.get(rest));
        self.exact.get(name).or_else(wild).unwrap_or(&self.default)
    }

    /// Whether whoever asked for one name was shown what the other would be shown.
    pub fn same(&self, asked: Option<&str>, other: &str) -> bool {
        self.certificates < 2 || self.find(asked).first() == self.find(Some(other)).first()
    }
}

/// Whom a caller's certificate names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// As RFC 4514 writes it.
    pub subject: String,
    pub dns: Vec<String>,
    /// A SPIFFE id is one.
    pub uris: Vec<String>,
}

impl ClientCertificate {
    /// Of a certificate that has been judged to be good. What cannot be read is left empty.
    pub fn read(der: &[u8]) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Self::default() };
        let mut read = Self { subject: certificate.subject().to_string(), ..Self::default() };
        for name in alternatives(&certificate) {
            match name {
                GeneralName::DNSName(name) => read.dns.push((*name).to_owned()),
                GeneralName::URI(uri) => read.uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        read
    }
}

fn alternatives<'a, 'b>(certificate: &'b X509Certificate<'a>) -> impl Iterator<Item = &'b GeneralName<'a>> {
    let found = certificate.subject_alternative_name().ok().flatten();
    found.into_iter().flat_map(|extension| extension.value.general_names.iter())
}

/// The DNS names that a certificate is for, in lower case, and when it is over.
pub(super) fn read(der: &[u8]) -> Result<(Vec<String>, i64), String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| format!("it is no X.509 certificate ({e})"))?;
    let dns = |name: &GeneralName| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let mut names: Vec<String> = alternatives(&certificate).filter_map(dns).collect();
    names.sort();
    names.dedup();
    Ok((names, certificate.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&[&str]]) -> Names {
        Names::new(&all.iter().map(|of_one| of_one.iter().map(|n| (*n).to_owned()).collect()).collect::<Vec<_>>())
    }

    #[test]
    fn the_name_itself_then_a_wildcard_then_the_first() {
        let names = names(&[&["default.test"], &["*.example.com"], &["api.example.com", "example.com"], &["default.test"]]);
        let found = |name: &str| names.find(Some(name)).to_vec();
        assert_eq!(found("api.example.com"), [2]);
        assert_eq!(found("API.example.com"), [2]);
        assert_eq!(found("www.example.com"), [1]);
        assert_eq!(found("example.com"), [2]);
        assert_eq!(found("a.b.example.com"), [0, 3], "a wildcard stands for one label");
        assert_eq!(found("com"), [0, 3]);
        assert_eq!(names.find(None), [0, 3]);
    }

    #[test]
    fn a_host_belongs_to_a_connection_when_it_would_be_shown_the_same() {
        let two = names(&[&["a.test", "b.test"], &["*.c.test"]]);
        assert!(two.same(Some("a.test"), "b.test") && two.same(None, "a.test") && two.same(Some("x.c.test"), "y.c.test"));
        assert!(two.same(Some("a.test"), "unheard.of"), "both are the first's");
        assert!(!two.same(Some("a.test"), "x.c.test") && !two.same(None, "x.c.test") && !two.same(Some("x.c.test"), "a.test"));
        assert!(names(&[&["a.test"]]).same(Some("a.test"), "anything"));
    }

    #[test]
    fn whom_a_certificate_names() {
        let mut params = rcgen::CertificateParams::new(["Client.Test".to_owned()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://test/client".try_into().unwrap()));
        params.distinguished_name.push(rcgen::DnType::CommonName, "client");
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let found = ClientCertificate::read(made.der());
        assert!(found.subject.contains("CN=client"), "{}", found.subject);
        assert_eq!((found.dns, found.uris), (vec!["Client.Test".into()], vec!["spiffe://test/client".to_owned()]));
        assert_eq!(read(made.der()).unwrap().0, ["client.test"]);
        assert!(read(b"no certificate").is_err());
        assert_eq!(ClientCertificate::read(b"no certificate"), ClientCertificate::default());
    }
}
