//! Who has joined: one seat a process, and what is still missing. No I/O but closing what is replaced.

use crate::mesh::error::Missing;
use crate::mesh::link::{From, Link};
use crate::mesh::socket::Socket;
use crate::mesh::{LEADER, Process};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One other process.
#[derive(Debug, Default)]
struct Seat {
    /// The start of the process that both sockets are of.
    nonce: Option<u128>,
    data: Option<Socket>,
    control: Option<Arc<Link>>,
    /// Why it is missing, as far as that is known.
    why: Option<String>,
}

impl Seat {
    fn is_taken(&self) -> bool {
        self.data.is_some() && self.control.is_some()
    }

    fn clear(&mut self) {
        if let Some(link) = self.control.take() {
            link.close();
        }
        (self.nonce, self.data) = (None, None);
    }
}

/// The seats of all processes, the own one included.
#[derive(Debug)]
pub(super) struct Table {
    me: Process,
    addresses: Vec<String>,
    seats: Vec<Seat>,
    /// The nonces that process 0 has met, once it says so: who joins later is none of this mesh.
    roster: Option<Vec<u128>>,
    /// Who has met all of them.
    complete: BTreeSet<Process>,
}

impl Table {
    /// An empty table of process `me`, whose start has `nonce`: no other process has joined.
    pub(super) fn new(me: Process, nonce: u128, addresses: &[String]) -> Table {
        let mut seats: Vec<Seat> = addresses.iter().map(|_| Seat::default()).collect();
        seats[me.index()].nonce = Some(nonce);
        Table { me, addresses: addresses.to_vec(), seats, roster: None, complete: BTreeSet::new() }
    }

    /// True if a socket of `from` may be taken: the newest start of a process wins, until the roster names one.
    pub(super) fn may_sit(&self, from: From) -> bool {
        from.process != self.me
            && from.process.index() < self.seats.len()
            && self.roster.as_ref().is_none_or(|roster| roster.get(from.process.index()) == Some(&from.nonce))
    }

    /// Gives `from` its seat. Another start of the process that has it is turned out.
    fn seat(&mut self, from: From) -> &mut Seat {
        let seat = &mut self.seats[from.process.index()];
        if seat.nonce != Some(from.nonce) {
            seat.clear();
            seat.nonce = Some(from.nonce);
        }
        seat
    }

    /// Takes the socket of the dataflow.
    pub(super) fn sit_data(&mut self, from: From, stream: Socket) {
        self.seat(from).data = Some(stream);
    }

    /// Takes the control socket.
    pub(super) fn sit_control(&mut self, link: Arc<Link>) {
        let before = self.seat(link.from).control.replace(link);
        before.iter().for_each(|link| link.close());
    }

    /// Takes note that the control socket of `from` is closed; false if it had none.
    pub(super) fn leave(&mut self, from: From, why: &str) -> bool {
        let seat = &mut self.seats[from.process.index()];
        let had = seat.nonce == Some(from.nonce) && seat.control.is_some();
        if had {
            seat.clear();
            seat.why = Some(why.to_string());
        }
        had
    }

    /// Notes why `process` is missing.
    pub(super) fn note(&mut self, process: Process, why: String) -> bool {
        let Some(seat) = self.seats.get_mut(process.index()) else { return false };
        let is_new = seat.why.as_ref() != Some(&why);
        seat.why = Some(why);
        is_new
    }

    /// True if every seat is taken, by whom the roster names if there is one.
    pub(super) fn is_full(&self) -> bool {
        let roster = self.roster.as_ref();
        self.seats.iter().enumerate().all(|(at, seat)| {
            let is_named = roster.is_none_or(|roster| seat.nonce == roster.get(at).copied());
            at == self.me.index() || seat.is_taken() && is_named
        })
    }

    /// The roster, if it is out.
    pub(super) fn roster(&self) -> Option<&[u128]> {
        self.roster.as_deref()
    }

    /// Fixes the roster; whoever sits there and is not named is turned out. False if this process is not named.
    pub(super) fn fix(&mut self, roster: Vec<u128>) -> bool {
        for (seat, named) in self.seats.iter_mut().zip(&roster) {
            if seat.nonce.is_some_and(|nonce| nonce != *named) {
                seat.clear();
            }
        }
        let is_named = self.seats.len() == roster.len() && self.seats[self.me.index()].nonce.is_some();
        self.roster = Some(roster);
        is_named
    }

