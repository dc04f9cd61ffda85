//! Who may come in: decided from the connection and the headers, before any route.
//!
//! Promise: a page of another site can neither read nor change anything, also by making a name of
//! its own point here (DNS rebinding), and also on loopback, for loopback is no authentication.
//! Clients are answered on this machine only, unless the node is open to all. Two doors answer
//! to everybody and to any name: `/link`, which asks for the network's secret and is closed to
//! pages, and `/healthz`, which tells nothing.

use super::error::{Problem, Refusal};
use super::who::Who;
use crate::gateway::socketio;
use crate::gateway::socketio::peers::Servers;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use folkmoot_core::access::Principal;
use std::net::IpAddr;

/// Both ends of the connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) remote: std::net::SocketAddr,
    pub(crate) local: std::net::SocketAddr,
}

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Clients may come from other machines.
    pub(crate) open_clients: bool,
    /// Host names to answer to, beside `localhost` and the node's addresses.
    pub(crate) hosts: Vec<String>,
    /// Origins whose pages may use the node, as `https://example.org`.
    pub(crate) origins: Vec<String>,
    /// Original chat servers, which may come to the door of Socket.IO.
    pub(crate) servers: Option<Servers>,
}

impl Policy {
    /// Lets a request in or says why not. The answer names the origin that must be told that it
    /// may read the response, if it is not the node's own.
    pub(crate) fn check(&self, ends: Ends, head: &Parts) -> Result<Option<HeaderValue>, Refusal> {
        let headers = &head.headers;
        let path = head.uri.path();
        if path == "/link" {
            // Only browsers send an origin, and nodes are no browsers.
            let page = headers.contains_key(header::ORIGIN);
            return if page { Err(Problem::Origin.into()) } else { Ok(None) };
        }
        let open = path == "/healthz";
        let server = path == socketio::ROUTE && self.is_server(ends.remote.ip());
        if !open && !self.open_clients {
            check_local(ends.remote.ip(), server, headers)?;
        }
        let host = single(headers, &header::HOST).ok_or(Problem::Host)?;
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let known = |host: &str| self.is_own(host, ends.local.ip());
        let own = known(host) && authority.is_none_or(known);
        if !open && !own {
            return Err(Problem::Host.because(format!("{host:?}")));
        }
        let allowed = self.check_origin(host, headers)?;
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method);
        if !reads && allowed.is_none() && is_cross_site(headers) {
            return Err(Problem::CrossSite.into());
        }
        Ok(allowed)
    }

    /// On whose behalf a request that was let in is answered. Until there are accounts whoever is
    /// let in is the owner; the doors that are open to all are nobody's.
    pub(crate) fn who(&self, path: &str) -> Who {
        match path {
            "/link" | "/healthz" => Who(Principal::Anonymous),
            _ => Who(Principal::Owner),
        }
    }

    fn is_server(&self, remote: IpAddr) -> bool {
        self.servers.as_ref().is_some_and(|servers| servers.is_at(remote))
    }

    fn is_own(&self, host: &str, local: IpAddr) -> bool {
        let name = without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            let ip = ip.to_canonical();
            return ip.is_loopback() || ip == local.to_canonical() || self.names(bare);
        }
        self.names(name)
    }

    fn names(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn check_origin(
        &self,
        host: &str,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, Refusal> {
        let Some(value) = headers.get(header::ORIGIN) else { return Ok(None) };
        let origin = single(headers, &header::ORIGIN).ok_or(Problem::Origin)?;
        let own = ["http://", "https://"].iter().any(|scheme| {
            origin.strip_prefix(scheme).is_some_and(|at| at.eq_ignore_ascii_case(host))
        });
        if own {
            return Ok(None);
        }
        match self.origins.iter().any(|allowed| allowed == origin) {
            true => Ok(Some(value.clone())),
            false => Err(Problem::Origin.because(format!("{origin:?}"))),
        }
    }
}

/// Whether a request comes from this machine, or from a server where a server is at `remote`.
fn check_local(remote: IpAddr, server: bool, headers: &HeaderMap) -> Result<(), Refusal> {
    if !server && !remote.to_canonical().is_loopback() {
        return Err(Problem::NotLocal.because(format!("this request comes from {remote}")));
    }
    // A proxy on this machine speaks for clients elsewhere, also where a server is on it.
    for name in ["forwarded", "x-forwarded-for"] {
        if headers.contains_key(name) {
            let detail = format!("this request came through a proxy, see its {name} header");
            return Err(Problem::NotLocal.because(detail));
        }
    }
    Ok(())
}

/// Whether a browser says that another site made the request.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !matches!(site, None | Some(b"same-origin" | b"none"))
}

/// The header's value, if it is there once and is text.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

fn without_port(host: &str) -> &str {
    if let Some(end) = host.find(']') {
        let (name, port) = host.split_at(end + 1);
        return if port.is_empty() || is_port(port) { name } else { host };
    }
    match host.split_once(':') {
        Some((name, _)) if is_port(&host[name.len()..]) => name,
        _ => host,
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
