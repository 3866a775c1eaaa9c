//! `cambist demo token`: a fresh caller token from a running demo's IAM, by the login that its user has there. It works with the
//! demo's realm and with no other.

use super::fetch::Connection;
use super::ports::address;
use super::wiring::{LOGIN_CLIENT, PASSWORD, REALM, USER};
use anyhow::{Context, Result, bail};

/// The token alone, to be printed on a line of its own.
///
/// # Errors
/// When no demo's IAM answers on that port.
pub async fn token(iam_port: u16) -> Result<String> {
    let at = address(iam_port);
    let none = || format!("no demo is running: its IAM does not answer on {at}; start one with `cambist demo`, or say its --port");
    let mut iam = Connection::open(at).await.with_context(none)?;
    let login = [("grant_type", "password"), ("client_id", LOGIN_CLIENT), ("username", USER), ("password", PASSWORD)];
    let path = format!("/realms/{REALM}/protocol/openid-connect/token");
    let answer = iam.post_form(&path, &login, None).await.with_context(none)?;
    match answer.json()["access_token"].as_str() {
        Some(token) if answer.status.is_success() => Ok(token.to_owned()),
        _ => bail!("what answers on {at} is not a demo's IAM (status {})", answer.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::backend::Backend;
    use crate::demo::iam::Iam;
    use crate::demo::ports::Ports;
    use crate::demo::wiring;

    #[tokio::test]
    async fn a_running_demo_gives_a_token() {
        let iam = Iam::start(wiring::realm(&Ports { iam: 0, ..Ports::default() })).await.unwrap();
        let claims = iam.keys().verified(&token(iam.address().port()).await.unwrap()).unwrap();
        assert_eq!(
            (claims["sub"].as_str(), claims["aud"].as_str(), claims["azp"].as_str()),
            (Some("alice"), Some("gateway"), Some("demo-app"))
        );
    }

    #[tokio::test]
    async fn without_one_it_says_so() {
        let other = Backend::open(address(0), None).unwrap();
        let error = token(other.address().port()).await.unwrap_err().to_string();
        assert!(error.contains("not a demo's IAM"), "{error}");
        other.down().await;
        let error = token(other.address().port()).await.unwrap_err().to_string();
        assert!(error.contains("no demo is running") && error.contains("--port"), "{error}");
    }
}
