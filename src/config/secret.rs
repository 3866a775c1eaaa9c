//! Secrets: `{ file: … }`, `{ env: … }`, or inline with a warning. No value of one is ever put into a message, whatever is wrong.

use super::complaint::{Code, Complaint, quoted};
use super::reading::Value;
use super::tree::Kind;
use crate::token::Secret;
use std::io;
use std::path::PathBuf;
use zeroize::Zeroizing;

const HOW: &str = "write `{ file: /path }` or `{ env: NAME }`";

pub fn secret(value: &Value) -> Option<Secret> {
    match &value.node.kind {
        Kind::Scalar { text, .. } if text.trim().is_empty() => value.refuse(Code::Empty, "the secret is empty", HOW),
        Kind::Scalar { text, .. } => {
            value.warn(Code::SecretInline, "the secret is written in the configuration itself", HOW);
            Some(Secret::new(without_newline(text)))
        }
        Kind::Map(_) => referred(value),
        Kind::Nothing | Kind::List(_) => value.wrong_type("a secret", HOW),
    }
}

fn referred(value: &Value) -> Option<Secret> {
    let mut section = value.section(&[])?;
    let (both, neither) = (section.has("file") && section.has("env"), !section.has("file") && !section.has("env"));
    let file = section.take("file", from_file);
    let env = section.take("env", from_env);
    if neither {
        let it = Complaint::error(Code::Missing, section.place, format!("{}: neither `file` nor `env` is given", section.name));
        section.reading.complain(it.cure(HOW));
    }
    section.finish();
    if both {
        return value.refuse(Code::Repeated, "both `file` and `env` are given", "take one of them out");
    }
    file.or(env).map(|at| at.value)
}

fn from_file(value: &Value) -> Option<Secret> {
    let path = path(value)?;
    let shown = path.to_str().filter(|path| is_plainly_a_path(path)).map_or_else(
        // What is no path may well be the secret itself, put in the wrong place.
        || "the file named there (its name is not shown: it may be a secret itself)".to_owned(),
        quoted,
    );
    let bytes = match value.reading.outside.file(&path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => {
            let cure = cure(&e, "check the path, and that the secret is mounted there");
            return value.refuse(Code::SecretFile, format_args!("{shown} cannot be read: {}", reason(&e)), cure);
        }
    };
    let one_line = "a secret is one line of text";
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return value.refuse(Code::SecretFile, format_args!("{shown} holds bytes that are no UTF-8"), one_line);
    };
    let text = without_newline(text);
    if text.trim().is_empty() {
        return value.refuse(Code::SecretFile, format_args!("{shown} is empty"), "write the secret into it");
    }
    if text.contains(['\n', '\r']) {
        return value.refuse(Code::SecretFile, format_args!("{shown} holds more than one line"), one_line);
    }
    Some(Secret::new(text))
}

/// Editors, `echo` and `|` end a text with a newline; nobody means it.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t))
}

fn from_env(value: &Value) -> Option<Secret> {
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
        Some(text) if !text.trim().is_empty() => Some(Secret::new(text)),
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
    match value.reading.outside.file(&path) {
        Err(e) => value.refuse(
            Code::Authorities,
            format_args!("{shown} cannot be read: {}", reason(&e)),
            cure(&e, "check the path, and that the authorities' file is there"),
        ),
        Ok(bytes) => match holds_certificates(&bytes) {
            true => Some(path),
            false => value.refuse(
                Code::Authorities,
                format_args!("{shown} holds no PEM certificate, or a broken one"),
                "it must hold certificates that begin with -----BEGIN CERTIFICATE-----",
            ),
        },
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
    use crate::issuer::ClientAuth;

    fn minimal(secret: &str) -> String {
        include_str!("../../config/minimal.yaml").replace("{ file: /run/secrets/iam }", secret)
    }

    #[test]
    fn secrets_come_from_files_variables_and_the_file_itself() {
        for (written, secret) in
            [("{ file: /x }", "file-secret"), ("{ env: X }", "variable-secret"), ("inline", "inline"), ("|\n      inline", "inline")]
        {
            let config = whole(&minimal(written));
            assert!(matches!(&config.issuers[0].issuer.client_auth, ClientAuth::ClientSecretBasic(s) if s.expose() == secret), "{written}");
            assert!(!format!("{config:?}").contains(secret), "{written}");
        }
    }

    #[test]
    fn one_newline_is_taken_off_and_no_more() {
        assert_eq!(["a\n", "a\r\n", "a\n\n", " a "].map(super::without_newline), ["a", "a", "a\n", " a "]);
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
