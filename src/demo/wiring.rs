//! What the demo's gateway is configured with: YAML, as an operator writes it, so that the demo takes the same way in as `run`.
//! The secret in it is the development IAM's, drawn for no other use and good on loopback only.

use super::iam::{Client, Settings};
use super::ports::{Ports, address};
use crate::clock::Clock;

pub(super) const LOGIN_CLIENT: &str = "demo-app";
pub(super) const USER: &str = "alice";
pub(super) const PASSWORD: &str = "alice";
pub(super) const REALM: &str = "demo";
const GATEWAY: &str = "gateway";
const SECRET: &str = "only-good-in-the-demo";

/// A realm in which the gateway's client reaches one of the two backends.
pub(super) fn realm(ports: &Ports) -> Settings {
    let minutes = |n: u64| std::time::Duration::from_secs(60 * n);
    Settings {
        address: address(ports.iam),
        realm: REALM.to_owned(),
        issuer: None,
        clients: vec![
            Client::public(LOGIN_CLIENT).reaching(GATEWAY).lifespan(minutes(10)),
            Client::confidential(GATEWAY, SECRET).exchanging().reaching("orders-api").lifespan(minutes(5)),
            Client::confidential("orders-api", "never used"),
            Client::confidential("payroll-api", "never used"),
        ],
        users: vec![(USER.to_owned(), PASSWORD.to_owned())],
        login_client: LOGIN_CLIENT.to_owned(),
        gateway_client: GATEWAY.to_owned(),
        clock: Clock::real(),
    }
}

/// The gateway's configuration file.
pub(super) fn gateway(ports: &Ports) -> String {
    let Ports { gateway, iam, metrics, admin, orders, payroll } = ports;
    format!(
        "\
listeners:
  main: {{ address: 127.0.0.1:{gateway} }}
metrics: {{ address: 127.0.0.1:{metrics} }}
admin: {{ address: 127.0.0.1:{admin} }}
issuers:
  demo:
    url: http://127.0.0.1:{iam}/realms/{REALM}
    client_id: {GATEWAY}
    client_secret: {SECRET}
routes:
  orders:
    match: {{ path: /orders }}
    upstream: http://127.0.0.1:{orders}
    audience: orders-api
  payroll:
    match: {{ path: /payroll }}
    upstream: http://127.0.0.1:{payroll}
    audience: payroll-api
shutdown: {{ delay: 0s, grace: 1s }}
log: {{ level: error, format: text, access: false }}
"
    )
}
