//! `DELETE /v1/tokens`: an operator has exchanged tokens thrown out, of one user, one session, one audience, or all. It says how
//! many went; nobody is logged out by it. What is not said in exactly one way is refused, so that nothing goes by mistake.

use super::Program;
use super::answer::{Answer, json, text};
use crate::cache::{Purge, Purged};
use http::{Request, StatusCode};
use http_body::Body;
use std::sync::Arc;

pub(super) const PATH: &str = "/v1/tokens";

const EXAMPLES: &str = "Say what is to go with exactly one of
  ?subject=SUB      the tokens of one user: what stands in `sub`; with &issuer=NAME only those of one issuer
  ?session=SID      the tokens of one session: what stands in `sid`; &issuer=NAME as above
  ?audience=NAME    everybody's tokens that were asked for with this audience
  ?all              everything, what the gateway itself acts with too
as in: curl -X DELETE -H \"Authorization: Bearer $TOKEN\" 'http://localhost:9901/v1/tokens?audience=orders-api'
";

/// What is to go, as it was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Subject { sub: String, issuer: Option<String> },
    Session { sid: String, issuer: Option<String> },
    Audience(String),
    All,
}

pub(super) async fn answer(program: &Arc<dyn Program>, request: &Request<impl Body>) -> Answer {
    if !request.body().is_end_stream() {
        return refused("a body is not read here");
    }
    let wanted = match wanted(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(why) => return refused(&why),
    };
    let (kind, purges) = match wanted.purges(&program.issuers()) {
        Ok(purges) => (wanted.kind(), purges),
        Err(why) => return refused(&why),
    };
    let program = program.clone();
    // Where there are many it takes a while.
    let purged = tokio::task::spawn_blocking(move || purges.iter().map(|what| program.purge(what)).fold(Purged::default(), sum)).await;
    let Ok(Purged { held, under_way }) = purged else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "not everything may be gone: ask again\n");
    };
    tracing::info!(by = kind, held, under_way, "tokens were thrown out at an operator's word");
    json(&serde_json::json!({ "held": held, "under_way": under_way }))
}

fn sum(a: Purged, b: Purged) -> Purged {
    Purged { held: a.held + b.held, under_way: a.under_way + b.under_way }
}

fn refused(why: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, format!("{why}. {EXAMPLES}"))
}

impl Wanted {
    fn kind(&self) -> &'static str {
        match self {
            Self::Subject { .. } => "subject",
            Self::Session { .. } => "session",
            Self::Audience(_) => "audience",
            Self::All => "all",
        }
    }

    /// One for each issuer that is meant, under each of its names: one that is named is meant under all that it has.
    fn purges(&self, issuers: &[(Arc<str>, Arc<str>)]) -> Result<Vec<Purge>, String> {
        let at = |issuer: &Option<String>, purge: &dyn Fn(String) -> Purge| {
            let url = issuer.as_ref().map(|name| issuers.iter().find(|(is, _)| **is == **name).map(|(_, url)| url));
            if let Some(None) = url {
                let names: Vec<&str> = issuers.iter().map(|(name, _)| &**name).collect();
                return Err(format!("There is no such issuer in the configuration (have: {})", names.join(", ")));
            }
            let meant = issuers.iter().filter(|(_, is)| url.flatten().is_none_or(|url| url == is));
            Ok(meant.map(|(name, _)| purge(name.to_string())).collect())
        };
        match self {
            Self::Subject { sub, issuer } => at(issuer, &|issuer| Purge::Subject { issuer, sub: sub.clone() }),
            Self::Session { sid, issuer } => at(issuer, &|issuer| Purge::Session { issuer, sid: sid.clone() }),
            Self::Audience(name) => Ok(vec![Purge::Audience(name.clone())]),
            Self::All => Ok(vec![Purge::All]),
        }
    }
}

const NAMES: [&str; 5] = ["subject", "session", "audience", "all", "issuer"];

