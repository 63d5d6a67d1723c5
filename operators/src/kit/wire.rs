//! Puts operators of the kit into a dataflow.

use crate::build::Build;
use crate::error::Reason;
use crate::flow::{Either, Flow};
use crate::kit::logic::Logic;
use crate::kit::per_key::{PerKey, Routed};
use crate::kit::record::{Place, Record};
use crate::record::{Offset, Raw};
use crate::row::{Cell, Column};
use crate::stream::decode::{Context, Decoded, Decoder, Definition};
use crate::time::Epoch;

/// A decoder whose records carry the offsets of their messages.
struct WithOffset<D>(D);

impl<D: Decoder> Decoder for WithOffset<D> {
    type Out = (Offset, D::Out);
    type Key = D::Key;

    fn begin(&mut self, epoch: Epoch) {
        self.0.begin(epoch);
    }

    fn decode(
        &mut self,
        raw: &Raw<'_>,
        context: &Context,
        definitions: &mut Vec<Definition<D::Key>>,
    ) -> Result<Decoded<Self::Out>, Reason> {
        Ok(match self.0.decode(raw, context, definitions)? {
            Decoded::Record(time, data) => Decoded::Record(time, (raw.offset, data)),
            Decoded::Filtered => Decoded::Filtered,
        })
    }

    fn columns(&self) -> Vec<Column> {
        self.0.columns()
    }

    fn cells(&mut self, raw: &Raw<'_>, (_, record): &Self::Out, put: &mut dyn FnMut(Cell<'_>)) {
        self.0.cells(raw, record, put);
    }
}

impl<'s> Build<'s> {
    /// Reads the input called `name`, each record with its place in the order of event time. What is dead or late leaves by
    /// the input's side outputs.
    pub fn records<D: Decoder<Key = ()>>(&mut self, name: &str, decoder: D) -> Flow<'s, Record<D::Out>> {
        let read = self.input(name, WithOffset(decoder));
        let input = read.inputs().first().copied().unwrap_or_default();
        read.map(move |stamped| {
            let (offset, data) = stamped.data;
            let place = Place::message(input, stamped.partition, offset);
            Record { time: stamped.time, stamp: stamped.stamp, since: None, place, data }
        })
    }

    /// Runs an operator with state and timers for each key. `name` is its name in manifests, logs and metrics. Its inputs are
    /// never flushed, however long they are idle: a timer must not fire before its time.
    pub fn logic<L: Logic>(
        &mut self,
        name: &str,
        logic: L,
        records: Flow<'s, Record<L::In>>,
    ) -> Flow<'s, Record<L::Out>> {
        records.pace.borrow_mut().keep_timers(records.set);
        self.keyed(PerKey::new(name, logic), records.map(Routed::of::<L>))
    }
}

impl<'s, R: Clone + 'static> Flow<'s, Record<R>> {
    /// Makes other data of the data of each record.
    pub fn map_data<S: Clone + 'static>(
        self,
        mut logic: impl FnMut(R) -> S + 'static,
    ) -> Flow<'s, Record<S>> {
        self.map(move |record| record.map(&mut logic))
    }

    /// Makes other data of the data of each record for which `logic` gives some, and leaves the other records out.
    pub fn filter_map_data<S: Clone + 'static>(
        self,
        mut logic: impl FnMut(R) -> Option<S> + 'static,
    ) -> Flow<'s, Record<S>> {
        self.filter_map(move |record| record.filter_map(&mut logic))
    }

    /// Takes the records of both flows, so that one operator can read them. At one instant, records of the input with the
    /// lower number come first.
    pub fn either<S: Clone + 'static>(self, other: Flow<'s, Record<S>>) -> Flow<'s, Record<Either<R, S>>> {
        self.map_data(Either::Left).and(other.map_data(Either::Right))
    }
}

impl<'s, A: Clone + 'static, B: Clone + 'static> Flow<'s, Record<Either<A, B>>> {
    /// Sends the records of each kind their own way.
    pub fn apart(self) -> (Flow<'s, Record<A>>, Flow<'s, Record<B>>) {
        self.split(|record| {
            let Record { time, stamp, since, place, data } = record;
            match data {
                Either::Left(data) => Either::Left(Record { time, stamp, since, place, data }),
                Either::Right(data) => Either::Right(Record { time, stamp, since, place, data }),
            }
        })
    }
}
