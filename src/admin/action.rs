//! What an operator may have done, each a method and a path. Whoever gets here has shown the admin token; what an action does is
//! in a file of its own.

use super::answer::{Answer, method_not_allowed, text};
use super::{Program, STATUS, explain, log, purge, reload};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Tokens are thrown out.
    Purge,
    /// The configuration is read again.
    Reload,
    /// Nothing is: but the question holds a token, or may.
    Explain,
    /// More is logged, or less.
    Log,
}

impl Action {
    const ALL: [Self; 4] = [Self::Purge, Self::Reload, Self::Explain, Self::Log];

    fn way(self) -> (Method, &'static str) {
        match self {
            Self::Purge => (Method::DELETE, purge::PATH),
            Self::Reload => (Method::POST, reload::PATH),
            Self::Explain => (Method::POST, explain::PATH),
            Self::Log => (Method::PUT, log::PATH),
        }
    }

    pub(super) fn find(path: &str, method: &Method) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.way() == (method.clone(), path))
    }

    pub(super) async fn take(self, program: &Arc<dyn Program>, request: Request<Incoming>) -> Answer {
        match self {
            Self::Purge => purge::answer(program, &request).await,
            Self::Reload => reload::answer_to(program, &request).await,
            Self::Explain => explain::answer(program, request).await,
            Self::Log => log::answer(request).await,
        }
    }
}

/// The answer to who asked for something that there is not.
pub(super) fn none_such(path: &str) -> Answer {
    let ways = Action::ALL.map(Action::way);
    let looks = [Method::GET, Method::HEAD];
    let looks = looks.iter().filter(|_| [explain::PATH, log::PATH].contains(&path));
    let here: Vec<&Method> = looks.chain(ways.iter().filter(|(_, p)| *p == path).map(|(method, _)| method)).collect();
    if !here.is_empty() {
        return method_not_allowed(&here);
    }
    let all = ways.iter().map(|(method, path)| format!(", {method} {path}")).collect::<String>();
    text(StatusCode::NOT_FOUND, format!("here are GET /, GET {STATUS}, GET {}, GET {}{all}\n", explain::PATH, log::PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_method_alone() {
        for action in Action::ALL {
            let (method, path) = action.way();
            assert_eq!((Action::find(path, &method), Action::find(path, &Method::PATCH)), (Some(action), None));
            let other = none_such(path);
            assert!(other.status() == 405 && other.headers()["allow"].to_str().unwrap().contains(method.as_str()));
        }
        assert_eq!((Action::find("/v1/elsewhere", &Method::DELETE), none_such("/v1/elsewhere").status().as_u16()), (None, 404));
    }
}
