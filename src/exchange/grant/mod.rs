//! What is POSTed to the token endpoint, one file per grant. A grant puts a form together and neither sends nor judges anything.

pub(super) mod token_exchange;
