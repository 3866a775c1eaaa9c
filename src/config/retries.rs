//! `retries` of a route: how often, and after what. Which methods may be sent again is not for the configuration to say.

use super::complaint::{Code, quoted};
use super::reading::Value;
use crate::stack::Retries;
use http::StatusCode;

const MOST: usize = 10;

#[derive(Clone, Copy, PartialEq)]
enum On {
    Connect,
    Status(StatusCode),
}

pub fn retries(value: &Value) -> Option<Retries> {
    let mut section = value.section(&[])?;
    let attempts = section.take("attempts", |v| v.count(0, MOST));
    let on = section.take("on", |v| v.list(on));
    section.finish();
    let by_default = Retries::default();
    let mut read = Retries { attempts: attempts.and_then(|at| u32::try_from(at.value).ok()).unwrap_or(by_default.attempts), ..by_default };
    if let Some(on) = on {
        read.on_connect = on.value.iter().any(|at| at.value == On::Connect);
        let status = |on| if let On::Status(status) = on { Some(status) } else { None };
        read.on_status = on.value.iter().filter_map(|at| status(at.value)).collect();
    }
    Some(read)
}

fn on(value: &Value) -> Option<On> {
    let text = value.text()?;
    if text == "connect" {
        return Some(On::Connect);
    }
    match text.parse::<StatusCode>() {
        Ok(status) if status.is_server_error() => Some(On::Status(status)),
        _ => value.refuse(
            Code::Choice,
            format_args!("{} is nothing after which a request is sent again", quoted(&text)),
            "write `connect`, or a status from \"500\" to \"599\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::sample::{refused_route, with_route};
    use super::*;

    #[test]
    fn the_default_of_the_contract_and_all_that_can_be_said() {
        let of = |written: &str| with_route(written).routes.remove(0).retries;
        assert_eq!(of(""), Retries { attempts: 1, on_connect: true, on_status: vec![] });
        assert_eq!(of("retries: { attempts: 3 }"), Retries { attempts: 3, on_connect: true, on_status: vec![] });
        let statuses = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY];
        assert_eq!(of("retries: { on: [\"503\", 502] }"), Retries { attempts: 1, on_connect: false, on_status: statuses });
        assert!(of("retries: { on: [connect, \"503\"] }").on_connect);
        assert_eq!(of("retries: { attempts: 0 }").attempts, 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(refused_route("retries: { attempts: 11 }"), [Code::Range]);
        assert_eq!(refused_route("retries: { on: [\"404\"] }"), [Code::Choice]);
        assert_eq!(refused_route("retries: { on: [timeout] }"), [Code::Choice]);
        assert_eq!(refused_route("retries: { on: [connect, connect] }"), [Code::Repeated]);
        assert_eq!(refused_route("retries: 2"), [Code::WrongType]);
    }
}
