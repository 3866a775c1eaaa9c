//! `/v1/log`: how much is logged now, and by PUT, how much from now on: the level, and whether there are access lines. It holds until the
//! process ends or a configuration with another `log` comes into force. It writes no file, and cannot change the log's form.

use super::answer::{Answer, json, text};
use crate::telemetry::{self, Level, Settings};
use http::{Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const PATH: &str = "/v1/log";

const LONGEST: usize = 1024;

const EXAMPLE: &str = r#"Say it as in: curl -X PUT -H "Authorization: Bearer $TOKEN" -d '{"level": "debug", "access": false}' http://localhost:9901/v1/log
  level   error, warn, info, debug or trace
  access  whether each request has its line
What is not named stays as it is."#;

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: Option<String>,
    access: Option<bool>,
}

/// GET.
pub(super) fn looked() -> Answer {
    told(telemetry::in_force())
}

/// PUT.
pub(super) async fn answer(request: Request<impl Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>>) -> Answer {
    let Ok(body) = Limited::new(request.into_body(), LONGEST).collect().await else {
        return refused("The body is too long, or broke off");
    };
    let (level, access) = match wanted(&body.to_bytes()) {
        Ok(wanted) => wanted,
        Err(why) => return refused(why),
    };
    let Some(before) = telemetry::in_force() else { return told(None) };
    let (now, by) = (level.unwrap_or(before.level), "an operator's word");
    let tell = || tracing::info!(level = now.name(), access = access.unwrap_or(before.access), by, "how much is logged has changed");
    // Where the level allows it.
    if now < before.level {
        tell();
    }
    let settings = telemetry::change(level, access);
    if now >= before.level {
        tell();
    }
    told(settings)
}

fn wanted(body: &[u8]) -> Result<(Option<Level>, Option<bool>), &'static str> {
    match serde_json::from_slice(body) {
        Ok(Wanted { level: None, access: None }) => Err("Neither `level` nor `access` is there"),
        Ok(Wanted { level: None, access }) => Ok((None, access)),
        Ok(Wanted { level: Some(name), access }) => Level::named(&name).map(|level| (Some(level), access)).ok_or("This level is not known"),
        Err(_) => Err("The body is not what it is to be"),
    }
}

fn refused(why: &str) -> Answer {
    text(StatusCode::BAD_REQUEST, format!("{why}. {EXAMPLE}\n"))
}

fn told(settings: Option<Settings>) -> Answer {
    match settings {
        Some(settings) => json(&shown(settings)),
        None => text(StatusCode::CONFLICT, "this gateway does not write the log of its process\n"),
    }
}

fn shown(Settings { level, format, access }: Settings) -> Value {
    json!({ "level": level.name(), "access": access, "format": format.name() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_said_plainly() {
        for (body, level, access) in [
            (r#"{"level":"debug"}"#, Some(Level::Debug), None),
            (r#"{"access":false}"#, None, Some(false)),
            (r#"{"level":"error","access":true}"#, Some(Level::Error), Some(true)),
        ] {
            assert_eq!(wanted(body.as_bytes()), Ok((level, access)), "{body}");
        }
        for (body, word) in [
            ("", "not what"),
            ("{}", "Neither"),
            ("debug", "not what"),
            (r#"{"level":"loud"}"#, "not known"),
            (r#"{"level":"DEBUG"}"#, "not known"),
            (r#"{"level":"debug","format":"text"}"#, "not what"),
            (r#"{"access":"false"}"#, "not what"),
        ] {
            assert!(wanted(body.as_bytes()).unwrap_err().contains(word), "{body}");
        }
    }
}
