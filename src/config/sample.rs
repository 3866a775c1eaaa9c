//! Small configurations for this room's unit tests: the minimal one, with lines added in one place. It is not in the program.

use super::{Code, Config, Outside, Report, read_with};
use std::io;
use std::path::Path;
use std::sync::LazyLock;

/// Every file holds `file-secret` unless its name says otherwise, every variable `variable-secret`.
struct Anything;

/// A client certificate and its P-256 key.
static IDENTITY: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
});

impl Outside for Anything {
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "client.crt" => &IDENTITY.0,
            "client.key" => &IDENTITY.1,
            "jwt" => "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6c2hvcDpnYXRld2F5In0.AAAA\n",
            name if name.ends_with(".crt") => "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            _ => "file-secret\n",
        };
        Ok(text.as_bytes().to_vec())
    }

    fn variable(&self, _: &str) -> Option<String> {
        Some("variable-secret".to_owned())
    }
}

const SECRET: &str = "    client_secret: { file: /run/secrets/iam }\n";
const AUDIENCE: &str = "    audience: orders-api\n";

fn text(issuer: &str, route: &str, top: &str) -> String {
    let indented = |lines: &str| lines.lines().map(|l| format!("    {l}\n")).collect::<String>();
    let text = include_str!("../../config/minimal.yaml");
    let text = text.replace(SECRET, &format!("{SECRET}{}", indented(issuer)));
    text.replace(AUDIENCE, &format!("{AUDIENCE}{}", indented(route))) + top
}

fn read(text: &str) -> Result<Config, Report> {
    read_with(text, "sample.yaml", &Anything).map(|loaded| loaded.config)
}

/// The minimal configuration with sections added.
pub fn config(top: &str) -> Config {
    whole(&text("", "", top))
}

pub fn with_route(route: &str) -> Config {
    whole(&text("", route, ""))
}

pub fn with_issuer(issuer: &str) -> Config {
    whole(&text(issuer, "", ""))
}

/// An issuer with these keys in place of `client_secret`.
pub fn without_secret(issuer: &str) -> String {
    text(issuer, "", "").replace(SECRET, "")
}

pub fn whole(text: &str) -> Config {
    read(text).unwrap_or_else(|report| panic!("{report}\n{text}"))
}

/// What is wrong with the minimal configuration when sections are added.
pub fn refused(top: &str) -> Vec<Code> {
    codes(&text("", "", top))
}

pub fn refused_route(route: &str) -> Vec<Code> {
    codes(&text("", route, ""))
}

pub fn refused_issuer(issuer: &str) -> Vec<Code> {
    codes(&text(issuer, "", ""))
}

pub fn codes(text: &str) -> Vec<Code> {
    read(text).err().map(|report| report.complaints.iter().filter(|c| c.is_error()).map(|c| c.code).collect()).unwrap_or_default()
}
