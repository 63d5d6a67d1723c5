//! Which program this is: `headway`, or one of an author's own with the same command line.

use std::sync::OnceLock;

/// The name and the version of a program, as `-V`, `--help` and `demo` show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The program whose crate says this: the name and the version of its package.
///
/// ```rust
/// let program = headway::program!();
/// assert_eq!(program.version, env!("CARGO_PKG_VERSION"));
/// ```
#[macro_export]
macro_rules! program {
    () => {
        $crate::Program { name: ::std::env!("CARGO_PKG_NAME"), version: ::std::env!("CARGO_PKG_VERSION") }
    };
}

static PROGRAM: OnceLock<Program> = OnceLock::new();

/// Says once which program this is.
pub(crate) fn set(program: Program) {
    PROGRAM.get_or_init(|| program);
}

/// This program.
pub(crate) fn program() -> Program {
    *PROGRAM.get_or_init(|| Program { name: "headway", version: env!("CARGO_PKG_VERSION") })
}

/// The folder of its demo, where none is named.
pub(crate) fn demo_folder() -> &'static str {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| format!("{}-demo", program().name))
}
