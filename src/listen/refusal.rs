//! The one answer to a head that the guard refused. It is written when no other is under way, past hyper, and ends the connection.

use crate::fault::{Fault, Why};

/// What the caller is told; `trace` leads to the line in the log that holds the cause.
pub(super) fn answer(trace: u128) -> Vec<u8> {
    let row = Fault::BadRequest(Why::default().into()).row();
    let (status, title, detail, code) = (row.status.as_u16(), row.title, row.detail, row.code);
    // The table's texts need no escaping.
    let body = format!(
        r#"{{"type":"urn:cambist:fault:{code}","title":"{title}","status":{status},"detail":"{detail}","code":"{code}","trace_id":"{trace:032x}"}}"#
    );
    format!(
        "HTTP/1.1 {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}",
        row.status,
        body.len()
    )
    .into_bytes()
}
