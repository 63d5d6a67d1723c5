//! Secrets that a setting names by their file.

use super::place::flag_path;
use crate::cli::terminal::failure::{Code, Failure};
use std::path::Path;

/// The secret in the text of its file: the first line, as it stands there.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The secret in the file that `flag` names.
///
/// # Errors
/// Exit 2 if the file cannot be read. No error quotes what is in it.
pub(crate) fn of_file(flag: &str, path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(flag_path(flag, path)?).map_err(|error| {
        let what = format!("{flag}: \"{}\" cannot be read", path.display());
        Failure::new(Code::SettingInvalid, what).detail(format!("The system says: {error}."))
    })?;
    Ok(first_line(&text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::form::Form;

    #[test]
    fn first_line_is_the_secret_and_no_refusal_quotes_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "opens all doors \r\nfrom the safe\n").unwrap();
        assert_eq!(of_file("--token-file", &path).unwrap(), "opens all doors ");
        std::fs::write(&path, "").unwrap();
        assert_eq!(of_file("--token-file", &path).unwrap(), "");
        std::fs::write(&path, b"opens\xff").unwrap();
        let refused = of_file("--token-file", &path).unwrap_err().render(Form::Text);
        assert!(refused.contains("--token-file: ") && !refused.contains("opens"), "{refused}");
        assert!(of_file("--token-file", Path::new("~somebody/secret")).is_err());
    }
}
