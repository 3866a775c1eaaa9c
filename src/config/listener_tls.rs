//! `tls` of a listener: the certificates that it shows, and whose it wants to see. The files are looked into now, so that a broken
//! one is told with its place. It keeps none of what they hold, and puts no key into a message.

use super::complaint::Code;
use super::reading::Value;
use super::secret::{authorities, content, path};
use super::section::Section;
use crate::tls::server::{Clients, MinVersion, Settings};
use crate::tls::{self, Identity};
use zeroize::Zeroizing;

/// `None`: a complaint says why.
pub fn read(value: &Value) -> Option<Settings> {
    let mut section = value.section(&[])?;
    let how = "write `certificates: [{ cert_file: /path, key_file: /path }]`; the first is the default, the others are found by name";
    let certificates = section.require("certificates", how, |v| v.list(certificate));
    let clients = clients(&mut section);
    let versions = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
    let min_version = section.take("min_version", |v| v.choice(&versions, &[]));
    let whole = section.finish();
    let certificates = certificates?.value.into_iter().map(|at| at.value).collect();
    whole.then_some(Settings { certificates, clients: clients?, min_version: min_version.map_or(MinVersion::default(), |at| at.value) })
}

/// The outer `None`: a complaint says why.
#[allow(clippy::option_option, reason = "none wanted is not none readable")]
fn clients(section: &mut Section) -> Option<Option<Clients>> {
    let wanted = section.has("client_ca_file");
    let ca_file = section.take("client_ca_file", authorities);
    let required = section.value("client_certificate");
    if let Some(value) = required.as_ref().filter(|_| !wanted) {
        return value.refuse(
            Code::ListenerTls,
            "there is nothing to judge a caller's certificate by",
            "add `client_ca_file`, the authorities whose certificates are good here, or take `client_certificate` out",
        );
    }
    let required = match required {
        Some(value) => value.choice(&[("required", true), ("optional", false)], &[])?,
        None => true,
    };
    if wanted { Some(Some(Clients { ca_file: ca_file?.value, required })) } else { Some(None) }
}

fn certificate(value: &Value) -> Option<Identity> {
    let mut section = value.section(&[])?;
    let read = |v: &Value| {
        let path = path(v)?;
        let bytes = Zeroizing::new(content(v, &path, Code::ListenerTls)?);
        Some((path, bytes))
    };
    let cert = section.require("cert_file", "write the path of the PEM certificate, with its chain", read);
    let key = section.require("key_file", "write the path of the certificate's PEM private key", read);
    section.finish();
    let (cert, key) = (cert?, key?);
    let ((cert_file, cert), (key_file, key)) = (cert.value, key.value);
    match tls::check_pair(&cert, &key) {
        Ok(()) => Some(Identity { cert_file, key_file }),
        Err(why) => value.refuse(
            Code::ListenerTls,
            format_args!("the certificate and its key cannot be used: {why}"),
            "give a PEM certificate, its chain behind it, and the PEM private key that belongs to it, unencrypted",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, refused};
    use super::*;

    fn listener(keys: &str) -> String {
        format!("listeners: {{ a: {{ address: 127.0.0.1:0, tls: {{ {keys} }} }} }}\n")
    }

    const PAIR: &str = "certificates: [{ cert_file: /tls/client.crt, key_file: /tls/client.key }]";

    #[test]
    fn what_is_shown_and_what_is_asked_for() {
        let read = |more: &str| config(&listener(&format!("{PAIR}{more}"))).listeners.remove(0).manner.tls.unwrap();
        let certificates = vec![Identity { cert_file: "/tls/client.crt".into(), key_file: "/tls/client.key".into() }];
        assert_eq!(read(""), Settings { certificates, clients: None, min_version: MinVersion::Tls12 });
        let asked = |more: &str| read(&format!(", client_ca_file: /tls/ca.crt{more}")).clients.unwrap().required;
        assert_eq!(["", ", client_certificate: required", ", client_certificate: optional"].map(asked), [true, true, false]);
        assert_eq!(read(", min_version: \"1.3\"").min_version, MinVersion::Tls13);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (keys, code) in [
            (String::new(), Code::Missing),
            ("certificates: []".to_owned(), Code::Empty),
            (format!("{PAIR}, client_certificate: optional"), Code::ListenerTls),
            (format!("{PAIR}, min_version: \"1.1\""), Code::Choice),
            ("certificates: [{ cert_file: /tls/client.crt, key_file: /tls/client.crt }]".to_owned(), Code::ListenerTls),
            ("certificates: [{ cert_file: /tls/client.crt }]".to_owned(), Code::Missing),
        ] {
            assert_eq!(refused(&listener(&keys)), [code], "{keys}");
        }
    }
}