fn wanted(query: &str) -> Result<Wanted, String> {
    let mut found: [Option<String>; NAMES.len()] = Default::default();
    for part in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
        let Some(at) = NAMES.iter().position(|n| *n == name) else {
            return Err("A parameter is not known".to_owned());
        };
        let value = match (name, value) {
            ("all", None) => String::new(),
            ("all", Some(_)) => return Err("`all` takes no value".to_owned()),
            (_, None | Some("")) => return Err(format!("`{name}` is empty")),
            (_, Some(value)) => decoded(value).map_err(|why| format!("`{name}` {why}"))?,
        };
        if found[at].replace(value).is_some() {
            return Err(format!("`{name}` is there twice"));
        }
    }
    match found {
        [Some(sub), None, None, None, issuer] => Ok(Wanted::Subject { sub, issuer }),
        [None, Some(sid), None, None, issuer] => Ok(Wanted::Session { sid, issuer }),
        [None, None, Some(audience), None, None] => Ok(Wanted::Audience(audience)),
        [None, None, None, Some(_), None] => Ok(Wanted::All),
        [None, None, None, None, _] => Err("Nothing says what is to go".to_owned()),
        [None, None, _, _, Some(_)] => Err("`issuer` goes with `subject` or `session` alone".to_owned()),
        _ => Err("More than one thing says what is to go".to_owned()),
    }
}

/// What a `+` means depends on whom one asks, so it is not taken: another user than the one who was meant might keep their tokens.
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        out.push(match byte {
            b'+' => return Err("holds a `+`: write %2B for a plus, and %20 for a blank"),
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err("holds a `%` that two hexadecimal digits must follow; write %25 for itself"),
            },
            byte => byte,
        });
    }
    let text = String::from_utf8(out).map_err(|_| "is no UTF-8")?;
    if text.chars().any(char::is_control) { Err("holds a control character") } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_said_plainly_or_nothing_goes() {
        let some = |s: &str| Some(s.to_owned());
        for (query, expected) in [
            ("subject=ada", Wanted::Subject { sub: "ada".to_owned(), issuer: None }),
            ("issuer=main&subject=a%20b%2Bc%C3%A4=", Wanted::Subject { sub: "a b+c\u{e4}=".to_owned(), issuer: some("main") }),
            ("session=1-2&issuer=other", Wanted::Session { sid: "1-2".to_owned(), issuer: some("other") }),
            ("audience=https://orders.example/", Wanted::Audience("https://orders.example/".to_owned())),
            ("all", Wanted::All),
        ] {
            assert_eq!(wanted(query), Ok(expected), "{query}");
        }
        for (query, word) in [
            ("", "Nothing"),
            ("issuer=main", "Nothing"),
            ("sub=ada", "known"),
            ("Subject=ada", "known"),
            ("subject=ada&", "known"),
            ("&", "known"),
            ("subject=", "`subject` is empty"),
            ("subject", "`subject` is empty"),
            ("subject=ada&subject=ada", "twice"),
            ("subject=ada&session=1", "More than one"),
            ("subject=ada&all", "More than one"),
            ("all=", "no value"),
            ("all=true", "no value"),
            ("all&all", "twice"),
            ("all&issuer=main", "`issuer` goes with"),
            ("audience=a&issuer=main", "`issuer` goes with"),
            ("audience=a&audience=b", "twice"),
            ("subject=a+b", "%2B"),
            ("subject=100%", "%25"),
            ("subject=%+1", "%25"),
            ("subject=%ff", "UTF-8"),
            ("subject=%00", "control"),
        ] {
            let why = wanted(query).unwrap_err();
            assert!(why.contains(word), "{query}: {why}");
        }
    }

    #[test]
    fn all_issuers_are_meant_unless_one_is_named() {
        let issuers: [(Arc<str>, Arc<str>); 3] =
            [("main", "a"), ("other", "b"), ("again", "b")].map(|(name, url)| (name.into(), url.into()));
        let of = |query: &str| wanted(query).unwrap().purges(&issuers);
        let subject = |issuer: &str| Purge::Subject { issuer: issuer.to_owned(), sub: "ada".to_owned() };
        assert_eq!(of("subject=ada"), Ok(vec![subject("main"), subject("other"), subject("again")]));
        assert_eq!(of("subject=ada&issuer=main"), Ok(vec![subject("main")]));
        for name in ["other", "again"] {
            assert_eq!(of(&format!("subject=ada&issuer={name}")), Ok(vec![subject("other"), subject("again")]), "one issuer, two names");
        }
        assert!(of("subject=ada&issuer=third").unwrap_err().contains("have: main, other, again"));
        assert_eq!(of("all"), Ok(vec![Purge::All]));
    }
}
