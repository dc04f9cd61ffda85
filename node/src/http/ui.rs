//! `/` for browsers and `/ui/...`: the pages of `web/`, compiled in.
//!
//! Promise: nothing is run or loaded that is not of this node: the policy below allows no inline
//! script, no foreign address, no form, and no `<base>`. Only the page that shows four clients
//! side by side may show other pages, those of nodes on this machine; and only pages on this
//! machine may show these in a frame, and only where the node was asked on a loopback address.
//! Limits: `FILES`.

use super::guard::Ends;
use axum::extract::{Extension, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// What a page may do, whatever is on it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'";
/// Pages of nodes on this machine, whatever their ports.
const THIS_MACHINE: &str = "'self' http://127.0.0.1:* http://localhost:*";
/// The page that shows others.
const FRAMES: &str = "four.html";

/// A file and its bytes.
type File = (&'static str, &'static [u8]);

/// Every file there is; a test holds the list against the folder.
#[rustfmt::skip]
pub(super) const FILES: [File; 22] = [
    ("chat.js",      include_bytes!("../../../web/chat.js")),
    ("data.js",      include_bytes!("../../../web/data.js")),
    ("dom.js",       include_bytes!("../../../web/dom.js")),
    ("four.html",    include_bytes!("../../../web/four.html")),
    ("four.js",      include_bytes!("../../../web/four.js")),
    ("icon.svg",     include_bytes!("../../../web/icon.svg")),
    ("identity.js",  include_bytes!("../../../web/identity.js")),
    ("index.html",   include_bytes!("../../../web/index.html")),
    ("json.js",      include_bytes!("../../../web/json.js")),
    ("layout.js",    include_bytes!("../../../web/layout.js")),
    ("main.js",      include_bytes!("../../../web/main.js")),
    ("mesh.js",      include_bytes!("../../../web/mesh.js")),
    ("outbox.js",    include_bytes!("../../../web/outbox.js")),
    ("sections.css", include_bytes!("../../../web/sections.css")),
    ("shell.css",    include_bytes!("../../../web/shell.css")),
    ("sidebar.js",   include_bytes!("../../../web/sidebar.js")),
    ("socket.js",    include_bytes!("../../../web/socket.js")),
    ("store.js",     include_bytes!("../../../web/store.js")),
    ("talk.js",      include_bytes!("../../../web/talk.js")),
    ("theme.js",     include_bytes!("../../../web/theme.js")),
    ("value.js",     include_bytes!("../../../web/value.js")),
    ("watch.js",     include_bytes!("../../../web/watch.js")),
];

/// Whether a client would rather see a page than read text: browsers say so, curl does not.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

/// One file; its path is text as it is written in links, without escapes.
pub(super) async fn get(Extension(ends): Extension<Ends>, request: Request) -> Response {
    let name = super::rest_of(&request, "/ui/");
    match FILES.iter().find(|(known, _)| *known == name) {
        Some(file) => respond(*file, ends, request.headers()),
        None => super::no_route(request).await,
    }
}

/// The shell.
pub(super) fn index(ends: Ends, headers: &HeaderMap) -> Response {
    let index = FILES.iter().find(|(name, _)| *name == "index.html");
    respond(*index.expect("it is in the list"), ends, headers)
}

fn respond((name, bytes): File, ends: Ends, asked: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..16]);
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match known.is_some_and(|known| known.contains(&tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Bytes::from_static(bytes).into_response(),
    };
    let text = |text: &str| HeaderValue::from_str(text).expect("printable ASCII");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind_of(name)));
    headers.insert(header::ETAG, text(&tag));
    headers.insert(header::CONTENT_SECURITY_POLICY, text(&policy(name, ends)));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener, HeaderValue::from_static("same-origin"));
    if name == "index.html" {
        // Two answers live at `/`.
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
    }
    response
}

fn policy(name: &str, ends: Ends) -> String {
    let loopback = ends.local.ip().to_canonical().is_loopback();
    let ancestors = if loopback { THIS_MACHINE } else { "'self'" };
    let frames = if name == FRAMES && loopback { THIS_MACHINE } else { "'none'" };
    format!("{POLICY}; frame-src {frames}; frame-ancestors {ancestors}")
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// Ways for a text to become markup or code.
    const BANNED: [&str; 9] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "srcdoc",
        "eval(",
        "new Function",
        "javascript:",
    ];

    fn text_of(name: &str) -> &'static str {
        let file = FILES.iter().find(|(known, _)| *known == name);
        std::str::from_utf8(file.unwrap().1).unwrap()
    }

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../web");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut there: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        assert_eq!(FILES.map(|(name, _)| name).to_vec(), there);
    }

    #[test]
    fn no_text_can_become_markup_or_code() {
        for (name, _) in FILES {
            let text = text_of(name);
            for word in BANNED {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn pages_have_nothing_inline_and_nothing_from_elsewhere() {
        for name in ["index.html", "four.html"] {
            let page = text_of(name);
            assert!(!page.contains("<style") && !page.contains(" style="), "{name}");
            assert!(!page.contains("://"), "{name}");
            assert!(!page.split_whitespace().any(|word| word.starts_with("on")), "{name}");
            for script in page.split("<script").skip(1) {
                let (tag, inside) = script.split_once('>').unwrap();
                assert!(tag.contains("src=\"/ui/") && inside.starts_with("</script>"), "{name}");
            }
        }
        for (name, _) in FILES.iter().filter(|(name, _)| name.ends_with(".css")) {
            assert!(
                !text_of(name).contains("url(") && !text_of(name).contains("@import"),
                "{name}"
            );
        }
    }

    #[test]
    fn every_module_opens_with_a_card_and_imports_what_is_there() {
        for (name, _) in FILES.iter().filter(|(name, _)| name.ends_with(".js")) {
            let text = text_of(name);
            assert!(text.starts_with("// "), "{name}");
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let from = line.split("'./").nth(1).and_then(|rest| rest.split('\'').next());
                let from = from.unwrap_or_else(|| panic!("{name}: {line}"));
                assert!(FILES.iter().any(|(known, _)| *known == from), "{name}: {from}");
            }
        }
    }

    #[test]
    fn only_pages_of_this_machine_may_frame_and_only_there() {
        let ends = |text: &str| {
            let local: SocketAddr = text.parse().unwrap();
            Ends { remote: local, local }
        };
        let near = policy("index.html", ends("127.0.0.1:3655"));
        assert!(near.contains("frame-src 'none'"), "{near}");
        assert!(near.ends_with("frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"));
        let far = policy("four.html", ends("192.0.2.7:3655"));
        assert!(far.ends_with("frame-src 'none'; frame-ancestors 'self'"), "{far}");
        let four = policy("four.html", ends("[::ffff:127.0.0.1]:3655"));
        assert!(four.contains("frame-src 'self' http://127.0.0.1:*"), "{four}");
    }
}
