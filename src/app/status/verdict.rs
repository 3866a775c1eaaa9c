//! What is wrong, in words, the worst first: read off the same status that everybody sees, so that it can say nothing else. Nothing
//! wrong is an empty list.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Refusals older than this say nothing of now.
const RECENT: u64 = 600;
/// A certificate that is over within this is worth a word.
const SOON: i64 = 7 * 24 * 3600;
/// As many of a kind as are told one by one.
const MOST: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Callers are refused for it.
    Broken,
    /// They are not, or not yet.
    Doubtful,
}

struct Finding {
    weight: Weight,
    words: String,
    cure: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, weight: Weight, words: String, cure: impl Into<String>) {
        self.0.push(Finding { weight, words, cure: cure.into() });
    }
}

/// `status`: all but this.
pub(super) fn problems(status: &Value, unix: u64) -> Value {
    let mut found = Findings::default();
    if status["ready"] == false {
        let cure = "wait for the issuers' keys, or see below why they do not come; at the end of a process this is as it should be";
        found.add(Weight::Broken, "the gateway is not ready".to_owned(), cure);
    }
    config(status, &mut found);
    list(&status["issuers"]).iter().for_each(|issuer| judge_issuer(issuer, &mut found));
    list(&status["upstreams"]).iter().for_each(|upstream| judge_upstream(upstream, &mut found));
    list(&status["listeners"]).iter().for_each(|listener| certificate(listener, unix, &mut found));
    refusals(list(&status["failures"]), unix, &mut found);
    found.0.sort_by_key(|finding| finding.weight);
    let more = found.0.len().saturating_sub(MOST);
    let each = found.0.iter().take(MOST).map(|Finding { weight, words, cure }| {
        json!({ "weight": if *weight == Weight::Broken { "broken" } else { "doubtful" }, "words": words, "cure": cure })
    });
    let more =
        (more > 0).then(|| json!({ "weight": "doubtful", "words": format!("and {more} more of the kind"), "cure": "see the lists" }));
    each.chain(more).collect::<Vec<_>>().into()
}

fn config(status: &Value, found: &mut Findings) {
    let errors = list(&status["config"]["last_attempt"]["errors"]);
    if let Some(first) = errors.first() {
        let place = first["place"].as_str().map(|place| format!(" at {place}")).unwrap_or_default();
        let words =
            format!("the configuration that is written cannot be used{place}: {}; the one before stays in force", text(&first["cause"]));
        found.add(Weight::Doubtful, words, first["cure"].as_str().unwrap_or("see the configuration below"));
    }
}

fn judge_issuer(issuer: &Value, found: &mut Findings) {
    let (name, error) = (text(&issuer["name"]), text(&issuer["last_error"]["cause"]));
    let because = if error.is_empty() { String::new() } else { format!(": {error}") };
    let cure = issuer["last_error"]["cure"].as_str().unwrap_or("check that the IAM is up, well, and reachable from here");
    match text(&issuer["circuit"]) {
        "open" | "probing" => {
            found.add(Weight::Broken, format!("the issuer {name} fails again and again, and is left in peace{because}"), cure);
        }
        "paused" => {
            found.add(Weight::Broken, format!("the issuer {name} asked not to be called for a while"), "check its load and rate limits")
        }
        _ if issuer["keys_loaded"] == false && !error.is_empty() => {
            found.add(Weight::Broken, format!("the issuer {name} cannot be used{because}"), cure);
        }
        _ if issuer["up"] == false || issuer["last_error"]["goes_on"] == true => {
            found.add(Weight::Doubtful, format!("the last call to the issuer {name} got no good answer{because}"), cure);
        }
        _ => {}
    }
}

fn judge_upstream(upstream: &Value, found: &mut Findings) {
    let (name, all) = (text(&upstream["name"]), list(&upstream["endpoints"]).len());
    let good = usize::try_from(upstream["endpoints_good"].as_u64().unwrap_or(0)).unwrap_or(0);
    if all == 0 {
        if let Some(why) = upstream["why_none"].as_str() {
            found.add(Weight::Broken, format!("the upstream {name} has no endpoint: {why}"), "check the name in its url");
        }
    } else if good == 0 {
        let words = format!("no endpoint of the upstream {name} is healthy; all of them are used until one is");
        found.add(Weight::Broken, words, "check the backend, and what its health path answers");
    } else if good < all {
        let words = format!("{} of {all} endpoints of the upstream {name} get no requests", all - good);
        found.add(Weight::Doubtful, words, "check those that are unhealthy or left out");
    }
}

