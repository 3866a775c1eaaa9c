//! Whether a text that must not go on stands anywhere in a request's head, however it is written. It knows nothing of whose it is.

use super::path;
use http::request::Parts;

/// Whether `token` stands anywhere in a request's head, escaped or not: a custom header, a cookie, the query (RFC 6750 §2.3). To be
/// asked once `Authorization` is out.
pub fn holds(head: &Parts, token: &str) -> bool {
    let stands_in = |text: &[u8]| String::from_utf8_lossy(text).contains(token);
    // Nearly every value is shorter than a token, so that hardly anything is really searched.
    let found = |text: &[u8]| {
        let escaped = || text.contains(&b'%') && path::unescaped(text).is_none_or(|text| stands_in(&text));
        text.len() >= token.len() && (stands_in(text) || escaped())
    };
    head.headers.values().any(|v| found(v.as_bytes())) || head.uri.path_and_query().is_some_and(|p| found(p.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_however_it_is_escaped() {
        let token = "eyJ.a-b_c";
        let held = |target: &str, cookie: &'static str| {
            let request = http::Request::get(target).header("cookie", cookie).body(()).unwrap();
            holds(&request.into_parts().0, token)
        };
        for target in ["/?t=eyJ.a-b_c", "/?t=eyJ%2Ea-b_c", "/?t=%65yJ%252Ea-b_c", "/eyJ%2ea-b_c/x", "/?%252525252525252525"] {
            assert!(held(target, "x"), "{target}");
        }
        assert!(held("/", "a=1; t=eyJ%2Ea%2Db_c") && !held("/?t=eyJ%2Ea-b_d&u=100%", "a=%; b=%zz"));
    }
}
