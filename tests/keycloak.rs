//! The gateway before a real Keycloak: the whole path, every refusal that is known of this version, and what happens to the
//! server meanwhile. The server comes from a script and is named by a variable; without it these tests say that they are skipped:
//!
//! ```sh
//! export CAMBIST_KEYCLOAK_URL=$(tests/keycloak/start start 18180 --fresh)
//! cargo test --test keycloak
//! ```
//!
//! With `CAMBIST_REQUIRE_KEYCLOAK` set a missing server is a failure. One test stops and starts it.
//!
//! | row | test |
//! |---|---|
//! | **what Keycloak refuses** | |
//! | subject expired, bad, session gone, wrong realm | `conditions::subject_*` |
//! | requester not in `aud` | `conditions::requester_not_in_aud` |
//! | unknown `audience` | `conditions::unknown_audience` |
//! | audience client disabled | `conditions::audience_client_disabled` |
//! | audience not reachable by scopes/roles | `conditions::audience_not_reachable_by_*` |
//! | switch off | `conditions::switch_off` |
//! | public requester | `conditions::public_requester` |
//! | unknown scope / consent missing | `conditions::unknown_scope`, `conditions::consent_missing` |
//! | wrong secret | `conditions::wrong_secret` |
//! | unknown/disabled client | `conditions::unknown_client`, `conditions::disabled_client` |
//! | bad or replayed assertion | `proofs::bad_or_replayed_assertion` (Keycloak alone) |
//! | queue full | `alone::queue_full` |
//! | **what was measured on 26.7.3** | |
//! | success | `measured::success` |
//! | no `audience` at all | `measured::no_audience_at_all` |
//! | `audience` that only an optional scope adds | `measured::audience_of_an_optional_scope` |
//! | `audience` = the gateway itself, or the login client | `measured::audience_the_*` |
//! | `audience` twice / `scope` twice / `resource` | `measured::{audience_twice_the_same, scope_sent_twice, resource_is_ignored}` |
//! | public client as requester | `measured::public_requester_with_the_switch_off` |
//! | `actor_token` sent | `measured::actor_token_is_ignored_without_a_word` (Keycloak alone) |
//! | `requested_subject` | `measured::requested_subject` (Keycloak alone) |
//! | `requested_token_type` `jwt`, `refresh_token` | `measured::requested_token_type_unsupported` (Keycloak alone) |
//! | `requested_token_type` `id_token` | `measured::requested_token_type_id_token` (Keycloak alone) |
//! | no `subject_token_type` / no `subject_token` | `measured::no_subject_token_or_type` (Keycloak alone) |
//! | subject garbage, tampered, expired, logged out, empty | `conditions::subject_*` |
//! | large subject tokens | `measured::large_subject_tokens` |
//! | lifetime of the exchanged token | `measured::lifetime_of_the_exchanged_token` |
//! | admin logs the user out | `measured::admin_logs_the_user_out`, `logout::a_forced_update_*` |
//! | back-channel logout | `measured::back_channel_logout_goes_to_the_login_client` (Keycloak alone); `logout::*` |
//! | `private_key_jwt` | `client_auth::signed_with_*`; `proofs::private_key_jwt`, `proofs::bad_or_replayed_assertion` (Keycloak alone) |
//! | `tls_client_auth`, an assertion of somebody else (Kubernetes) | `mutual::*`, `client_auth::an_assertion_*` |
//! | DPoP proof on the exchange request | `proofs::dpop_proof_on_the_exchange` (Keycloak alone) |
//! | DPoP-bound subject token | `proofs::dpop_bound_subject` |
//! | introspection | `measured::introspection_by_those_in_aud_alone` (Keycloak alone) |
//! | realm keys | `measured::realm_keys` |
//! | cost of one exchange | none: a figure of one machine, which a test could only get wrong on another |
//! | **what routes may ask besides** | |
//! | the gateway's own token, actors, introspection, lightweight tokens, scopes, `require`, two realms | `tokens::*` |
//!
//! *Keycloak alone*: the gateway of this version never sends such a thing, so Keycloak is asked directly, and the row stays true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "keycloak/alone.rs"]
mod alone;
#[path = "keycloak/ask.rs"]
mod ask;
#[path = "keycloak/client_auth.rs"]
mod client_auth;
#[path = "keycloak/conditions.rs"]
mod conditions;
#[path = "keycloak/logout.rs"]
mod logout;
#[path = "keycloak/measured.rs"]
mod measured;
#[path = "keycloak/mutual.rs"]
mod mutual;
#[path = "keycloak/path.rs"]
mod path;
#[path = "keycloak/proofs.rs"]
mod proofs;
#[path = "keycloak/server.rs"]
mod server;
#[path = "keycloak/tokens.rs"]
mod tokens;
