//! Case files: what is said, and below it what is answered.

use std::fs;
use std::path::Path;

/// Holds what `run` makes of each of the files in a folder of these tests against the file; there are `at_least` so many.
pub(crate) fn hold(folder: &str, at_least: usize, run: impl Fn(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/music").join(folder);
    let mut cases = 0;
    for file in fs::read_dir(folder).expect("there are cases") {
        let path = file.expect("they can be listed").path();
        let said = fs::read_to_string(&path).expect("they can be read");
        let answered = run(&said);
        if std::env::var_os("REWRITE").is_some() {
            fs::write(&path, &answered).expect("they can be written");
        } else {
            assert_eq!(said, answered, "{}", path.display());
        }
        cases += 1;
    }
    assert!(cases >= at_least, "{cases}");
}
