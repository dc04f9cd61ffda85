//! The matrix of Host, Origin, method, site and address.

use super::*;
use axum::http::{Request, StatusCode};
use std::net::SocketAddr;

/// How a request of the table differs from a plain local one.
struct Case {
    method: &'static str,
    uri: &'static str,
    remote: &'static str,
    local: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

fn get(uri: &'static str) -> Case {
    let (remote, local) = ("127.0.0.1:5000", "127.0.0.1:3655");
    Case { method: "GET", uri, remote, local, headers: vec![("host", "127.0.0.1:3655")] }
}

impl Case {
    fn method(self, method: &'static str) -> Case {
        Case { method, ..self }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Case {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }

    fn between(self, remote: &'static str, local: &'static str) -> Case {
        Case { remote, local, ..self }
    }

    fn check(&self, policy: &Policy) -> Result<Option<HeaderValue>, Refusal> {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        policy.check(Ends { remote: end(self.remote), local: end(self.local) }, &head)
    }

    fn problem(&self, policy: &Policy) -> Option<Problem> {
        self.check(policy).err().and_then(|refusal| refusal.problem())
    }
}

#[test]
fn own_names_are_answered_and_no_others() {
    let policy = Policy { hosts: vec!["folk.example".into()], ..Policy::default() };
    for host in
        ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "[::1]:3655", "folk.example:443"]
    {
        assert_eq!(get("/v1/status").with("host", host).problem(&policy), None, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.0.9",
        "[::2]",
        "",
        "localhost:x",
        "localhost@evil.example",
        "[::1]evil.example",
        "folk.example.evil.example",
    ] {
        let problem = get("/v1/status").with("host", host).problem(&policy);
        assert_eq!(problem, Some(Problem::Host), "{host}");
    }
}

#[test]
fn a_request_names_its_host_exactly_once() {
    let mut case = get("/v1/status");
    case.headers.push(("host", "127.0.0.1:3655"));
    assert_eq!(case.problem(&Policy::default()), Some(Problem::Host));
    case.headers.clear();
    assert_eq!(case.problem(&Policy::default()), Some(Problem::Host));
    let absolute = get("http://evil.example/v1/status");
    assert_eq!(absolute.problem(&Policy::default()), Some(Problem::Host));
    assert_eq!(get("http://localhost/v1/status").problem(&Policy::default()), None);
}

#[test]
fn the_address_that_was_connected_to_is_a_name_of_its_own() {
    let policy = Policy { open_clients: true, ..Policy::default() };
    let case = get("/v1/status").between("192.168.0.7:5000", "192.168.0.9:3655");
    assert_eq!(case.with("host", "192.168.0.9:3655").problem(&policy), None);
    let case = get("/v1/status").between("192.168.0.7:5000", "[::ffff:192.168.0.9]:3655");
    assert_eq!(case.with("host", "192.168.0.9:3655").problem(&policy), None);
}

#[test]
fn only_pages_of_the_node_itself_and_of_allowed_origins_get_in() {
    let policy = Policy { origins: vec!["https://folk.example".into()], ..Policy::default() };
    for method in ["GET", "PUT", "DELETE", "POST", "OPTIONS"] {
        let case = |origin| get("/v1/data/a").method(method).with("origin", origin);
        assert_eq!(case("http://127.0.0.1:3655").problem(&policy), None);
        let allowed = case("https://folk.example").check(&policy).unwrap();
        assert_eq!(allowed.unwrap(), "https://folk.example");
        for origin in [
            "null",
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:3656",
            "http://localhost:3655",
            "https://evil.example",
            "http://folk.example",
            "https://folk.example.evil.example",
        ] {
            assert_eq!(case(origin).problem(&policy), Some(Problem::Origin), "{origin}");
        }
    }
}

#[test]
fn a_page_of_another_site_may_change_nothing() {
    let policy = Policy::default();
    for (site, refused) in
        [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)]
    {
        for method in ["PUT", "POST", "DELETE", "PATCH"] {
            let problem =
                get("/v1/data/a").method(method).with("sec-fetch-site", site).problem(&policy);
            assert_eq!(problem == Some(Problem::CrossSite), refused, "{method} {site}");
        }
        let case = get("/v1/data/a").with("sec-fetch-site", site);
        assert_eq!(case.problem(&policy), None, "reading is settled by the origin");
    }
}

#[test]
fn clients_elsewhere_are_answered_only_by_an_open_node() {
    let away = |uri| {
        let case = get(uri).between("192.168.0.7:5000", "192.168.0.9:3655");
        case.with("host", "192.168.0.9:3655")
    };
    let (closed, open) = (Policy::default(), Policy { open_clients: true, ..Policy::default() });
    for uri in ["/", "/api/a", "/v1/data/a", "/v1/watch", "/metrics", "/readyz", "/x", "//link"] {
        assert_eq!(away(uri).problem(&closed), Some(Problem::NotLocal), "{uri}");
        assert_eq!(away(uri).problem(&open), None, "{uri}");
    }
    for uri in ["/link", "/healthz"] {
        assert_eq!(away(uri).problem(&closed), None, "{uri}");
        assert_eq!(away(uri).with("host", "node-a").problem(&closed), None, "{uri}");
    }
    let mapped = get("/").between("[::ffff:127.0.0.1]:5000", "[::ffff:127.0.0.1]:3655");
    assert_eq!(mapped.problem(&closed), None);
}

#[test]
fn a_proxy_on_this_machine_does_not_make_its_clients_local() {
    let closed = Policy::default();
    for (name, value) in [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.1")] {
        let case = get("/v1/data/a").with(name, value);
        assert_eq!(case.problem(&closed), Some(Problem::NotLocal));
        let open = Policy { open_clients: true, ..Policy::default() };
        assert_eq!(case.problem(&open), None);
    }
}

#[test]
fn no_page_opens_a_link() {
    for origin in ["http://127.0.0.1:3655", "https://evil.example", "null"] {
        let refusal = get("/link").with("origin", origin).check(&Policy::default()).unwrap_err();
        assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
    }
}

#[test]
fn listed_chat_servers_get_to_the_door_of_socket_io_and_no_further() {
    let list = r#"{"servers":[{"id":"a","ip":"127.0.0.1","port":1},
        {"id":"b","ip":"10.0.0.2","port":2},{"id":"c","ip":"127.0.0.1","port":3}]}"#;
    let servers = Some(Servers::read(list, "a").unwrap());
    let policy = Policy { servers, ..Policy::default() };
    let case =
        |uri, remote| get(uri).with("host", "10.0.0.1:3655").between(remote, "10.0.0.1:3655");
    let from = |uri, remote| case(uri, remote).problem(&policy);
    let refused = Some(Problem::NotLocal);
    assert_eq!(from("/socket.io/?EIO=3", "10.0.0.2:5000"), None);
    assert_eq!(from("/v1/status", "10.0.0.2:5000"), refused);
    assert_eq!(from("/socket.io/?EIO=3", "10.0.0.3:5000"), refused);
    // Where a server is, a proxy may be too.
    for remote in ["127.0.0.1:5000", "10.0.0.2:5000"] {
        assert_eq!(from("/socket.io/?EIO=3", remote), None);
        for header in ["x-forwarded-for", "forwarded"] {
            let proxied = case("/socket.io/?EIO=3", remote).with(header, "203.0.113.1");
            assert_eq!(proxied.problem(&policy), refused, "{remote} {header}");
        }
    }
}
