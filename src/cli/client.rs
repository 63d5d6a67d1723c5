//! What commands ask a running job over HTTP: one request a connection, as the server of `--listen` answers it.

use super::settings::secret;
use super::terminal::failure::{Code, Failure};
use super::terminal::text::visible;
use clap::Args;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// Without a sign of life for so long the connection is given up: `progress` comes every five seconds.
const SILENT_MAX: Duration = Duration::from_secs(20);

/// The longest line of an answer: parts of events are far shorter.
const LINE_MAX: u64 = 64 << 20;

/// A running job that a command asks in place of the files in its lake.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub(super) struct Served {
    /// Ask the running job at ADDRESS, as --listen names it, in place of the files in the lake
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["config", "lake", "job"])]
    pub(super) from: Option<String>,
    /// A file with the token of the job
    #[arg(long, value_name = "FILE", requires = "from")]
    token_file: Option<PathBuf>,
}

impl Served {
    /// The job, if one is to be asked.
    ///
    /// # Errors
    /// Exit 2 if the file of the token cannot be used.
    pub(super) fn client(&self) -> Result<Option<Client>, Failure> {
        let Some(from) = &self.from else { return Ok(None) };
        Ok(Some(Client { from: from.clone(), token: token(self.token_file.as_ref())? }))
    }
}

/// The token in the file that `--token-file` names.
///
/// # Errors
/// Exit 2 if it cannot be used.
pub(super) fn token(file: Option<&PathBuf>) -> Result<Option<String>, Failure> {
    let token = file.map(|path| secret::of_file("--token-file", path)).transpose()?;
    Ok(token.map(|token| token.trim().to_string()))
}

/// A running job at an address.
pub(super) struct Client {
    pub(super) from: String,
    pub(super) token: Option<String>,
}

impl Client {
    /// Asks for `path` with `headers`, each with its end; gives what follows the head of the answer.
    ///
    /// # Errors
    /// Exit 3 if the server cannot be reached; exit 2 if it refuses.
    pub(super) fn open(&self, path: &str, headers: &str) -> Result<BufReader<TcpStream>, Failure> {
        let address = self.from.strip_prefix("http://").unwrap_or(&self.from).trim_end_matches('/');
        let address =
            if address.contains(':') { address.to_string() } else { format!("127.0.0.1:{address}") };
        let unreachable = |error: io::Error| unreachable(&address, &error);
        let found = address.to_socket_addrs().map_err(unreachable)?.next();
        let found = found.ok_or_else(|| unreachable(io::ErrorKind::NotFound.into()))?;
        let stream = TcpStream::connect_timeout(&found, Duration::from_secs(10)).map_err(unreachable)?;
        stream.set_read_timeout(Some(SILENT_MAX)).map_err(unreachable)?;
        let mut request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}");
        self.token.iter().for_each(|token| request += &format!("Authorization: Bearer {token}\r\n"));
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(format!("{request}\r\n").as_bytes()).map_err(unreachable)?;
        let status = line(&mut stream).map_err(unreachable)?.unwrap_or_default();
        while line(&mut stream).map_err(unreachable)?.is_some_and(|line| !line.is_empty()) {}
        if status.split(' ').nth(1) == Some("200") {
            return Ok(stream);
        }
        let mut answer = String::new();
        // What cannot be read is not shown.
        let _ = stream.take(LINE_MAX).read_to_string(&mut answer);
        Err(refused(&status, &serde_json::from_str(&answer).unwrap_or_default()))
    }

    /// The JSON that the job answers for `path`.
    ///
    /// # Errors
    /// As [`Client::open`]; exit 3, too, if the answer ends early.
    pub(super) fn json(&self, path: &str) -> Result<Value, Failure> {
        let stream = self.open(path, "Accept: application/json\r\n")?;
        serde_json::from_reader(stream).map_err(|error| unreachable(&self.from, &error.into()))
    }
}

fn unreachable(address: &str, error: &io::Error) -> Failure {
    Failure::new(Code::ServerUnreachable, format!("could not reach a job at \"{}\"", visible(address)))
        .detail(format!("The system says: {error}."))
}

/// What a server said that does not give what was asked for.
fn refused(status: &str, answer: &Value) -> Failure {
    let said = answer["error"]
        .as_str()
        .map_or_else(|| visible(status).into_owned(), |said| visible(said).into_owned());
    let is_away = status.split(' ').nth(1) == Some("503");
    let code = if is_away { Code::ServerUnreachable } else { Code::ServerRefused };
    let failure = Failure::new(code, format!("the job refuses: {said}"));
    match answer["hint"].as_str() {
        Some(hint) => failure.hint(visible(hint).into_owned()),
        None => failure,
    }
}

/// A name as a part of a path or a query.
pub(super) fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
        other => format!("%{other:02x}"),
    };
    name.bytes().map(escape).collect()
}

/// The next line without its end; `None` at the end of the stream.
pub(super) fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.take(LINE_MAX).read_line(&mut line)?;
    if read > 0 && !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_string()))
}
