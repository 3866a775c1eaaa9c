//! Whether an issuer has "issued" what was sent to it: the caller's token, the actor's, or what we prove ourselves with. It may fit
//! in all else, and goes nowhere: where tokens are exchanged, nobody's own reaches an upstream.

use super::grant::Asking;
use crate::fault::{Fault, Why};
use crate::issuer::Issuer;

pub(super) fn refused(issued: &str, asking: &Asking, issuer: &Issuer) -> Result<(), Fault> {
    let caller = asking.caller().map(|caller| caller.token.expose());
    let actor = asking.actor().map(|actor| actor.token.as_str());
    let what = match issued {
        issued if caller == Some(issued) => "the very token of the caller",
        issued if actor == Some(issued) => "the very token of the actor",
        issued if issuer.proves_with(issued) => "the gateway's own secret or assertion",
        _ => return Ok(()),
    };
    let why = Why::new(format!("the issuer issued {what} that was sent to it: nothing was exchanged, and it goes nowhere"));
    let cure = "have the IAM issue a token of its own for the route's audience (it may return the subject token where it already fits: switch \
                that off); and check that token_endpoint is the IAM's";
    Err(Fault::BadIssuerAnswer(why.cure(cure).anchored("issued-returned").into()))
}
