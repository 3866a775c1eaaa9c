//! Cambist: a reverse-proxy auth gateway. It exchanges the caller's token (RFC 8693) for one that is good at exactly one
//! backend, caches it, and sends the request on with it.
//!
//! The house has floors, and a room may only use rooms on the floors below it (`tests/tidy.rs` holds that law).

#![forbid(unsafe_code)]

// Floor 0: words that every room uses.
pub mod bounded; // a concurrent map with a bound; dashmap lives here
pub mod clock; // time that a test can turn, and the coarse tick
pub mod fault; // every way a request can end badly, and what the caller is told
pub mod metrics; // every metric: name, help, labels
pub mod telemetry; // logs, and what may be in them
pub mod tls; // rustls settings from PEM
pub mod token; // secrets, tokens, targets, and the trait between the stack and what finds a token

// Floor 1: rooms that know the outside, each one part of it.
pub mod issuer; // an IAM: discovery, keys, HTTP client, client authentication
pub mod listen; // sockets, HTTP/1 and 2, workers, drain
pub mod route; // Table<R>: host, path, method, header
pub mod upstream; // endpoints, connections, pools

// Floor 2: tokens.
pub mod cache; // a TokenSource around a TokenSource
pub mod exchange; // a TokenSource over HTTP
pub mod revocation; // who was logged out
pub mod verify; // the caller's token -> Subject

// Floor 3: the service.
pub mod admin; // metrics, probes, status as JSON
pub mod api; // what the gateway answers itself: the exchange API
pub mod stack; // THE tower stack; a route and its layers
pub mod swap; // the exchange as a tower layer, for programs of one's own

// Floor 4: what the operator wrote.
pub mod config;

// Floor 5: the program.
pub mod app; // the command line; run, check and the other verbs
pub mod demo; // a development IAM, echo backends, the tour
