//! The value of `sasl.jaas.config`, as Kafka's Java client reads it: `MODULE FLAG NAME=VALUE …;`
//!
//! A value is a word of letters, digits and `.-_$` that begins with a letter, or stands between two equal quotes, single or
//! double. Between quotes a backslash escapes: `\"`, `\\`, `\n`, `\t`, `\r`, `\f`, `\a`, `\b`, `\v`, and up to three octal
//! digits. `/` outside of quotes begins a comment. (That is Java's `StreamTokenizer`, with the settings of Kafka's `JaasConfig`.)
//!
//! Everything here may be a secret: a refusal quotes nothing but the name of a module or an option.

use std::iter::Peekable;
use std::str::Chars;

/// The module of user name and password in clear.
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

/// The module of user name and password that are proven, not sent.
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

/// What Java allows behind a module's name. With one module it makes no difference which.
const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

/// The name and password of a login.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// A piece of the text.
#[derive(PartialEq, Eq)]
enum Token {
    /// A word, or what is between quotes.
    Text(String),
    /// A character that stands for itself, or begins a number.
    Sign(char),
}

/// The login that `text` describes.
///
/// # Errors
/// If the Java client would refuse it, or it names another module or an option that we lack: why.
pub(super) fn login(text: &str) -> Result<Login, String> {
    let tokens = tokens(text)?;
    let mut tokens = tokens.into_iter();
    let Some(Token::Text(module)) = tokens.next() else { return Err("it names no login module".into()) };
    if module != PLAIN && module != SCRAM {
        return Err(other_module(&module));
    }
    match tokens.next() {
        Some(Token::Text(flag)) if FLAGS.contains(&flag.to_lowercase().as_str()) => {}
        _ => return Err("behind the login module there is no \"required\"".into()),
    }
    let (mut username, mut password) = (None, None);
    loop {
        let name = match tokens.next() {
            Some(Token::Sign(';')) => break,
            Some(Token::Text(name)) => name,
            Some(Token::Sign(_)) => return Err("an option has no name".into()),
            None => return Err("it does not end with a semicolon".into()),
        };
        let (is_equals, value) = (tokens.next() == Some(Token::Sign('=')), tokens.next());
        let (true, Some(Token::Text(value))) = (is_equals, value) else {
            return Err(match name.as_str() {
                "username" | "password" => format!("{name} has no value, or one that needs quotes"),
                _ => "an option has no value, or one that needs quotes".into(),
            });
        };
        match name.as_str() {
            "username" => username = Some(value),
            "password" => password = Some(value),
            "tokenauth" if value.eq_ignore_ascii_case("true") => {
                return Err("delegation tokens (tokenauth) are not supported".into());
            }
            // Java passes over options that a module does not know.
            _ => {}
        }
    }
    if tokens.next().is_some() {
        return Err("there is more behind the semicolon: only one login module is allowed".into());
    }
    let username = username.ok_or("it has no username")?;
    Ok(Login { username, password: password.ok_or("it has no password")? })
}

/// The refusal of a module. What does not look like one is not quoted: it may be a part of a secret.
fn other_module(module: &str) -> String {
    let is_name = module.ends_with("Module") && module.contains('.') && module.len() < 200;
    match is_name && module.chars().all(|letter| letter.is_ascii_alphanumeric() || "._$".contains(letter)) {
        true => format!("the login module \"{module}\" is not supported"),
        false => "it does not begin with the name of a login module".to_string(),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\0'..=' ' => {}
            '/' => comment(&mut letters),
            '"' | '\'' => tokens.push(Token::Text(quoted(&mut letters, letter)?)),
            letter if begins_word(letter) => {
                let mut word = String::from(letter);
                while let Some(more) =
                    letters.next_if(|more| begins_word(*more) || "0123456789.-".contains(*more))
                {
                    word.push(more);
                }
                tokens.push(Token::Text(word));
            }
            other => tokens.push(Token::Sign(other)),
        }
    }
    Ok(tokens)
}

fn begins_word(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || letter == '$' || letter >= '\u{a0}'
}

/// Passes over a comment whose `/` was read: to `*/`, or to the end of the line. The letter behind the `/` is a part of it even
/// where it ends the line: so does Java.
fn comment(letters: &mut Peekable<Chars<'_>>) {
    if letters.next() != Some('*') {
        while letters.next_if(|letter| *letter != '\n' && *letter != '\r').is_some() {}
        return;
    }
    let mut before = ' ';
    for letter in letters.by_ref() {
        if before == '*' && letter == '/' {
            return;
        }
        before = letter;
    }
}

/// What is between quotes, of which the first was read.
fn quoted(letters: &mut Peekable<Chars<'_>>, quote: char) -> Result<String, String> {
    let mut text = String::new();
    loop {
        let letter = match letters.next() {
            None | Some('\n' | '\r') => return Err("a quote is not closed".into()),
            Some(letter) if letter == quote => return Ok(text),
            Some('\\') => escape(letters).ok_or("a quote is not closed")?,
            Some(letter) => letter,
        };
        text.push(letter);
    }
}

/// The character that is escaped by a backslash, which was read.
fn escape(letters: &mut Peekable<Chars<'_>>) -> Option<char> {
    Some(match letters.next()? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        first @ '0'..='7' => {
            // Three digits only where they are at most a byte.
            let digits = if first <= '3' { 2 } else { 1 };
            let mut code = first as u32 - '0' as u32;
            for _ in 0..digits {
                let Some(digit) = letters.next_if(|digit| ('0'..='7').contains(digit)) else { break };
                code = code * 8 + (digit as u32 - '0' as u32);
            }
            char::from_u32(code)?
        }
        itself => itself,
    })
}
