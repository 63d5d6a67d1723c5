//! A job on several processes: who leads, what the leader tells the others, and how all of them end together.
//!
//! ```text
//! leader (process 0)                                      member
//! join ◄───────────────── mesh ─────────────────────────► join
//! look at sources, read the head
//! write a token: Token ─────────────────────────────────► see it in the lake, write one
//!                          ◄───────────────────── Seen
//! claim the job
//! card: claim, partitions, ends ────────────────────────► partitions by the leader's numbers
//! read its shards of the state                            read its shards of the state
//!                          ◄──────────────────── Ready
//! all are ready: Start ─────────────────────────────────► run
//! run: discovers, commits  ── Found, Drain, Rescale, Failed ► run
//!                          ◄── Ends, Restored, Drain, Failed
//! dataflow has ended       ◄───────────────────── Done    dataflow has ended
//! last commit, then Bye ────────────────────────────────► exit
//! ```
//! 1. Only the leader looks for partitions, claims, commits, sweeps, and says in the lake that the job lives. Nothing is
//!    claimed before the mesh is there: a cluster that never assembles fences nobody.
//! 2. There is no election. A cluster that loses a process ends, and comes back from the last manifest.
//! 3. A failure goes to all. What cannot get better by a restart ends all processes with the same exit code.
//! 4. How many processes there are is a committed fact ([`membership`]): the leader that finds a request for another number drains
//!    all, each process starts itself again, and the next claim says the new number.

pub mod crew;
pub mod membership;
pub mod message;
pub mod place;
pub mod plan;
pub mod shared;
pub mod torn;
pub mod watch;
