//! `/v1/explain`: which route a request would take, why each other one would not, and what would be asked of the issuer; with a
//! caller's token, what the cache would do. Looking is GET; a token comes in a POST's body alone, since URLs end up in logs, and takes
//! the admin token. No request is sent anywhere.

use super::Program;
use super::answer::{Answer, json, text};
use crate::token::Secret;
use http::{Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const PATH: &str = "/v1/explain";

/// Of a question: a caller's token and more headers than any request has.
const LONGEST: usize = 256 * 1024;
/// In which tokens come: not in a URL.
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

const EXAMPLE: &str = "Ask as in: curl 'http://localhost:9901/v1/explain?method=GET&url=/orders/1&header=Host:%20api.example.com'";

/// What somebody wants to know about.
#[derive(Debug, Default)]
pub struct Question {
    pub method: String,
    /// `https://host/path?query`, or the path alone.
    pub url: String,
    /// Each as `Name: value`.
    pub headers: Vec<String>,
    /// `None`: each listener.
    pub listener: Option<String>,
    /// The caller's: for what the cache would do.
    pub token: Option<Secret>,
    /// Whoever asks may read the configuration, with the values of headers that routes are chosen by: some of those are secrets.
    pub knows_values: bool,
}

/// The body of a POST.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    listener: Option<String>,
    #[serde(default)]
    token: Option<String>,
}

/// GET.
pub(super) fn looked(program: &Arc<dyn Program>, query: &str) -> Answer {
    match asked(query).and_then(|question| program.explain(&question)) {
        Ok(told) => json(&told),
        Err(why) => refused(&why),
    }
}

/// POST.
pub(super) async fn answer(
    program: &Arc<dyn Program>,
    request: Request<impl Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>>,
) -> Answer {
    let Ok(body) = Limited::new(request.into_body(), LONGEST).collect().await else {
        return refused("the body is too long, or broke off");
    };
    let body = Zeroizing::new(body.to_bytes().to_vec());
    // Its own words might repeat what stands in the body.
    let Ok(Written { method, url, headers, listener, token }) = serde_json::from_slice(&body) else {
        return refused(r#"the body is to be as in {"method": "GET", "url": "/orders", "headers": ["Host: a"], "token": "…"}"#);
    };
    let token = token.map(Secret::new);
    let question = Question { method: method.unwrap_or_else(|| "GET".to_owned()), url, headers, listener, token, knows_values: true };
    match program.explain(&question) {
        Ok(told) => json(&told),
        Err(why) => refused(&why),
    }
}

fn refused(why: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, format!("{why}. {EXAMPLE}\n"))
}

fn asked(query: &str) -> Result<Question, String> {
    let mut question = Question::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if value.contains('\u{fffd}') {
            return Err("a parameter is no UTF-8".to_owned());
        }
        let once = |slot: &mut String, name: &str, value: String| {
            if !slot.is_empty() {
                return Err(format!("`{name}` is there twice"));
            }
            *slot = value;
            Ok(())
        };
        match &*name {
            "method" => once(&mut question.method, "method", value.into_owned())?,
            "url" => once(&mut question.url, "url", value.into_owned())?,
            "listener" => once(question.listener.get_or_insert_default(), "listener", value.into_owned())?,
            "header" => question.headers.push(value.into_owned()),
            "token" => return Err(in_url("a token")),
            _ => return Err("a parameter is not known; there are `method`, `url`, `header` and `listener`".to_owned()),
        }
    }
    let secret =
        |header: &&String| SECRET_HEADERS.contains(&header.split(':').next().unwrap_or_default().trim().to_ascii_lowercase().as_str());
    if question.headers.iter().any(|header| secret(&header)) {
        return Err(in_url("a header with a secret"));
    }
    if question.url.is_empty() {
        return Err("`url` is missing".to_owned());
    }
    if question.method.is_empty() {
        "GET".clone_into(&mut question.method);
    }
    Ok(question)
}

fn in_url(what: &str) -> String {
    format!("{what} has no place in a URL, which ends up in logs: send it in the body of a POST")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_no_token_in_it() {
        let q = asked("method=POST&url=https%3A%2F%2Fa%2Fb%3Fc%3Dd&header=x-a:+1&header=x-b:%202&listener=main").unwrap();
        assert_eq!((q.method.as_str(), q.url.as_str(), q.listener.as_deref()), ("POST", "https://a/b?c=d", Some("main")));
        assert_eq!(q.headers, ["x-a: 1", "x-b: 2"]);
        assert_eq!(asked("url=/").unwrap().method, "GET");
        for (query, words) in [
            ("", "`url` is missing"),
            ("url=/&url=/", "twice"),
            ("url=/&token=x", "no place in a URL"),
            ("url=/&header=Authorization%20:%20Bearer%20x", "no place in a URL"),
            ("url=/&header=COOKIE:a", "no place in a URL"),
            ("url=/&colour=red", "not known"),
            ("url=%ff", "UTF-8"),
        ] {
            let why = asked(query).unwrap_err();
            assert!(why.contains(words), "{query}: {why}");
        }
    }
}
