//! What becomes of those who wait for an exchange that a purge has come over: another is made for them, within the time that an
//! exchange has and not without end. It decides for them alone; what is kept is the store's matter.

use super::{Outcome, Shared, Wish};
use crate::fault::{Fault, Why};
use crate::token::{Ask, TokenSource};
use std::sync::Arc;
use std::time::Instant;

/// The most exchanges that are made for who waits while purges come over one after the other.
pub(super) const MOST: u8 = 5;

/// What came before an exchange that is made again.
#[derive(Clone, Copy)]
pub(super) struct Overtaken {
    /// When the first of them began.
    since: Instant,
    exchanges: u8,
    /// What the issuer had said by then of when tokens count.
    pub not_before: u64,
}

impl Overtaken {
    /// One more begins now.
    pub(super) fn after(before: Option<Self>) -> Self {
        let before = before.unwrap_or_else(|| Self { since: Instant::now(), exchanges: 0, not_before: 0 });
        Self { exchanges: before.exchanges.saturating_add(1), ..before }
    }
}

impl<S: TokenSource> Shared<S> {
    /// What is asked for after the purge.
    pub(super) async fn again(self: &Arc<Self>, wish: Wish<'_>, overtaken: Overtaken) -> Outcome {
        let left = self.source.patience(wish.target).map(|all| all.saturating_sub(overtaken.since.elapsed()));
        if overtaken.exchanges >= MOST || left.is_some_and(|left| left.is_zero()) {
            return Err(thrown_out());
        }
        let overtaken = Overtaken { not_before: self.not_before.newest(&wish.target.issuer), ..overtaken };
        let answer = self.find(Wish { overtaken: Some(overtaken), ..wish }, Ask::ANY);
        match left {
            Some(left) => tokio::time::timeout(left, answer).await.unwrap_or_else(|_| Err(thrown_out())),
            None => answer.await,
        }
    }
}

fn thrown_out() -> Fault {
    let why = Why::new(
        "each exchange that was made for the caller was overtaken by a purge, or by an issuer that withdraws tokens with every answer",
    );
    let why = why.cure("purge less often; look at what moves the issuer's not-before-policy").into();
    Fault::IssuerUnavailable { retry_after: None, why }
}
