//! Keycloak's `not-before-policy` in an answer: what was granted for tokens that are older than it goes, and nothing else does.

use crate::kit::{ROUTES, Running, World, running, said};
use cambist::demo::iam::Endpoint;
use cambist::demo::misbehave::{Gate, Misbehave};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

impl Running {
    /// A caller's token that was issued so many seconds ago.
    fn issued(&self, sub: &str, ago: u64) -> String {
        self.world.iam.caller(sub).claim("iat", json!(self.now() - ago)).token().unwrap()
    }

    fn now(&self) -> u64 {
        self.world.clock.unix()
    }

    /// The next answer, or all of them, name this policy.
    fn says(&self, policy: impl Into<Value>, always: bool) {
        let misbehave = Misbehave::member("not-before-policy", Some(policy.into()));
        if always {
            self.world.iam.script_always(Endpoint::Token, misbehave);
        } else {
            self.world.iam.script(Endpoint::Token, misbehave);
        }
    }

    async fn served(&self, token: &str) -> u64 {
        let answer = self.get("/orders", token).await;
        assert_eq!(answer.status, 200, "{:?}", self.gateway.failures().first());
        self.world.iam.exchanges()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_for_older_tokens_goes_and_the_issuer_has_the_word_again() {
    let g = running().await;
    let (old, young) = (g.issued("ada", 100), g.issued("eve", 20));
    assert_eq!((g.served(&old).await, g.served(&young).await, g.served(&old).await), (1, 2, 2));
    g.says(g.now() - 50, false);
    assert_eq!(g.served(&g.issued("bob", 0)).await, 3, "another caller's answer tells it");
    assert_eq!(g.served(&young).await, 3, "what is younger stays");
    g.world.iam.script(Endpoint::Token, Misbehave::refusal(StatusCode::BAD_REQUEST, "invalid_request", "Invalid token"));
    assert_eq!(said(&g.get("/orders", &old).await), (401, "invalid_token".into()));
    assert_eq!(g.world.iam.exchanges(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_rise_drops_anything_and_an_answer_against_itself_is_not_kept() {
    let g = running().await;
    let (old, policy) = (g.issued("ada", 100), g.now() - 50);
    g.says(policy, false);
    assert_eq!(g.served(&g.issued("bob", 0)).await, 1);
    // The issuer knows its own policy and grants it all the same; its answer does not speak against it.
    assert_eq!((g.served(&old).await, g.served(&old).await), (2, 2));
    for said in [policy, policy - 1] {
        g.says(said, false);
        assert_eq!(g.served(&g.issued("eve", 0)).await, 3 + u64::from(said < policy));
    }
    assert_eq!(g.served(&old).await, 4, "nothing new");
    g.says(policy + 10, true);
    assert_eq!(g.served(&g.issued("kim", 40)).await, 5, "issued in that very second, so not before it");
    assert_eq!((g.served(&old).await, g.served(&old).await), (6, 7), "good for this once");
    assert_eq!((g.served(&g.issued("kai", 39)).await, g.world.iam.exchanges()), (8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_under_way_is_made_again() {
    let g = running().await;
    let (old, young, gate) = (g.issued("ada", 100), g.issued("bob", 0), Gate::new());
    g.world.iam.script(Endpoint::Token, Misbehave::Delay(gate.clone()));
    let (answer, ()) = tokio::join!(g.get("/orders", &old), async {
        gate.reached(1).await;
        g.says(g.now() - 50, false);
        assert_eq!(g.served(&young).await, 2);
        gate.open();
    });
    assert_eq!((answer.status.as_u16(), g.world.iam.exchanges_of("ada")), (200, 2));
    assert_eq!((g.served(&old).await, g.served(&young).await), (3, 3), "what came of the second is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_such_a_time_changes_nothing_for_good() {
    let g = running().await;
    let old = g.issued("ada", 100);
    assert_eq!(g.served(&old).await, 1);
    let bad = [json!("soon"), json!(-5), json!(1.5), json!(null), json!([1]), json!(u64::MAX), json!(g.now() + 100_000), json!(0)];
    for (i, policy) in bad.into_iter().enumerate() {
        g.says(policy.clone(), false);
        let fresh = g.issued(&format!("u{i}"), 0);
        let exchanges = g.served(&fresh).await;
        assert_eq!((g.served(&old).await, g.served(&fresh).await), (exchanges, exchanges), "{policy}");
    }
    g.says(g.now() - 50, false);
    let exchanges = g.served(&g.issued("bob", 0)).await;
    assert_eq!(g.served(&old).await, exchanges + 1, "a good one counts afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_whose_clock_is_ahead_drops_nothing_twice() {
    let g = running().await;
    let old = g.issued("ada", 100);
    let ahead = g.now() + 20;
    g.says(ahead, true);
    g.served(&g.issued("bob", 0)).await;
    g.world.iam.behave();
    let exchanges = g.served(&old).await;
    for _ in 0..2 {
        g.says(ahead, false);
        g.served(&g.issued("bob", 0)).await;
        g.turn(Duration::from_secs(1)).await;
    }
    assert_eq!(g.served(&old).await, exchanges + 2, "bob's two, and none of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_issuers_word_is_not_anothers() {
    let (world, other) = (World::new().await, World::new().await);
    let issuer = |name: &str, url: &str| format!("  {name}: {{ url: \"{url}\", client_id: gateway, client_secret: gateway-secret }}\n");
    let issuers = format!("issuers:\n{}{}", issuer("main", world.iam.issuer()), issuer("other", other.iam.issuer()));
    let routes = format!(
        "{}  theirs: {{ match: {{ path: /theirs }}, upstream: OPEN, audience: orders-api, issuer: other }}\n",
        ROUTES.replace("upstream:", "issuer: main, upstream:")
    );
    let g = world.gateway(&routes, &issuers).await;
    let old = g.issued("ada", 100);
    assert_eq!(g.served(&old).await, 1);
    other.iam.script(Endpoint::Token, Misbehave::member("not-before-policy", Some(json!(g.now() - 50))));
    let theirs = other.iam.caller("ada").token().unwrap();
    assert_eq!(g.get("/theirs", &theirs).await.status, 200, "{:?}", g.gateway.failures().first());
    assert_eq!(g.served(&old).await, 1);
}
