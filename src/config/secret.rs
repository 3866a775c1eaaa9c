//! Secrets: `{ file: … }`, `{ env: … }`, or inline with a warning. No value of one is ever put into a message, whatever is wrong.

use super::complaint::{Code, Complaint, quoted};
use super::place::At;
use super::reading::Value;
use super::section::Section;
use super::tree::Kind;
use crate::issuer::{Credential, secret_in};
use crate::token::Secret;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const HOW: &str = "write `{ file: /path }` or `{ env: NAME }`";

/// A secret as it is now, and the file that it came from.
pub struct Found {
    pub secret: Secret,
    pub file: Option<PathBuf>,
}

impl Found {
    /// Where it is: what came from a file is read from there again while the gateway runs.
    pub fn credential(self) -> Credential {
        self.file.map_or_else(|| Credential::Given(self.secret), Credential::File)
    }
}

pub fn secret(value: &Value) -> Option<Credential> {
    match &value.node.kind {
        Kind::Scalar { text, .. } if text.trim().is_empty() => value.refuse(Code::Empty, "the secret is empty", HOW),
        Kind::Scalar { text, .. } => {
            value.warn(Code::SecretInline, "the secret is written in the configuration itself", HOW);
            Some(Credential::Given(Secret::new(text.strip_suffix('\n').unwrap_or(text))))
        }
        Kind::Map(_) => {
            let mut section = value.section(&[])?;
            let found = referred(&mut section, value, HOW);
            section.finish();
            found.map(|at| at.value.credential())
        }
        Kind::Nothing | Kind::List(_) => value.wrong_type("a secret", HOW),
    }
}

/// What `file` or `env` of a section lead to. `value` is the section's own, to be pointed at; `how` says how it is written.
pub fn referred(section: &mut Section, value: &Value, how: &str) -> Option<At<Found>> {
    let (both, neither) = (section.has("file") && section.has("env"), !section.has("file") && !section.has("env"));
    let file = section.take("file", from_file);
    let env = section.take("env", from_env);
    if neither {
        let it = Complaint::error(Code::Missing, section.place, format!("{}: neither `file` nor `env` is given", section.name));
        section.reading.complain(it.cure(how));
    }
    if both {
        return value.refuse(Code::Repeated, "both `file` and `env` are given", "take one of them out");
    }
    file.or(env)
}

fn from_file(value: &Value) -> Option<Found> {
    let path = path(value)?;
    let shown = name_of(&path, Code::SecretFile);
    let bytes = Zeroizing::new(content(value, &path, Code::SecretFile)?);
    match secret_in(&bytes) {
        Ok(secret) => Some(Found { secret, file: Some(path) }),
        Err(why) => {
            value.refuse(Code::SecretFile, format_args!("{shown} cannot be used: {why}"), "write the secret into it, as one line of text")
        }
    }
}

/// The content of a file that must be there.
pub fn content(value: &Value, path: &Path, code: Code) -> Option<Vec<u8>> {
    match value.reading.outside.file(path) {
        Ok(bytes) => Some(bytes),
        Err(e) => {
            let missing = match code {
                Code::SecretFile => "check the path, and that the secret is mounted there",
                Code::Authorities => "check the path, and that the authorities' file is there",
                _ => "check the path, and that the file is there",
            };
            value.refuse(code, format_args!("{} cannot be read: {}", name_of(path, code), reason(&e)), cure(&e, missing))
        }
    }
}

/// A file as a complaint names it. What is no path may well be the secret itself, put in the wrong place.
fn name_of(path: &Path, code: Code) -> String {
    let text = path.display().to_string();
    if code == Code::SecretFile && !is_plainly_a_path(&text) {
        return "the file named there (its name is not shown: it may be a secret itself)".to_owned();
    }
    quoted(&text)
}

