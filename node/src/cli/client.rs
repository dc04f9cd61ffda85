//! A client of a running node: its `/v1` API over HTTP.

use super::failure::{Exit, Failure};
use crate::config::Config;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Read;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Method, Request, Response};

/// How long a connection to the node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one answer: a page of 1,000 values of 256 KiB, with what JSON escaping adds.
const ANSWER_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The client. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// Bytes of one answer.
    answer_bytes_max: u64,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// One row of shared data.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) value: Box<RawValue>,
}

/// One page of a scan.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Page {
    pub(crate) items: Vec<Row>,
    /// Where the next page begins; absent at the end.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
}

impl Client {
    /// A client of the node that the configuration names.
    pub(crate) fn new(config: &Config) -> Client {
        Client::at(config.text("url").expect("the URL has a default"))
    }

    /// A client of the node at `base`.
    pub(crate) fn at(base: &str) -> Client {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_idle_connections_per_host(16)
            .build();
        let base = base.trim_end_matches('/').to_string();
        Client { agent: agent.into(), base, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    /// Asks and reads the whole answer, whatever its status.
    pub(crate) fn ask(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let response = self.send(method, target, headers, body, Some(ANSWER_TIMEOUT))?;
        let status = response.status().as_u16();
        let etag = response.headers().get("etag").and_then(|value| value.to_str().ok());
        let etag = etag.map(str::to_string);
        let body = self.read(response)?;
        Ok(Answer { status, etag, body })
    }

    /// Asks and expects success with JSON.
    pub(crate) fn json(&self, method: Method, target: &str, body: &[u8]) -> Result<Value, Failure> {
        self.ask(method, target, &[], body)?.into_json(&self.base)
    }

    /// Opens an answer without end, to be read as it comes.
    pub(crate) fn open(
        &self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<impl Read + use<>, Failure> {
        let response = self.send(Method::GET, target, headers, &[], None)?;
        let status = response.status().as_u16();
        if status != 200 {
            let body = self.read(response)?;
            return Err(Answer { status, etag: None, body }.failure());
        }
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// One page of the data below `prefix`.
    pub(crate) fn page(
        &self,
        prefix: &str,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page, Failure> {
        let mut target = format!("/v1/data?prefix={}&limit={limit}", encode(prefix, false));
        if let Some(cursor) = cursor {
            target += &format!("&cursor={}", encode(cursor, false));
        }
        let answer = self.ask(Method::GET, &target, &[], &[])?;
        if answer.status != 200 {
            return Err(answer.failure());
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.strange(&error))
    }

    fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Response<ureq::Body>, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(body).map_err(|error| {
            Failure::new(Exit::Usage, format!("cannot ask {} for {target}", self.base)).why(error)
        })?;
        let request = self.agent.configure_request(request).timeout_global(timeout).build();
        self.agent.run(request).map_err(|error| self.lost(&error))
    }

    /// Reads an answer whole.
    fn read(&self, response: Response<ureq::Body>) -> Result<Vec<u8>, Failure> {
        // The library fails once so many bytes are read, also if they were the last.
        let limit = self.answer_bytes_max + 1;
        let body = response.into_body().into_with_config().limit(limit).read_to_vec();
        body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                let what = format!("the answer of {} is too large", self.base);
                let why = format!("it has more than {} bytes", self.answer_bytes_max);
                Failure::new(Exit::Failed, what).why(why)
            }
            error => self.lost(&error),
        })
    }

    fn lost(&self, error: &ureq::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("no node answers at {}", self.base))
            .why(error)
            .hint("start one with `folkmoot serve`, or name another: --url URL or FOLKMOOT_URL")
    }

    fn strange(&self, error: &serde_json::Error) -> Failure {
        Failure::new(Exit::Unreachable, format!("what answers at {} is no node", self.base))
            .why(error)
            .hint("name the URL that `folkmoot serve` printed: --url URL or FOLKMOOT_URL")
    }
}

impl Answer {
    /// The JSON of a success; a failure otherwise.
    pub(crate) fn into_json(self, base: &str) -> Result<Value, Failure> {
        if !(200..300).contains(&self.status) {
            return Err(self.failure());
        }
        serde_json::from_slice(&self.body).map_err(|error| Client::at(base).strange(&error))
    }

    /// What the node said when it refused.
    pub(crate) fn failure(&self) -> Failure {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let why = match json["detail"].as_str() {
            Some(sentence) => sentence.to_string(),
            None => String::from_utf8_lossy(&self.body).trim().to_string(),
        };
        let name = json["error"].as_str().map_or_else(|| self.status.to_string(), str::to_string);
        let exit = if self.status == 404 { Exit::NotFound } else { Exit::Refused };
        let mut failure = Failure::new(exit, format!("the node refused: {name}")).why(why);
        failure.item = json["item"].as_u64().and_then(|item| usize::try_from(item).ok());
        failure
    }
}

/// The target of a path of shared data.
pub(crate) fn data_target(path: &str) -> String {
    format!("/v1/data/{}", encode(path, true))
}

/// Percent-encodes all but what stands for itself, and slashes if they shall stay.
pub(crate) fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keep_slash => encoded.push('/'),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn an_answer_of_so_many_bytes_is_read_and_a_larger_one_is_told_as_such() {
        for length in ["content-length: 9\r\n", ""] {
            for (max, is_read) in [(9, true), (8, false)] {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let base = format!("http://{}", listener.local_addr().unwrap());
                let node = std::thread::spawn(move || {
                    let (mut tcp, _) = listener.accept().unwrap();
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") {
                        let mut byte = [0; 1];
                        tcp.read_exact(&mut byte).unwrap();
                        asked.extend(byte);
                    }
                    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\n");
                    tcp.write_all(format!("{head}nine byte").as_bytes()).unwrap();
                });
                let client = Client { answer_bytes_max: max, ..Client::at(&base) };
                match client.ask(Method::GET, "/", &[], &[]) {
                    Ok(answer) => assert!(is_read && answer.body == b"nine byte"),
                    Err(failure) => {
                        let told = "is too large\n  why: it has more than 8 bytes";
                        assert!(!is_read && failure.to_string().ends_with(told), "{failure}");
                    }
                }
                node.join().unwrap();
            }
        }
        assert_eq!(Client::at("").answer_bytes_max, ANSWER_BYTES_MAX);
    }

    #[test]
    fn a_path_is_encoded_segment_by_segment() {
        assert_eq!(data_target("a b/é?"), "/v1/data/a%20b/%C3%A9%3F");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }

    #[test]
    fn what_the_node_said_is_told_in_any_form() {
        for body in [r#"{"error":"path_too_long","detail":"too long","item":3}"#, "too long"] {
            let failure = Answer { status: 400, etag: None, body: body.into() }.failure();
            assert!(failure.to_string().contains("too long"), "{body}");
            assert_eq!(failure.item, body.starts_with('{').then_some(3));
        }
    }
}
