//! The demo: a development IAM, echo backends and a tour through the gateway between them, all on loopback. The tests use the
//! same IAM and backends. Reachable from `demo` and from tests only; `run` knows nothing of it.

pub mod backend;
pub mod fetch;
pub mod iam;
pub mod misbehave;
pub mod serve;
