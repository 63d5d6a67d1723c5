//! `headway views subscribe`: the changes of a running job's views, as the job commits them.
//!
//! A client of `GET /v1/events` (`src/serve/events.rs`). It prints a commit when that is complete, as one line, and comes back
//! with the id of the last one when the connection is lost: no commit is missed, none is printed twice.

use crate::cli::client::{self, Client, escaped, line};
use crate::cli::terminal::failure::{Code, Failure};
use clap::Args;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait before a server is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What `views subscribe` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Subscribe {
    /// The job's address, as --listen names it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    from: String,
    /// Only these views
    #[arg(value_name = "VIEW")]
    views: Vec<String>,
    /// Begin after this commit; without it, with all rows there are
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// End after N commits
    #[arg(short = 'n', long, value_name = "N")]
    commits: Option<u64>,
    /// A file with the token of the job
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What was seen of a commit.
#[derive(Debug, Default)]
struct Commit {
    is_reset: bool,
    parts: Vec<Value>,
}

/// Where a subscription stands.
#[derive(Debug, Default)]
struct Place {
    /// The last commit that was printed.
    last: Option<String>,
    commits: u64,
}

/// An event of the stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    id: Option<String>,
    data: String,
}

/// Why a connection ended.
enum End {
    /// As many commits as were asked for have come.
    Enough,
    /// It broke, or the server closed it.
    Lost,
}

/// Prints commits until there were enough.
///
/// # Errors
/// Exit 3 if the server cannot be reached at the start; exit 2 if it refuses.
pub(crate) fn run(flags: &Subscribe, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client { from: flags.from.clone(), token: client::token(flags.token_file.as_ref())? };
    let mut place = Place { last: flags.after.clone(), commits: 0 };
    let mut is_new = true;
    loop {
        match open(&client, &flags.views, place.last.as_deref()) {
            Ok(stream) => {
                is_new = false;
                if let End::Enough = follow(stream, flags.commits, &mut place, out)? {
                    return Ok(());
                }
                tracing::warn!(event = "disconnected", "the job does not answer any more; asks again");
            }
            // A job that restarts is waited for.
            Err(failure) if is_new || failure.exit() != Code::ServerUnreachable.exit() as u8 => {
                return Err(failure);
            }
            Err(_) => {}
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

/// Opens a stream of events that begins after commit `last`.
fn open(client: &Client, names: &[String], last: Option<&str>) -> Result<BufReader<TcpStream>, Failure> {
    let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
    let path = format!("/v1/events?snapshot=true{}", views(names));
    client.open(&path, &format!("Accept: text/event-stream\r\n{last}"))
}

/// The views as a part of the query.
fn views(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!("&views={}", names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(","))
}

/// Prints what `stream` brings.
fn follow(
    mut stream: impl BufRead,
    most: Option<u64>,
    place: &mut Place,
    out: &mut dyn Write,
) -> Result<End, Failure> {
    let mut commit = Commit::default();
    // What was seen of a commit when the connection breaks comes again: it is forgotten here.
    while let Ok(Some(event)) = event(&mut stream) {
        match event.name.as_str() {
            "reset" => commit = Commit { is_reset: true, parts: Vec::new() },
            "snapshot" | "change" => commit.parts.extend(serde_json::from_str::<Value>(&event.data)),
            "commit" => {
                let Some(id) = event.id else { continue };
                let about: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let complete = std::mem::take(&mut commit);
                writeln!(out, "{}", complete.line(&id, &about))?;
                out.flush()?;
                (place.last, place.commits) = (Some(id), place.commits + 1);
                if most == Some(place.commits) {
                    return Ok(End::Enough);
                }
            }
            "lagged" => return Ok(End::Lost),
            _ => {}
        }
    }
    Ok(End::Lost)
}

impl Commit {
    fn line(self, id: &str, about: &Value) -> Value {
        json!({
            "schema_version": 1,
            "id": id,
            "seq": about["seq"],
            "watermark": about["watermark"],
            "reset": self.is_reset,
            "changes": self.parts,
        })
    }
}

/// The next event; `None` at the end.
fn event(stream: &mut impl BufRead) -> io::Result<Option<Event>> {
    let mut event = Event::default();
    while let Some(line) = line(stream)? {
        match line.split_once(": ") {
            Some(("event", name)) => event.name = name.to_string(),
            Some(("id", id)) => event.id = Some(id.to_string()),
            Some(("data", data)) => event.data += data,
            None if line.is_empty() && !event.name.is_empty() => return Ok(Some(event)),
            Some(_) | None => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(text: &str, place: &mut Place) -> Vec<Value> {
        let mut out = Vec::new();
        follow(text.as_bytes(), None, place, &mut out).expect("memory takes every line");
        out.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    #[test]
    fn commit_is_printed_when_it_is_complete_and_forgotten_when_it_is_cut() {
        let mut place = Place::default();
        let snapshot = "event: snapshot\ndata: {\"view\":\"v\",\"rows\":[]}\n\n";
        let commit = |seq: u64| format!("event: commit\nid: {seq}-aaaaaaaa\ndata: {{\"seq\":{seq}}}\n\n");
        let change = "event: change\ndata: {\"view\":\"v\",\"come\":[1]}\n\n";
        let lines = followed(&format!("retry: 1000\n\n{snapshot}{}{change}", commit(4)), &mut place);
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["seq"], lines[0]["changes"].as_array().map(Vec::len)), (&4.into(), Some(1)));
        assert_eq!(place.last.as_deref(), Some("4-aaaaaaaa"), "it comes back here");
        let lines = followed(&format!("{change}{change}{}", commit(5)), &mut place);
        assert_eq!(lines[0]["changes"].as_array().map(Vec::len), Some(2), "what was cut off counts no more");
        let lines =
            followed(&format!("{change}event: reset\ndata: {{}}\n\n{snapshot}{}", commit(9)), &mut place);
        assert_eq!(
            (&lines[0]["reset"], lines[0]["changes"].as_array().map(Vec::len)),
            (&true.into(), Some(1))
        );
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(views(&["a_b".to_string(), "x&y=z,\r\n".to_string()]), "&views=a_b,x%26y%3dz%2c%0d%0a");
        assert_eq!(views(&[]), "");
    }
}
