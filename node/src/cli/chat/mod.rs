//! `chat`: a person, or a program in a pipe, talks with people on any node.
//!
//! What is said and printed is decided in [`talk`]; here are the connection, the input and the
//! output. Limits: `LINE_BYTES_MAX`, `LINES_WAITING_MAX`, and the times below.

mod line;
mod show;
mod talk;

use super::ClientSettings;
use super::failure::{Exit, Failure};
use super::out::Out;
use super::serve::block_on;
use crate::config::Config;
use clap::Args;
use folkmoot::client::{Client, ClientError};
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use talk::{Next, Talk};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes of one line of input: a message of 64 KiB with what JSON adds.
const LINE_BYTES_MAX: u64 = 512 * 1024;
/// Lines that were read and not looked at.
const LINES_WAITING_MAX: usize = 64;
/// How long a connection may take, and the answer to it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which the node is asked for a sign of life; as long again, and it is given up.
const SILENCE: Duration = Duration::from_secs(20);
/// First pause before the node is tried again; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Arguments of `chat`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  folkmoot chat --as anna
  folkmoot chat --as billy --url http://127.0.0.1:3656 --room tea
  echo '{\"to\":\"billy\",\"body\":\"hi\"}' | folkmoot chat --as anna --json

Type /help for what can be typed. With --json each line in is what docs/chat.md calls send, join, leave, status or
users, without a number (without \"op\" it is send), and each line out is what the node says. When the
input ends, the program ends as soon as it is known what became of all that was sent.")]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) settings: ClientSettings,
    /// Who you are
    #[arg(long = "as", value_name = "NAME")]
    user: String,
    /// A room to enter, and to talk to at first
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
}

/// Runs `chat`.
pub(crate) fn run(config: &Config, args: ChatArgs, out: Out) -> Result<(), Failure> {
    let url = config.text("url").expect("the URL has a default").to_owned();
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the operating system has random numbers");
    let talk = Talk::new(&args.user, u64::from_le_bytes(random), args.room, out.json);
    let (lines, read) = mpsc::channel(LINES_WAITING_MAX);
    // A thread of its own: reading standard input cannot be given up.
    std::thread::spawn(move || read_lines(&mut BufReader::new(std::io::stdin()), &lines));
    block_on(Conversation { talk, out, lines: read, input: Input::Open, count: 0 }.run(&url))
}

/// Sends on each line, until the input or the program ends.
fn read_lines(input: &mut impl BufRead, lines: &mpsc::Sender<String>) {
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line).into_owned();
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

/// Why a connection is not used any more.
enum Over {
    /// All is said and settled.
    Done,
    /// It may be tried again.
    Lost(String),
}

struct Conversation {
    talk: Talk,
    out: Out,
    lines: mpsc::Receiver<String>,
    input: Input,
    /// Lines read so far.
    count: u64,
}

impl Conversation {
    /// Talks, over as many connections as it takes.
    async fn run(mut self, url: &str) -> Result<(), Failure> {
        let (mut met, mut pause) = (false, PAUSE_MIN);
        loop {
            let why = match timeout(CONNECT_TIMEOUT, Client::connect(url)).await {
                Ok(Ok(client)) => match self.hold(client).await? {
                    Over::Done => return Ok(()),
                    Over::Lost(why) => why,
                },
                Ok(Err(error)) if !met => return Err(refused(url, &error)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if self.talk.is_open() {
                (met, pause) = (true, PAUSE_MIN);
            } else if !met {
                return Err(unreachable(url).why(why));
            }
            self.talk.on_lost(&why);
            self.print()?;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Talks over one connection.
    async fn hold(&mut self, mut client: Client) -> Result<Over, Failure> {
        self.talk.on_connected();
        let mut silent = false;
        loop {
            self.print()?;
            self.talk.say.drain(..).for_each(|text| client.say(&text));
            if self.input == Input::Ended && self.talk.is_open() && self.talk.is_settled() {
                client.say("{\"op\":\"bye\"}");
                // It has all that matters.
                let _ = timeout(CONNECT_TIMEOUT, client.close()).await;
                return Ok(Over::Done);
            }
            let listens = self.input == Input::Open && self.talk.has_room();
            tokio::select! {
                heard = timeout(SILENCE, client.next()) => match heard {
                    Ok(Ok(text)) => {
                        silent = false;
                        self.talk.on_text(&text).map_err(|why| {
                            Failure::new(Exit::Refused, "the node refused").why(why)
                        })?;
                    }
                    Ok(Err(error)) => return Ok(Over::Lost(error.to_string())),
                    Err(_) if silent => return Ok(Over::Lost("it is silent".to_owned())),
                    Err(_) => {
                        silent = true;
                        client.say("{\"op\":\"ping\"}");
                    }
                },
                line = self.lines.recv(), if listens => self.take(line)?,
            }
        }
    }

    /// Takes a line in. For a program a wrong line is a failure, for a person an answer.
    fn take(&mut self, line: Option<String>) -> Result<(), Failure> {
        let Some(line) = line else {
            self.input = Input::Ended;
            return Ok(());
        };
        self.count += 1;
        let next = match line.len() as u64 > LINE_BYTES_MAX {
            true => Err(format!("a line has at most {} KiB", LINE_BYTES_MAX / 1024)),
            false => self.talk.on_line(&line),
        };
        match next {
            Ok(Next::GoOn) => {}
            Ok(Next::Quit) => self.input = Input::Ended,
            Err(why) if self.out.json => {
                let what = format!("line {} cannot be understood", self.count);
                return Err(Failure::new(Exit::Usage, what)
                    .why(why)
                    .hint("write it as {\"to\":\"billy\",\"body\":\"hi\"}: see docs/chat.md"));
            }
            Err(why) => self.talk.print.push(format!("  ({why})")),
        }
        Ok(())
    }

    fn print(&mut self) -> Result<(), Failure> {
        self.talk.print.drain(..).try_for_each(|line| self.out.line(line))
    }
}

fn refused(url: &str, error: &ClientError) -> Failure {
    match error {
        ClientError::Address(_) => Failure::new(Exit::Usage, error)
            .hint("name the URL that `folkmoot serve` printed: --url URL or FOLKMOOT_URL"),
        ClientError::Refused(why) => {
            Failure::new(Exit::Refused, format!("what answers at {url} does not let us in"))
                .why(why)
                .hint("is it a node, and of a version with chat? `folkmoot status` shows it")
        }
        error => unreachable(url).why(error),
    }
}

fn unreachable(url: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("no node answers at {url}"))
        .hint("start one with `folkmoot serve`, or name another: --url URL or FOLKMOOT_URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_to_the_end_and_long_ones_in_pieces() {
        let (send, mut lines) = mpsc::channel(8);
        let long = "x".repeat(LINE_BYTES_MAX as usize + 5);
        let text = [&b"one\n\xff two\n"[..], long.as_bytes(), b"\nlast"].concat();
        read_lines(&mut &text[..], &send);
        drop(send);
        let mut lengths = Vec::new();
        while let Ok(line) = lines.try_recv() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [4, 8, LINE_BYTES_MAX as usize + 1, 5, 4]);
    }
}
