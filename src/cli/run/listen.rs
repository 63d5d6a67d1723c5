//! Where a job answers by HTTP, and whom.

use crate::cli::settings::plan::Plan;
use crate::cli::settings::secret;
use crate::cli::terminal::failure::{Code, Failure};
#[cfg(feature = "serve")]
use crate::serve::live::Live;
#[cfg(feature = "serve")]
use crate::serve::server::Server;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
#[cfg(feature = "serve")]
use std::sync::Arc;

/// The shortest token that is taken, in bytes.
const TOKEN_MIN: usize = 16;

/// What the server is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    address: SocketAddr,
    token: Option<String>,
}

impl Listen {
    /// Where the job of `plan` is to listen; `None` if nowhere.
    ///
    /// # Errors
    /// Exit 2 if that is no address, or one that others can reach and no token is set.
    pub(crate) fn of(plan: &Plan) -> Result<Option<Listen>, Failure> {
        let Some(text) = &plan.listen else { return Ok(None) };
        let Some(address) = address(text) else {
            return Err(Failure::new(Code::SettingInvalid, format!("--listen: \"{text}\" is no address"))
                .hint("Write a port, such as 7070, or an address with a port, such as 127.0.0.1:7070."));
        };
        let token = plan.listen_token_file.as_deref().map(token).transpose()?;
        if token.is_none() && !address.ip().is_loopback() {
            let what = format!("--listen: {address} can be reached from other machines, and no token is set");
            return Err(Failure::new(Code::SettingInvalid, what).hint(
                "Set --listen-token-file FILE, or listen on 127.0.0.1 and let a proxy decide who may ask.",
            ));
        }
        Ok(Some(Listen { address, token }))
    }

    /// Refuses what the job of `plan` could not listen on. The address may be in use: by the job itself.
    ///
    /// # Errors
    /// As [`Listen::of`]; exit 2 if this build does not listen.
    pub(crate) fn check(plan: &Plan) -> Result<(), Failure> {
        match Listen::of(plan)? {
            #[cfg(not(feature = "serve"))]
            Some(_) => Err(does_not_listen()),
            _ => Ok(()),
        }
    }

    /// Where it is to listen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the server.
    ///
    /// # Errors
    /// Exit 3 if the address cannot be listened on.
    #[cfg(feature = "serve")]
    pub(crate) fn start(&self, live: Live) -> Result<(Server, Arc<Live>), Failure> {
        let live = Arc::new(live);
        let server = Server::start(self.address, Arc::clone(&live)).map_err(|error| {
            Failure::new(Code::ListenFailed, format!("cannot listen on {}", self.address))
                .detail(format!("The system says: {error}."))
        })?;
        tracing::info!(event = "listening", address = %server.address(), "answers by HTTP");
        Ok((server, live))
    }

    /// The token that requests must send, if they must.
    #[cfg(feature = "serve")]
    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone()
    }
}

/// The refusal of `--listen` where the build has no server.
#[cfg(not(feature = "serve"))]
pub(crate) fn does_not_listen() -> Failure {
    let code = Code::NotInThisBuild;
    Failure::new(code, "this build does not listen")
        .hint("Build with --features serve, or leave --listen out.")
}

/// `7070`, `:7070` or `127.0.0.1:7070`.
fn address(text: &str) -> Option<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text.parse().ok(),
    }
}

/// The token in a file: its first line.
fn token(path: &Path) -> Result<String, Failure> {
    let refuse = |why: String| {
        Failure::new(
            Code::SettingInvalid,
            format!("--listen-token-file: \"{}\" has no token", path.display()),
        )
        .detail(why)
    };
    let line = secret::of_file("--listen-token-file", path)?;
    let token = line.trim();
    if token.len() < TOKEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse(format!(
            "Its first line must be at least {TOKEN_MIN} printable characters without blanks."
        ))
        .hint("Make one: head -c 32 /dev/urandom | base64 > FILE."));
    }
    Ok(token.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_alone_is_on_this_machine_only() {
        for (text, expected) in [
            ("7070", Some("127.0.0.1:7070")),
            (":7070", Some("127.0.0.1:7070")),
            ("0.0.0.0:80", Some("0.0.0.0:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("localhost", None),
            ("70700", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().expect("it is one")), "{text}");
        }
    }
}