fn from_env(value: &Value) -> Option<Found> {
    let name = value.text()?;
    // Not quoted: what is no name may well be the secret itself, put in the wrong place.
    if !is_variable_name(&name) {
        return value.refuse(
            Code::SecretVariable,
            "this is no name of an environment variable",
            "write its name, as in `{ env: IAM_SECRET }`",
        );
    }
    match value.reading.outside.variable(&name) {
        Some(text) if !text.trim().is_empty() => Some(Found { secret: Secret::new(text), file: None }),
        Some(_) => value.refuse(Code::SecretVariable, format_args!("the environment variable `{name}` is empty"), "set it to the secret"),
        None => value.refuse(
            Code::SecretVariable,
            format_args!("the environment variable `{name}` is not set"),
            "set it where the gateway is started, or use `{ file: … }`",
        ),
    }
}

/// What can be the name of an environment variable; lower case too, as some write them.
pub fn is_variable_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.bytes().all(good) && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// What nobody would take for a secret, where the path of a secret's file is wanted.
pub fn is_plainly_a_path(text: &str) -> bool {
    text.contains(['/', '.'])
}

pub fn path(value: &Value) -> Option<PathBuf> {
    value.text().map(PathBuf::from)
}

/// A file of certificate authorities: it is looked into now, so that a broken one is not found out at the first connection.
pub fn authorities(value: &Value) -> Option<PathBuf> {
    let path = path(value)?;
    let shown = quoted(&path.display().to_string());
    match holds_certificates(&content(value, &path, Code::Authorities)?) {
        true => Some(path),
        false => value.refuse(
            Code::Authorities,
            format_args!("{shown} holds no PEM certificate, or a broken one"),
            "it must hold certificates that begin with -----BEGIN CERTIFICATE-----",
        ),
    }
}

/// By its frame only: what is inside is for `tls` to read.
fn holds_certificates(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    let count = |frame: &str| text.matches(frame).count();
    let begun = count("-----BEGIN CERTIFICATE-----");
    begun > 0 && begun == count("-----END CERTIFICATE-----")
}

/// Why a file cannot be read, in words without the operating system's numbers.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

fn cure(error: &io::Error, missing: &'static str) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => missing,
        io::ErrorKind::PermissionDenied => "let the user that the gateway runs as read it",
        _ => "check the path",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{codes, whole};
    use crate::issuer::{ClientAuth, Credential, secret_in};
    use crate::token::Secret;

    fn minimal(secret: &str) -> String {
        include_str!("../../config/minimal.yaml").replace("{ file: /run/secrets/iam }", secret)
    }

    #[test]
    fn secrets_come_from_files_variables_and_the_file_itself() {
        let given = |secret: &str| Credential::Given(Secret::new(secret));
        for (written, wanted) in [
            ("{ file: /x }", Credential::File("/x".into())),
            ("{ env: X }", given("variable-secret")),
            ("inline", given("inline")),
            ("|\n      inline", given("inline")),
        ] {
            let config = whole(&minimal(written));
            let ClientAuth::ClientSecretBasic { secret, .. } = &config.issuers[0].issuer.client_auth else { panic!("{written}") };
            assert_eq!(*secret, wanted, "{written}");
            assert!(!format!("{config:?}").contains("variable-secret") && !format!("{config:?}").contains("inline"), "{written}");
        }
    }

    #[test]
    fn one_newline_is_taken_off_and_no_more() {
        let read = |text: &str| secret_in(text.as_bytes()).unwrap().expose().to_owned();
        assert_eq!(["a\n", "a\r\n", " a "].map(read), ["a", "a", " a "]);
        assert!(secret_in(b"a\n\n").is_err() && secret_in(b"a\nb").is_err(), "two lines are no secret");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for (written, code) in [
            ("{}", Code::Missing),
            ("[a]", Code::WrongType),
            ("\"\"", Code::Empty),
            ("{ file: /a, env: B }", Code::Repeated),
            ("{ env: 1A }", Code::SecretVariable),
        ] {
            assert_eq!(codes(&minimal(written)), [code], "{written}");
        }
    }
}
