//! What is wrong with a configuration: a stable code, where, what, and what to do about it. A complaint never holds a secret:
//! whoever makes one leaves secret values out of its words, and the line it shows has them blanked already.

use super::place::Place;
use std::fmt;

/// Makes the enum, its codes and its one-line explanations from one list, so that none of them can be forgotten.
macro_rules! codes {
    ($(#[doc = $about:literal] $name:ident = $code:literal,)*) => {
        /// Every kind of complaint. A code never changes its meaning; `docs/errors.md` has an anchor for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $about] $name,)* }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The code's meaning in one line.
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about.trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// The configuration file cannot be read.
    Unreadable = "C001",
    /// The file is no YAML.
    Syntax = "C002",
    /// The file is empty, or holds more than one document.
    Document = "C003",
    /// An alias refers to itself, or aliases expand to far more than was written.
    Alias = "C004",
    /// YAML that this configuration has no use for: a tag, a key that is no word, a value over several lines.
    Exotic = "C005",
    /// A key is written twice.
    Duplicate = "C010",
    /// A field that must be there is missing.
    Missing = "C011",
    /// A field that is not known, or not known to this version.
    UnknownField = "C012",
    /// A value of the wrong kind: a list where text is wanted, text where a number is wanted.
    WrongType = "C013",
    /// `${…}`: nothing is substituted in this file.
    Substitution = "C014",
    /// A name that is not allowed, or taken by the gateway itself.
    Name = "C015",
    /// A word that is none of those to choose from.
    Choice = "C016",
    /// A duration, size, ratio or number that cannot be read; most often the unit is missing.
    Quantity = "C017",
    /// A value that makes no sense here: zero, too small or too large.
    Range = "C018",
    /// A list or a text with nothing in it.
    Empty = "C019",
    /// A name that is not defined anywhere.
    Dangling = "C020",
    /// A route does not say which issuer, and there is not exactly one.
    WhichIssuer = "C021",
    /// An address that is none, or cannot be listened on.
    Address = "C023",
    /// Two sockets would listen on the same address.
    AddressTaken = "C024",
    /// A URL that is none, or has parts that do not belong here.
    Url = "C025",
    /// http to an address other than loopback, which has not been allowed.
    PlainHttp = "C026",
    /// A host, path, method, header, scope or client id that cannot be in a request.
    Impossible = "C027",
    /// The same thing listed twice.
    Repeated = "C028",
    /// An exchanging route that asks for nothing: no audience, no scopes, no resource.
    NoTarget = "C030",
    /// The audience is this gateway's own client id.
    OwnAudience = "C031",
    /// A key that only an exchanging route can have.
    ExchangeOnly = "C032",
    /// Discovery and the endpoints that stand in for it contradict each other.
    Discovery = "C033",
    /// A secret's file cannot be read, is empty, or holds more than one line.
    SecretFile = "C034",
    /// A secret's environment variable is not set, or is empty.
    SecretVariable = "C035",
    /// A secret is written in the configuration itself.
    SecretInline = "C036",
    /// Timeouts that contradict each other.
    Timeouts = "C037",
    /// An upstream's endpoints are told in two ways at once.
    Endpoints = "C038",
    /// A file of certificate authorities that cannot be used.
    Authorities = "C039",
    /// An upstream that no route uses.
    UnusedUpstream = "C041",
    /// An issuer that no route uses.
    UnusedIssuer = "C042",
    /// A listener that no route answers on.
    UnusedListener = "C043",
    /// Two routes take the same requests: one of them would never match.
    Tie = "C044",
    /// Nothing says what the `aud` of an issued token must contain, so it is not checked.
    UncheckedAudience = "C045",
    /// The admin address can be reached from outside this machine.
    OpenAdmin = "C046",
    /// A credential that the issuer's token_endpoint_auth_method has no use for.
    Credential = "C051",
    /// A private key that is none, or is not for its algorithm.
    PrivateKey = "C052",
    /// A client certificate that cannot be read, or does not fit its key.
    ClientCertificate = "C053",
    /// A file that should hold a client assertion, and does not.
    Assertion = "C054",
    /// TLS on a listener that cannot work: a certificate, its key, or whose certificates callers may show.
    ListenerTls = "C055",
    /// A listener that reads the header of the PROXY protocol, and trusts nobody to send it.
    ProxyProtocol = "C056",
    /// A route that takes upgrades, before an upstream that is spoken to in HTTP/2 only.
    Websocket = "C057",
    /// What no route names may not be let through on this listener.
    Unmatched = "C058",
    /// Anybody may call a route on which a caller's token is needed.
    Anonymous = "C060",
    /// Two issuers with one url, where the token's `iss` has to say which of them is meant.
    SameIssuer = "C061",
    /// A parameter that the gateway sets itself.
    Reserved = "C062",
    /// A key that means nothing to the issuer, by its profile; or one that it cannot do without.
    Profile = "C063",
    /// Tokens are verified by asking their issuer, and nothing says where.
    Introspection = "C064",
    /// What is to be cut off a path is not what the route matches.
    StripPrefix = "C070",
    /// One header for two things.
    HeaderTaken = "C071",
    /// A mistake of Cambist's own.
    Bug = "C099",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be run.
    Error,
    /// It can, but somebody should look at it.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub code: Code,
    pub severity: Severity,
    /// `None`: the file as a whole.
    pub place: Option<Place>,
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
    /// The offending line, with secrets blanked.
    pub excerpt: Option<Excerpt>,
}

/// A line of the file as it may be shown, and where in it the caret stands (in characters, from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub line: String,
    pub caret: usize,
    pub width: usize,
}

impl Complaint {
    pub fn error(code: Code, place: Place, message: impl fmt::Display) -> Self {
        Self { code, severity: Severity::Error, place: Some(place), message: printable(&message.to_string()), cure: None, excerpt: None }
    }

    pub fn warning(code: Code, place: Place, message: impl fmt::Display) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, message) }
    }

    pub fn of_file(code: Code, message: impl fmt::Display) -> Self {
        Self { place: None, ..Self::error(code, Place::default(), message) }
    }

    pub fn cure(mut self, cure: impl fmt::Display) -> Self {
        self.cure = Some(printable(&cure.to_string()));
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A value as messages quote it: no longer than a line, and nothing of what may have been swallowed by mistake.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.contains('\n') {
        return "`…`".to_owned();
    }
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
        None => format!("`{text}`"),
    }
}

/// Escapes such as "\e" are legal in YAML; they must not reach a terminal through a message.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_explained() {
        let codes: HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.about().ends_with('.'), "{code}: {}", code.about());
        }
    }

    #[test]
    fn messages_hold_no_control_characters_and_no_novels() {
        let it = Complaint::error(Code::Choice, Place::default(), quoted(&"\u{1b}[31m".repeat(100)));
        assert!(!it.message.contains('\u{1b}') && it.message.len() < 400, "{}", it.message);
    }
}
