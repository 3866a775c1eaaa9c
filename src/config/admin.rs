//! `admin`: where operators look and act; off unless it is written. It binds nothing, and warns where it could be reached from
//! outside this machine.

use super::address::address;
use super::complaint::{Code, Complaint, quoted};
use super::place::{At, Place};
use super::reading::Value;
use super::secret::{content, secret};
use super::section::Section;
use super::verification::plain;
use crate::admin;
use crate::issuer::{Credential, secret_in};
use crate::route::HostPattern;
use crate::token::is_b64token;
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Debug)]
pub struct Admin {
    pub place: Place,
    pub address: Option<At<SocketAddr>>,
    token: Option<At<Credential>>,
    hosts: Option<At<Vec<At<String>>>>,
}

pub fn read(root: &mut Section) -> Option<Admin> {
    let at = root.take("admin", |value| value.section(&[]))?;
    let mut section = at.value;
    let address = section.take("address", address);
    if let Some(open) = address.filter(|a| !a.value.ip().is_loopback()) {
        let message = "the status page can be reached from outside this machine, and nobody is asked who they are";
        section
            .reading
            .complain(Complaint::warning(Code::OpenAdmin, open.place, message).cure("listen on 127.0.0.1 and use a port-forward"));
    }
    let token = section.take("token", token);
    let hosts = section.take("hosts", |v| v.list(host));
    section.finish();
    Some(Admin { place: at.key, address, token, hosts })
}

/// A secret that can be sent as a bearer token. What is in a file is looked at now, so that nobody finds out when it is needed.
fn token(value: &Value) -> Option<Credential> {
    let credential = secret(value)?;
    let fits = match &credential {
        Credential::Given(secret) => is_b64token(secret.expose().as_bytes()),
        Credential::File(file) => secret_in(&content(value, file, Code::SecretFile)?).is_ok_and(|s| is_b64token(s.expose().as_bytes())),
    };
    if fits {
        return Some(credential);
    }
    let cure = "take letters, digits and `-._~+/` alone, as `openssl rand -hex 32` makes them";
    value.refuse(Code::Impossible, "the admin token cannot be sent as a bearer token", cure)
}

fn host(value: &Value) -> Option<String> {
    let text = value.text()?;
    match HostPattern::parse(&text) {
        Ok(HostPattern::Exact(name)) => Some(name),
        Ok(HostPattern::Below(_)) => {
            value.refuse(Code::Impossible, format_args!("{} is not one host", quoted(&text)), "write each name that is to be answered to")
        }
        Err(why) => value.refuse(Code::Impossible, why, "write it as in `cambist-admin.example.internal`, without a port"),
    }
}

pub fn settings(admin: Option<Admin>) -> Option<admin::Settings> {
    let Admin { place: _, address, token, hosts } = admin?;
    Some(admin::Settings {
        address: address.map_or((Ipv4Addr::LOCALHOST, 9901).into(), |at| at.value),
        hosts: hosts.map_or_else(|| vec!["localhost".to_owned()], |at| plain(at.value)),
        token: token.map(|at| at.value),
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, refused};
    use super::*;
    use crate::token::Secret;

    #[test]
    fn off_unless_written() {
        let found = |top: &str| config(top).admin.map(|a| a.address.to_string());
        assert_eq!(found(""), None);
        assert_eq!(found("admin: {}\n").as_deref(), Some("127.0.0.1:9901"));
        assert_eq!(found("admin: { address: \"[::1]:1\" }\n").as_deref(), Some("[::1]:1"));
        let silent = config("admin: {}\n").admin.unwrap();
        assert_eq!((silent.hosts, silent.token), (vec!["localhost".to_owned()], None));
    }

    #[test]
    fn a_token_and_names() {
        let found = |fields: &str| config(&format!("admin: {{ {fields} }}\n")).admin.unwrap();
        assert_eq!(found("hosts: [Admin.Example, b]").hosts, ["admin.example", "b"]);
        assert_eq!(found("token: { file: /x }").token, Some(Credential::File("/x".into())));
        assert_eq!(found("token: { env: X }").token, Some(Credential::Given(Secret::new("variable-secret"))));
        let of = |fields: &str| refused(&format!("admin: {{ {fields} }}\n"));
        assert_eq!(of("hosts: []"), [Code::Empty]);
        for bad in ["\"*.a\"", "a:1", "\"\"", "a/b", "http://a"] {
            assert!(matches!(&of(&format!("hosts: [{bad}]"))[..], [Code::Impossible | Code::Empty]), "{bad}");
        }
        assert_eq!(of("token: \"two words\"").last(), Some(&Code::Impossible));
        assert_eq!(of("token: {}"), [Code::Missing]);
    }
}
