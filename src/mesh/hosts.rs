//! The host file: where the processes of a job listen, one `HOST:PORT` a line, by their number.

/// The port of a line that names none.
const PORT: u16 = 2101;

/// The addresses in the text of a host file. Blank lines and what follows `#` are left out.
///
/// # Errors
/// The number of the first line that is no address, from 1, and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<String>, (usize, String)> {
    let mut addresses = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let address = address(line).map_err(|why| (number, why))?;
        if addresses.contains(&address) {
            return Err((number, format!("\"{address}\" is listed twice")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn address(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("\"{text}\" is no address"));
    }
    let is_bare = !text.contains(':') || text.ends_with(']');
    if is_bare {
        return Ok(format!("{text}:{PORT}"));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    match port.parse::<u16>() {
        Ok(1..) if !host.is_empty() => Ok(text.to_string()),
        _ => Err(format!("\"{text}\" is no address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_file_lists_addresses_by_number() {
        let text = "# the job\n a-0.jobs:7000 # first\n\na-1.jobs\n[::1]:7002\n";
        assert_eq!(parse(text).unwrap(), ["a-0.jobs:7000", "a-1.jobs:2101", "[::1]:7002"]);
        for (text, line, word) in [
            ("a\nb c", 2, "no address"),
            ("a:0", 1, "no address"),
            (":80", 1, "no address"),
            ("a\n\na", 3, "twice"),
        ] {
            let (found, why) = parse(text).unwrap_err();
            assert!(found == line && why.contains(word), "{text}: line {found}: {why}");
        }
    }
}
