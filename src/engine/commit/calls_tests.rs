//! How often a run asks its store: a call of an object store costs time and money.

use crate::engine::commit::checkpoint_tests::{reads, stage, start, state};
use crate::engine::commit::job::tests::job;
use crate::engine::commit::test_store::TestStore;
use crate::engine::format::names::Generation;
use crate::store::memory::Call;
use headway_operators::ack::Ack;
use headway_operators::state::SectionKind;
use headway_operators::time::Epoch;
use std::collections::BTreeMap;

/// What a run of `generation` does in `epoch`: ten records, a file of rows, and state.
fn acks(store: &TestStore, generation: Generation, epoch: Epoch) -> Vec<Ack> {
    let next = i64::try_from(epoch.0 * 10).expect("a test has few epochs");
    let mut acks = reads(0, next - 10, next);
    acks.push(stage(store, (generation, epoch), "a\n"));
    acks.push(state(store, (generation, epoch), SectionKind::Base));
    acks
}

#[test]
fn commit_lists_one_folder_at_most() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    for epoch in (1..=100).map(Epoch) {
        let acks = acks(&store, Generation(1), epoch);
        store.asked();
        committer.commit(epoch, &acks).unwrap().unwrap();
        let listed: Vec<_> = store.asked().into_iter().filter(|(call, _)| *call == Call::List).collect();
        assert!(listed.len() <= 1, "epoch {epoch}: {listed:?}");
    }
}

#[test]
fn start_reads_each_manifest_of_the_chain_once() {
    let store = TestStore::default();
    let (mut committer, _) = start(&store, job(1)).unwrap();
    for epoch in (1..=40).map(Epoch) {
        let acks = acks(&store, Generation(1), epoch);
        committer.commit(epoch, &acks).unwrap().unwrap();
    }
    drop(committer);
    let before = store.below("_headway/job/manifest/");
    store.asked();
    start(&store, job(1)).unwrap();
    let mut times = BTreeMap::<String, usize>::new();
    for (_, name) in
        store.asked().into_iter().filter(|(call, name)| *call == Call::Read && before.contains(name))
    {
        *times.entry(name).or_default() += 1;
    }
    assert_eq!(times.len(), before.len(), "the whole chain is read");
    // Whether a claim counts, the manifest before it says once more after the claim.
    let head = before.last().expect("it has manifests");
    let often: Vec<_> =
        times.iter().filter(|(name, times)| **times > 1 + usize::from(*name == head)).collect();
    assert!(often.is_empty(), "read too often: {often:?}");
}
