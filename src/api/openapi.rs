//! The exchange API's description (OpenAPI 3.1), made from the same table of faults that the answers come from. It names no
//! audience: who asks for the description has shown no token.

use super::{EXCHANGE_PATH, json};
use crate::fault::{Fault, Row, Why, samples};
use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json as value};
use std::collections::BTreeMap;

/// What only a request that goes on to a backend can come to.
const ELSEWHERE: [&str; 5] = ["no_route", "misdirected", "upstream_unreachable", "upstream_error", "upstream_timeout"];

pub fn description() -> Response<Bytes> {
    json(document().to_string())
}

fn document() -> Value {
    let post = value!({
        "operationId": "exchange",
        "summary": "Exchange the caller's token for one that is good at an audience",
        "security": [{ "bearer": [] }],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Request" } } },
        },
        "responses": responses(),
    });
    value!({
        "openapi": "3.1.0",
        "info": { "title": "Cambist exchange API", "version": env!("CARGO_PKG_VERSION") },
        "paths": { EXCHANGE_PATH: { "post": post } },
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Request": request(), "Token": token(), "Problem": problem() },
        },
    })
}

fn request() -> Value {
    value!({
        "type": "object",
        "additionalProperties": false,
        "required": ["audience"],
        "properties": {
            "audience": { "type": "string", "description": "One of those that the gateway's operator has allowed." },
            "force_update": {
                "type": "boolean",
                "default": false,
                "description": "The token that was given before is no longer good: exchange anew.",
            },
        },
    })
}

fn token() -> Value {
    value!({
        "type": "object",
        "additionalProperties": false,
        "required": ["token", "token_type", "expires_in", "audience"],
        "properties": {
            "token": { "type": "string" },
            "token_type": { "const": "Bearer" },
            "expires_in": { "type": "integer", "minimum": 0, "description": "Seconds." },
            "audience": { "type": "string" },
        },
    })
}

fn problem() -> Value {
    let codes: Vec<&str> = rows().iter().map(|row| row.code).collect();
    value!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "trace_id"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "enum": codes },
            "trace_id": { "type": "string" },
        },
    })
}

fn responses() -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for row in rows() {
        by_status.entry(row.status.as_u16()).or_default().push(row.code);
    }
    let mut all = Map::new();
    let content = value!({ "application/json": { "schema": { "$ref": "#/components/schemas/Token" } } });
    all.insert("200".to_owned(), value!({ "description": "The token.", "content": content }));
    for (status, codes) in by_status {
        let content = value!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        all.insert(status.to_string(), value!({ "description": codes.join(", "), "content": content }));
    }
    all
}

fn rows() -> Vec<Row> {
    let all = samples(Why::default());
    all.iter().map(Fault::row).filter(|row| !ELSEWHERE.contains(&row.code)).collect()
}
