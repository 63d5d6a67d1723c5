//! The files of side outputs: dead letters and late records.

use crate::cli::lake::Job;
use crate::cli::terminal::failure::{Code, Failure, sentence};
use crate::engine::commit::release::{Committed, Standing, committed};
use crate::engine::format::manifest::{LakeFile, LakeKind, Manifest};
use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};

/// The word for a side output in commands and in the names of operators.
pub(crate) fn word(kind: LakeKind) -> &'static str {
    if kind == LakeKind::Late { "late" } else { "dead" }
}

/// The files of a side output, oldest first.
pub(crate) fn files(manifests: &[Manifest], kind: LakeKind) -> impl Iterator<Item = Committed<'_>> {
    committed(manifests).into_iter().filter(move |found| found.file.kind == kind)
}

/// Those that were not moved away.
pub(crate) fn files_there(manifests: &[Manifest], kind: LakeKind) -> impl Iterator<Item = &LakeFile> {
    files(manifests, kind).filter(|found| found.standing != Standing::Gone).map(|found| found.file)
}

/// The lines of `file`: a refused record each.
pub(crate) fn lines(
    job: &Job,
    file: &LakeFile,
) -> Result<impl Iterator<Item = Result<String, Failure>>, Failure> {
    let lines = BufReader::new(MultiGzDecoder::new(job.file(&file.path())?)).lines();
    Ok(lines.map(|line| line.map_err(|error| damaged(file, error.to_string()))))
}

/// The same, parsed.
pub(crate) fn rows<T: DeserializeOwned>(
    job: &Job,
    file: &LakeFile,
) -> Result<impl Iterator<Item = Result<T, Failure>>, Failure> {
    let parse = |line: String| serde_json::from_str(&line).map_err(|error| damaged(file, error.to_string()));
    Ok(lines(job, file)?.map(move |line| line.and_then(parse)))
}

/// The failure for a file that cannot be read.
pub(crate) fn damaged(file: &LakeFile, why: String) -> Failure {
    Failure::new(Code::LakeFileDamaged, format!("could not read \"{}\"", file.path())).detail(sentence(&why))
}
