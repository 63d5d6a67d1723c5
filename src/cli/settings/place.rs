//! Paths as people write them, and what a shell would have made of them.
//!
//! In a file, in the environment and after `=` no shell replaces `~` or `$HOME`. A program that takes them literally
//! makes a folder called `~`, and every row of the job is somewhere else than its owner thinks.

use crate::cli::terminal::failure::{Code, Failure};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is known of a text before it is a path.
pub(crate) struct Surroundings {
    /// The home folder of this user.
    pub(crate) home: Option<OsString>,
}

/// Why a text is no path here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPath {
    /// What is wrong, to follow `"TEXT" is no path: `.
    pub(crate) why: String,
    /// What to do.
    pub(crate) hint: String,
}

/// Systems that a URI names and that this version does not write to or read from.
const SYSTEMS: [&str; 16] = [
    "s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasb", "wasbs", "hdfs", "http", "https", "ftp",
    "sftp", "webhdfs",
];

impl Surroundings {
    /// Those of this process.
    pub(crate) fn here() -> Surroundings {
        Surroundings { home: env::var_os("HOME").filter(|home| !home.is_empty()) }
    }

    /// The path that `text` means: `~/` and `$HOME/` at its beginning are the home folder, `file:` URIs are paths.
    ///
    /// # Errors
    /// If it has a part that only a shell or another system understands.
    pub(crate) fn path(&self, text: &str) -> Result<PathBuf, NoPath> {
        let no = |why: &str, hint: &str| Err(NoPath { why: why.to_string(), hint: hint.to_string() });
        if text.trim().is_empty() {
            return no("it is empty", "Write a path, such as lake or /var/lib/lake.");
        }
        if text.contains(char::is_control) {
            return no(
                "it has a control character",
                "Take it out: it is easily copied along without being seen.",
            );
        }
        if let Some(rest) = after_scheme(text, "file") {
            return self.plain(&file_uri(rest)?);
        }
        if let Some((scheme, rest)) = text.split_once(':') {
            let letter = scheme.len() == 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
            if SYSTEMS.iter().any(|system| scheme.eq_ignore_ascii_case(system))
                || is_scheme(scheme) && rest.starts_with("//")
            {
                return no("this version knows local folders only", "Write the path of a local folder.");
            }
            if letter && rest.starts_with(['\\', '/']) {
                return no(
                    "it is a path of Windows",
                    "Write it as this system sees it, such as /mnt/c/lake.",
                );
            }
            if is_scheme(scheme) && rest.starts_with('/') {
                return no(
                    "it looks like a URI",
                    &format!("If it is a folder of that name, write ./{text}."),
                );
            }
        }
        self.plain(text)
    }

    /// A path without a scheme.
    fn plain(&self, text: &str) -> Result<PathBuf, NoPath> {
        let no = |why: String, hint: String| Err(NoPath { why, hint });
        let (first, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let (path, parts) = match first {
            "~" | "$HOME" | "${HOME}" => {
                let Some(home) = &self.home else {
                    let hint = "Write the whole path, or set HOME.".to_string();
                    return no(format!("\"{first}\" needs the variable HOME, which is not set"), hint);
                };
                let rest = rest.unwrap_or_default().trim_start_matches('/');
                (Path::new(home).join(rest).components().collect(), rest)
            }
            _ if first.starts_with('~') => {
                let hint = format!("Write the whole path. If it is a folder of that name, write ./{text}.");
                return no("the home folder of another user is not looked up".to_string(), hint);
            }
            _ => (PathBuf::from(text), text),
        };
        match parts.split('/').find_map(variable) {
            Some(name) => no(
                format!("the variable {name} is not replaced here"),
                "Write the whole path. In a shell, leave out the single quotes.".to_string(),
            ),
            None => Ok(path),
        }
    }
}

/// True if `text` is the path of something below or beside the folder that it is read in: no absolute path, no URI, and nothing
/// in the home folder.
pub(super) fn is_relative(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let is_home = first.starts_with('~') || matches!(first, "$HOME" | "${HOME}");
    let is_uri = after_scheme(text, "file").is_some() || text.contains("://");
    !text.trim().is_empty() && !text.starts_with('/') && !is_home && !is_uri
}

/// What follows `scheme:` in `text`.
fn after_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = text.split_once(':')?;
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// True for the letters of a scheme, at least two.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
}

