//! Looks at the files of a listener's TLS again and again, and says what came of it. What cannot be used changes nothing. It
//! listens on nothing.

use super::shop::{Gate, Shop};
use crate::clock::{Clock, millis};
use crate::tls::server::Looked;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(10);
/// How often the clock is.
const LOOK: Duration = Duration::from_millis(200);

/// Until the listener is closed.
pub(super) async fn renew(gate: Weak<Gate>, shop: Arc<Shop>, clock: Clock) {
    let mut looked = clock.millis();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(gate) = gate.upgrade().filter(|gate| !*gate.stop.borrow()) else { return };
        if clock.millis().saturating_sub(looked) < millis(EVERY) {
            continue;
        }
        looked = clock.millis();
        // It reads files, and signs with a new key to see whether it fits.
        let shop = Arc::clone(&shop);
        if tokio::task::spawn_blocking(move || look(&gate, &shop)).await.is_err() {
            tracing::error!("a look at the files of TLS broke off");
        }
    }
}

fn look(gate: &Gate, shop: &Shop) {
    let Some(server) = &gate.greeting.tls else { return };
    let Looked { changed, refused } = server.look();
    if changed {
        let expires = server.in_force().expires;
        (shop.hooks.certificates)(&gate.name, expires);
        tracing::info!(listener = %gate.name, expires, "files of its TLS have changed, and hold for new connections");
    }
    for error in refused {
        let cure = "put what can be used in its place (of a certificate and its key, both); the files are looked at every ten seconds";
        tracing::error!(listener = %gate.name, %error, cure, "a file of its TLS has changed and cannot be used: what was before stays in its place");
    }
}
