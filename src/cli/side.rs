//! The files of side outputs: dead letters and late records.

use super::terminal::failure::{Code, Failure, sentence};
use crate::engine::commit::release::{Committed, Standing, committed};
use crate::engine::format::manifest::{LakeFile, LakeKind, Manifest};

/// The files of a side output, oldest first.
pub(crate) fn files(manifests: &[Manifest], kind: LakeKind) -> impl Iterator<Item = Committed<'_>> {
    committed(manifests).into_iter().filter(move |found| found.file.kind == kind)
}

/// Those that were not moved away.
pub(crate) fn files_there(manifests: &[Manifest], kind: LakeKind) -> impl Iterator<Item = &LakeFile> {
    files(manifests, kind).filter(|found| found.standing != Standing::Gone).map(|found| found.file)
}

/// The failure for a file that cannot be read.
pub(crate) fn damaged(file: &LakeFile, why: String) -> Failure {
    Failure::new(Code::LakeFileDamaged, format!("could not read \"{}\"", file.path())).detail(sentence(&why))
}
