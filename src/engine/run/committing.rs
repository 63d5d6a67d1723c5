//! Brings the acks of an epoch together on worker 0 and lets the epoch go when it is committed.
//!
//! # Input
//! The acks of all workers, exchanged to worker 0.
//! # Output
//! Nothing but progress: the probe behind it passes `e` when `e` is resolved.
//! # State
//! Acks of epochs that are not complete yet.
//! # Progress
//! Worker 0 holds the capability of an epoch from its first ack until the commit thread has answered for it.
//! # Late and bad data
//! A commit that fails stops the job: its epoch is never resolved.
//! # Restart
//! Nothing to restore: the manifests are the state.
//! # Cost
//! One message to the commit thread and back an epoch.

use crate::engine::control::Control;
use crate::engine::error::Error;
use crate::engine::guard::guard;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use headway_operators::ack::Ack;
use headway_operators::epochs::{Closed, Epochs, lowest};
use headway_operators::time::Epoch;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;
use timely::scheduling::SyncActivator;

/// How often a quiet committer looks whether it still is the one.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Makes epochs true; called by one thread only.
pub trait Commit: Send {
    /// Called once, before anything is committed: all workers have restored what earlier runs left.
    ///
    /// # Errors
    /// If the job must stop.
    fn restored(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Commits `epoch`, or finds that nothing happened in it. Returns when it is resolved.
    ///
    /// # Errors
    /// If the epoch was not committed, or it cannot be told: the job must stop.
    fn commit(&mut self, epoch: Epoch, acks: Vec<Ack>) -> Result<(), Error>;

    /// Called about once a second while there is nothing to commit.
    ///
    /// # Errors
    /// If this run may not commit any more.
    fn heartbeat(&mut self) -> Result<(), Error>;

    /// Called after the last commit of a run that ended well.
    ///
    /// # Errors
    /// If what is left to do could not be done.
    fn finish(&mut self) -> Result<(), Error>;
}

/// An ack on its way to worker 0. To another process it goes as JSON: fields of an ack are left out where they have their
/// default, which timely's own encoding cannot read back.
#[derive(Clone, Debug)]
struct Letter(Ack);

impl Serialize for Letter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_vec(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Letter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Letter, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        serde_json::from_slice(&bytes).map(Letter).map_err(D::Error::custom)
    }
}

/// Work for the commit thread.
enum Work {
    /// All workers have passed the epoch that earlier runs committed.
    Restored,
    /// An epoch with its acks, and whom to wake when it is done.
    Epoch { epoch: Epoch, acks: Vec<Ack>, waker: SyncActivator },
}

/// The commit thread, as the engine holds it.
pub struct CommitThread {
    thread: JoinHandle<()>,
}

/// The commit thread, as worker 0 holds it.
#[derive(Clone)]
pub struct CommitPort {
    work: Sender<Work>,
    done: Receiver<Epoch>,
    first_epoch: Epoch,
}

impl CommitThread {
    /// Starts a thread that commits with `commit`, until every [`CommitPort`] is gone. The run begins with `first_epoch`.
    pub fn start(
        mut commit: Box<dyn Commit>,
        control: Control,
        first_epoch: Epoch,
    ) -> (CommitThread, CommitPort) {
        // Bounded by the gate: no more epochs are open than sources may be ahead.
        let (work, todo) = crossbeam_channel::unbounded::<Work>();
        let (answer, done) = crossbeam_channel::unbounded();
        let watch = control.clone();
        let run = move || {
            loop {
                let result = match todo.recv_timeout(HEARTBEAT) {
                    Ok(Work::Restored) if !control.is_stopped() => commit.restored(),
                    Ok(Work::Epoch { epoch, acks, waker }) if !control.is_stopped() => {
                        commit.commit(epoch, acks).map(|()| {
                            // The other side is gone only when the job is stopping anyway.
                            let _ = answer.send(epoch);
                            let _ = waker.activate();
                        })
                    }
                    // Work that nobody wants any more, or nobody who could still send some.
                    Ok(_) => return,
                    Err(_) if control.is_stopped() => return,
                    Err(RecvTimeoutError::Timeout) => commit.heartbeat(),
                    Err(RecvTimeoutError::Disconnected) => {
                        if let Err(error) = commit.finish() {
                            control.fail(error);
                        }
                        return;
                    }
                };
                if let Err(error) = result {
                    control.fail(error);
                    return;
                }
            }
        };
        let guarded = guard(watch, run);
        let thread = std::thread::Builder::new().name("headway-commit".into()).spawn(guarded);
        let thread = thread.expect("a thread can be started");
        (CommitThread { thread }, CommitPort { work, done, first_epoch })
    }

    /// Waits for the thread to end.
    pub fn join(self) {
        // Its failure, if any, was reported through the control.
        drop(self.thread.join());
    }
}

/// Ends the dataflow. Worker 0 has the port. Its progress passes an epoch when it is committed or known to be empty.
pub fn commit<'s>(acks: StreamVec<'s, Epoch, Ack>, port: Option<CommitPort>) -> StreamVec<'s, Epoch, ()> {
    let scope = acks.scope();
    let mut builder = OperatorBuilder::new("Commit".into(), scope);
    let mut acks = builder.new_input(acks.map(Letter), Exchange::new(|_: &Letter| 0));
    let (resolved, resolved_stream) = builder.new_output();
    let mut _resolved = OutputBuilder::<_, CapacityContainerBuilder<Vec<()>>>::from(resolved);
    let address = builder.operator_info().address;
    let waker = scope.worker().sync_activator_for(address.to_vec());
    // Only worker 0 holds the port: the thread ends when that worker's dataflow does.
    let port = Rc::new(RefCell::new(port));
    builder.build(move |initial| {
        drop(initial);
        let mut open: Epochs<Vec<Ack>> = Epochs::new(1);
        let mut committing: BTreeMap<Epoch, Vec<Capability<Epoch>>> = BTreeMap::new();
        let mut is_restored = false;
        move |frontiers| {
            // 1. Accept acks.
            acks.for_each(|cap, batch: &mut Vec<Letter>| {
                open.at(&cap).extend(batch.drain(..).map(|Letter(ack)| ack));
            });
            let mut held = port.borrow_mut();
            let Some(port) = held.as_mut() else { return };
            // 2. Say when the committed epoch is behind all workers, then hand over every epoch whose acks are complete, in order.
            //    If the thread is gone, it has told why.
            if !is_restored && lowest(frontiers).is_none_or(|low| low >= port.first_epoch) {
                is_restored = true;
                let _ = port.work.send(Work::Restored);
            }
            while let Some(Closed { epoch, caps, stash }) = open.closed(frontiers) {
                committing.insert(epoch, caps);
                let _ = port.work.send(Work::Epoch { epoch, acks: stash, waker: waker.clone() });
            }
            // 3. Let go of what is resolved.
            while let Ok(epoch) = port.done.try_recv() {
                committing.remove(&epoch);
            }
            if frontiers[0].is_empty() && open.is_empty() && committing.is_empty() {
                *held = None;
            }
        }
    });
    resolved_stream
}
