//! Why a run failed, given what the lake holds since. No I/O.

use crate::engine::commit::error::CheckpointError;
use crate::engine::error::Error;
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names::Generation;

/// Why run `generation` failed, given the head that is there now: one that was taken over finds its folders swept by
/// its successor, which is no fault of the disk.
pub(super) fn blame(error: Error, generation: Generation, head: Option<&Manifest>) -> Error {
    match (&error, head) {
        (Error::Commit(cause), Some(head))
            if cause.may_follow_from_a_take_over() && head.generation > generation =>
        {
            tracing::debug!(%error, "failed after it was taken over");
            CheckpointError::Fenced { job: head.job.clone(), generation, seq: head.seq }.into()
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::format::manifest::tests::first;
    use crate::store;

    #[test]
    fn failure_of_a_run_that_was_taken_over_is_told_as_that() {
        let mut head = first(1);
        head.generation = Generation(3);
        let failed = || {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            Error::from(CheckpointError::Store(store::Error::Failed {
                verb: "create",
                name: "x".into(),
                source,
            }))
        };
        assert_eq!(blame(failed(), Generation(2), Some(&head)).code(), "fenced");
        assert_eq!(blame(failed(), Generation(3), Some(&head)).code(), "store-failed");
        assert_eq!(blame(failed(), Generation(2), None).code(), "store-failed");
        let panicked = || Error::Panicked { thread: "t".into(), reason: "r".into() };
        assert_eq!(blame(panicked(), Generation(2), Some(&head)).code(), "panicked");
    }
}