/// The path of a `file:` URI, given what follows the colon (RFC 8089).
fn file_uri(rest: &str) -> Result<String, NoPath> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => match rest.split_once('/') {
            Some(("" | "localhost", _)) => &rest[rest.find('/').unwrap_or_default()..],
            _ => {
                let host = rest.split('/').next().unwrap_or_default();
                return Err(NoPath {
                    why: format!("after file:// comes the name of a host, here \"{host}\""),
                    hint: "Write file:///PATH with three slashes and the whole path, or the path alone."
                        .to_string(),
                });
            }
        },
    };
    if path.len() < 2 || !path.starts_with('/') {
        return Err(NoPath {
            why: "a file: URI needs a whole path".to_string(),
            hint: "Write file:///PATH, or the path alone.".to_string(),
        });
    }
    unescaped(path).ok_or_else(|| NoPath {
        why: "it has a % that is not followed by two hexadecimal digits".to_string(),
        hint: "Write %25 for a percent sign in a URI, or the path alone.".to_string(),
    })
}

/// `path` with `%20` and the like replaced; `None` if it is not well formed, or not UTF-8.
fn unescaped(path: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|byte| is_hex && *byte != 0)?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The variable that a shell would replace in `part` of a path: `$NAME`, `${NAME}`, `%NAME%`.
fn variable(part: &str) -> Option<&str> {
    if let Some(at) = part.find('$') {
        let name = part[at + 1..].trim_start_matches('{');
        return name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then(|| &part[at..]);
    }
    let inner = part.strip_prefix('%')?.strip_suffix('%')?;
    (!inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(part)
}

/// `text` without the user and password that a URI may have before its host.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_string() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => text.to_string(),
    }
}

/// The path that was given with `flag`.
///
/// # Errors
/// Exit 2 if only a shell would understand it.
pub(crate) fn flag_path(flag: &str, path: &Path) -> Result<PathBuf, Failure> {
    let Some(text) = path.to_str() else { return Ok(path.to_path_buf()) };
    Surroundings::here().path(text).map_err(|no| {
        let what = format!("{flag}: \"{}\" is no path: {}", without_password(text), no.why);
        Failure::new(Code::PathInvalid, what).hint(no.hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<String, String> {
        let surroundings = Surroundings { home: Some("/home/ann".into()) };
        surroundings.path(text).map(|path| path.display().to_string()).map_err(|no| no.why)
    }

    #[test]
    fn what_a_shell_would_replace_is_replaced_or_refused() {
        let cases = [
            ("lake", Ok("lake")),
            ("./~", Ok("./~")),
            ("a/~/b", Ok("a/~/b")),
            ("a:b", Ok("a:b")),
            ("~", Ok("/home/ann")),
            ("~/lake", Ok("/home/ann/lake")),
            ("~//lake", Ok("/home/ann/lake")),
            ("$HOME/lake", Ok("/home/ann/lake")),
            ("${HOME}/lake", Ok("/home/ann/lake")),
            ("${HOME}", Ok("/home/ann")),
            ("file:/var/lake", Ok("/var/lake")),
            ("file:///var/my%20lake", Ok("/var/my lake")),
            ("FILE://localhost/var/lake", Ok("/var/lake")),
            ("cost$5", Ok("cost$5")),
            ("", Err("empty")),
            (" ", Err("empty")),
            ("~bob/lake", Err("another user")),
            ("~+", Err("another user")),
            ("$HOMER/lake", Err("$HOMER")),
            ("$DATA/lake", Err("$DATA")),
            ("/srv/${DATA}/lake", Err("${DATA}")),
            ("~/$DATA", Err("$DATA")),
            ("%USERPROFILE%/lake", Err("%USERPROFILE%")),
            ("file:", Err("whole path")),
            ("file:lake", Err("whole path")),
            ("file://", Err("host")),
            ("file://lake", Err("host, here \"lake\"")),
            ("file://lake/a", Err("host, here \"lake\"")),
            ("file:///", Err("whole path")),
            ("file:///a%2", Err("hexadecimal")),
            ("file:///a%00b", Err("hexadecimal")),
            ("file:///srv/$DATA", Err("$DATA")),
            ("s3://bucket/lake", Err("local folders only")),
            ("s3:/bucket/lake", Err("local folders only")),
            ("S3:bucket", Err("local folders only")),
            ("hdfs:/x", Err("local folders only")),
            ("dbfs:/x", Err("looks like a URI")),
            ("nfs://server/x", Err("local folders only")),
            ("C:\\lake", Err("Windows")),
            ("lake\n", Err("control character")),
        ];
        for (text, expected) in cases {
            match (path(text), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, expected, "{text}"),
                (Err(why), Err(word)) => assert!(why.contains(word), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let homeless = Surroundings { home: None };
        assert!(homeless.path("~/lake").expect_err("no home").why.contains("HOME"));
    }

    #[test]
    fn passwords_in_uris_are_not_shown() {
        assert_eq!(without_password("kafka://ann:secret@host:9092/t"), "kafka://***@host:9092/t");
        assert_eq!(without_password("s3://key:a@b@bucket"), "s3://***@bucket");
        assert_eq!(without_password("files:a@b"), "files:a@b");
        assert_eq!(without_password("https://host/a@b"), "https://host/a@b");
    }
}