    /// The nonces of all who sit there.
    pub(super) fn nonces(&self) -> Vec<u128> {
        self.seats.iter().map(|seat| seat.nonce.unwrap_or_default()).collect()
    }

    /// Notes that `from` has met all; true if now all have.
    pub(super) fn complete(&mut self, from: From) -> bool {
        if self.seats[from.process.index()].nonce == Some(from.nonce) {
            self.complete.insert(from.process);
        }
        self.complete.len() + 1 == self.seats.len()
    }

    /// The link with `process`.
    pub(super) fn link(&self, process: Process) -> Option<&Arc<Link>> {
        self.seats.get(process.index())?.control.as_ref()
    }

    /// Who is missing, and why.
    pub(super) fn missing(&self) -> Vec<Missing> {
        let seats = self.seats.iter().zip(&self.addresses).zip(0..);
        let missing = seats.filter(|((seat, _), at)| *at != self.me.0 && !seat.is_taken());
        let mut missing: Vec<Missing> = missing
            .map(|((seat, address), at)| Missing {
                process: Process(at),
                address: address.clone(),
                why: seat.why.clone().unwrap_or_else(|| "it has not called".to_string()),
            })
            .collect();
        if missing.is_empty() && self.roster.is_none() && self.me != LEADER {
            let (process, address) = (LEADER, self.addresses[0].clone());
            missing.push(Missing { process, address, why: "it waits for others".to_string() });
        }
        for process in (1..).map(Process).take(self.seats.len() - 1) {
            let waits = missing.iter().all(|missing| missing.process != process);
            if self.me == LEADER && self.roster.is_some() && waits && !self.complete.contains(&process) {
                let (address, why) =
                    (self.addresses[process.index()].clone(), "it waits for others".to_string());
                missing.push(Missing { process, address, why });
            }
        }
        missing
    }

    /// All sockets, by process, and the links, which watch them from now on.
    pub(super) fn into_sockets(self) -> (Vec<Option<Socket>>, Vec<Arc<Link>>) {
        for seat in &self.seats {
            if let (Some(data), Some(link)) = (&seat.data, &seat.control) {
                link.watch(data);
            }
        }
        let (data, links): (Vec<_>, Vec<_>) =
            self.seats.into_iter().map(|seat| (seat.data, seat.control)).unzip();
        (data, links.into_iter().flatten().collect())
    }

    /// Closes all sockets.
    pub(super) fn close(&mut self) {
        self.seats.iter_mut().for_each(Seat::clear);
    }
}

impl Process {
    /// Its number, as a place in a list.
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("a process number fits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(process: u32, nonce: u128) -> From {
        From { process: Process(process), nonce }
    }

    #[test]
    fn only_those_in_the_roster_are_let_in_once_it_is_out() {
        let addresses = ["a:1", "b:2", "c:3"].map(String::from);
        let mut table = Table::new(Process(1), 11, &addresses);
        assert!(table.may_sit(from(0, 10)) && table.may_sit(from(2, 12)) && table.may_sit(from(2, 99)));
        assert!(
            !table.may_sit(from(1, 11)) && !table.may_sit(from(3, 13)),
            "the own number, and one too many"
        );
        assert!(table.fix(vec![10, 11, 12]), "it is in the roster");
        assert!(table.may_sit(from(2, 12)));
        assert!(!table.may_sit(from(2, 99)), "another start of a process that is in the roster");
        let mut old = Table::new(Process(1), 11, &addresses);
        assert!(!old.fix(vec![10, 98, 12]), "another start of this process has its place");
    }

    #[test]
    fn leader_knows_for_whom_it_waits() {
        let addresses = ["a:1", "b:2"].map(String::from);
        let mut table = Table::new(LEADER, 10, &addresses);
        table.note(Process(1), "no route".to_string());
        let missing: Vec<String> = table.missing().iter().map(ToString::to_string).collect();
        assert_eq!(missing, ["process 1 at b:2: no route"]);
        assert!(!table.is_full() && !table.complete(from(1, 11)), "it sits nowhere");
    }
}
