//! The status page: one page, one style, one script and a sign, part of the program. They are the same for everybody and hold no data:
//! the script asks for the status as anybody else would. Nothing from elsewhere is loaded, and nothing the script shows can become code.

use super::answer::{Answer, answer};
use http::{HeaderValue, StatusCode, header};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Path, kind, text.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("/page.svg", "image/svg+xml", include_str!("page/page.svg")),
];

/// `None`: nothing of the page is at this path.
pub(super) fn at(path: &str) -> Option<Answer> {
    let (_, kind, text) = FILES.iter().find(|(at, ..)| *at == path)?;
    let mut page = answer(StatusCode::OK, kind, *text);
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        FILES.iter().find(|(at, ..)| *at == path).unwrap().2
    }

    #[test]
    fn the_script_makes_no_code_out_of_text_and_nothing_comes_from_elsewhere() {
        let (page, script) = (text("/"), text("/page.js"));
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
            "localStorage",
            "sessionStorage",
            "document.cookie",
        ] {
            assert!(!script.contains(way), "{way}");
        }
        for inline in ["<style", " style=", "javascript:", " onclick", " onload", " onerror"] {
            assert!(!page.contains(inline), "{inline}");
        }
        assert_eq!((page.matches("<script").count(), page.matches("<script src=\"/page.js\"").count()), (1, 1));
        for (path, _, text) in FILES {
            let names = text.replace("http://www.w3.org/2000/svg", "").replace("http://localhost", "");
            assert!(
                !names.contains("http://") && !names.contains("https://") && !names.contains("@import") && !names.contains("url("),
                "{path}"
            );
        }
    }
}
