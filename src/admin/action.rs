//! What an operator may have done, each a method and a path. Whoever gets here has shown the admin token; what an action does is
//! in a file of its own.

use super::answer::{Answer, method_not_allowed, text};
use super::{Program, STATUS, purge};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Tokens are thrown out.
    Purge,
}

impl Action {
    const ALL: [Self; 1] = [Self::Purge];

    fn way(self) -> (Method, &'static str) {
        match self {
            Self::Purge => (Method::DELETE, purge::PATH),
        }
    }

    /// # Errors
    /// The answer to who asked for something that there is not.
    pub(super) fn find(path: &str, method: &Method) -> Result<Self, Answer> {
        let here: Vec<(Method, Self)> =
            Self::ALL.into_iter().filter_map(|action| Some((action.way().0, action)).filter(|_| action.way().1 == path)).collect();
        match here.iter().find(|(m, _)| m == method) {
            Some((_, action)) => Ok(*action),
            None if here.is_empty() => Err(nothing()),
            None => Err(method_not_allowed(&here.iter().map(|(m, _)| m).collect::<Vec<_>>())),
        }
    }

    pub(super) async fn take(self, program: &Arc<dyn Program>, request: Request<Incoming>) -> Answer {
        match self {
            Self::Purge => purge::answer(program, &request).await,
        }
    }
}

fn nothing() -> Answer {
    let actions = Action::ALL.map(|action| action.way()).map(|(method, path)| format!(", {method} {path}")).concat();
    text(StatusCode::NOT_FOUND, format!("here are GET {STATUS}{actions}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_method_alone() {
        for action in Action::ALL {
            let (method, path) = action.way();
            assert_eq!(Action::find(path, &method).ok(), Some(action));
            let other = Action::find(path, &Method::PATCH).unwrap_err();
            assert!(other.status() == 405 && other.headers()["allow"].to_str().unwrap().contains(method.as_str()));
        }
        assert_eq!(Action::find("/v1/elsewhere", &Method::DELETE).unwrap_err().status(), 404);
    }
}