fn certificate(listener: &Value, unix: u64, found: &mut Findings) {
    let Some(expires) = listener["certificate_expires_at"].as_i64() else { return };
    let (name, left) = (text(&listener["name"]), expires.saturating_sub(i64::try_from(unix).unwrap_or(i64::MAX)));
    let cure = "put a new certificate in the file's place: it is read again by itself";
    if left <= 0 {
        found.add(Weight::Broken, format!("the certificate of the listener {name} has expired"), cure);
    } else if left < SOON {
        found.add(Weight::Doubtful, format!("the certificate of the listener {name} expires in {} hours", left / 3600), cure);
    }
}

/// Those that are not the callers' own doing.
fn refusals(failures: &[Value], unix: u64, found: &mut Findings) {
    let mut ours: BTreeMap<&str, (usize, &Value)> = BTreeMap::new();
    let recent = |failure: &&Value| failure["time"].as_u64().is_some_and(|at| at.saturating_add(RECENT) >= unix);
    for failure in failures.iter().filter(recent) {
        if failure["status"].as_u64().is_some_and(|status| status >= 500) {
            ours.entry(text(&failure["reason"])).or_insert((0, failure)).0 += 1;
        }
    }
    for (reason, (count, newest)) in ours {
        let times = if count == 1 { "request was".to_owned() } else { "requests were".to_owned() };
        let words = format!("{count} {times} refused in the last ten minutes ({reason}): {}", text(&newest["cause"]));
        found.add(Weight::Doubtful, words, text(&newest["cure"]));
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: &Value) -> Vec<(String, String)> {
        let problems = problems(status, 1_000_000);
        list(&problems).iter().map(|p| (text(&p["weight"]).to_owned(), text(&p["words"]).to_owned())).collect()
    }

    #[test]
    fn what_is_well_is_not_mentioned() {
        let well = json!({
            "ready": true,
            "config": { "last_attempt": { "errors": [] } },
            "issuers": [{ "name": "main", "circuit": "closed", "up": true, "keys_loaded": true,
                "last_error": { "goes_on": false, "cause": "long ago" } }, { "name": "new", "circuit": "closed", "up": null, "keys_loaded": false }],
            "upstreams": [{ "name": "a", "endpoints": [{}, {}], "endpoints_good": 2 }, { "name": "b", "endpoints": [], "endpoints_good": 0 }],
            "listeners": [{ "name": "l", "certificate_expires_at": 9_000_000 }],
            "failures": [{ "time": 999_900, "status": 401, "reason": "no_token" }, { "time": 999_000, "status": 502, "reason": "old" }],
        });
        assert_eq!(told(&well), []);
    }

    #[test]
    fn the_worst_comes_first_and_everything_has_a_word() {
        let ill = json!({
            "ready": true,
            "config": { "last_attempt": { "errors": [{ "place": "3:1", "cause": "no such key", "cure": "take it out" }] } },
            "issuers": [{ "name": "main", "circuit": "open", "last_error": { "cause": "connection refused" } }],
            "upstreams": [{ "name": "a", "endpoints": [{}, {}], "endpoints_good": 1 }, { "name": "b", "endpoints": [{}], "endpoints_good": 0 }],
            "listeners": [{ "name": "l", "certificate_expires_at": 1_003_600 }, { "name": "m", "certificate_expires_at": 5 }],
            "failures": [{ "time": 999_900, "status": 502, "reason": "upstream_error", "cause": "it broke", "cure": "mend it" }],
        });
        let words: Vec<String> = told(&ill).into_iter().map(|(weight, words)| format!("{weight}: {words}")).collect();
        assert_eq!(
            words,
            [
                "broken: the issuer main fails again and again, and is left in peace: connection refused",
                "broken: no endpoint of the upstream b is healthy; all of them are used until one is",
                "broken: the certificate of the listener m has expired",
                "doubtful: the configuration that is written cannot be used at 3:1: no such key; the one before stays in force",
                "doubtful: 1 of 2 endpoints of the upstream a get no requests",
                "doubtful: the certificate of the listener l expires in 1 hours",
                "doubtful: 1 request was refused in the last ten minutes (upstream_error): it broke",
            ]
        );
    }

    #[test]
    fn a_house_on_fire_fits_on_a_page() {
        let upstreams: Vec<Value> = (0..500).map(|n| json!({ "name": n.to_string(), "endpoints": [{}], "endpoints_good": 0 })).collect();
        let all = told(&json!({ "upstreams": upstreams }));
        assert_eq!((all.len(), &*all[MOST].1), (MOST + 1, "and 492 more of the kind"));
    }
}
