//! What operators hand on: records, and how far the inputs that they come from have got.

use crate::ack::InputIx;
use crate::pace::{Moment, SetIx, SharedPace};
use crate::stream::decode::Definition;
use crate::stream::each::each;
use crate::time::{Epoch, Watermark};
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::vec::Drain;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::core::OkErr;

/// A stream of records on its way from inputs to operators and outputs: what an input and *every* operator return.
///
/// A clone is the same stream again, so two operators may take one flow. `K` are the keys that the records carry as hashes.
#[derive(Clone)]
pub struct Flow<'s, R: Clone + 'static, K: Clone + 'static = ()> {
    pub(crate) records: StreamVec<'s, Epoch, R>,
    /// The keys of the records, by value; `None` where records carry all they need.
    pub(crate) definitions: Option<StreamVec<'s, Epoch, Definition<K>>>,
    /// What the close of each epoch says, on every worker.
    pub(crate) moments: StreamVec<'s, Epoch, Rc<Moment>>,
    pub(crate) pace: SharedPace,
    pub(crate) set: SetIx,
    /// The input whose records these are, each exactly once; `None` where some may be missing or made of others.
    pub(crate) whole: Option<InputIx>,
}

/// One of two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

impl<'s, R: Clone + 'static, K: Clone + 'static> Flow<'s, R, K> {
    /// The records alone, for an operator of one's own on timely.
    pub fn records(&self) -> StreamVec<'s, Epoch, R> {
        self.records.clone()
    }

    /// The inputs that the records come from, by number, rising.
    pub fn inputs(&self) -> Vec<InputIx> {
        self.pace.borrow().inputs(self.set).to_vec()
    }

    /// The watermark that the flow starts with: that of the committed epoch.
    pub fn watermark(&self) -> Watermark {
        self.pace.borrow().watermark(self.set)
    }

    /// The same flow with other records.
    pub(crate) fn with<S: Clone + 'static>(&self, records: StreamVec<'s, Epoch, S>) -> Flow<'s, S, K> {
        let (definitions, moments) = (self.definitions.clone(), self.moments.clone());
        Flow { records, definitions, moments, pace: Rc::clone(&self.pace), set: self.set, whole: self.whole }
    }

    /// Makes another record of each.
    pub fn map<S: Clone + 'static>(self, mut logic: impl FnMut(R) -> S + 'static) -> Flow<'s, S, K> {
        let records = self.records.clone();
        self.with(each(records, "Map", Box::new(move |_, batch, made| made.extend(batch.map(&mut logic)))))
    }

    /// Makes another record of each for which `logic` gives one, and leaves the others out.
    pub fn filter_map<S: Clone + 'static>(
        self,
        mut logic: impl FnMut(R) -> Option<S> + 'static,
    ) -> Flow<'s, S, K> {
        let records = self.records.clone();
        let logic = Box::new(move |_, batch: Drain<'_, R>, made: &mut Vec<S>| {
            made.extend(batch.filter_map(&mut logic))
        });
        Flow { whole: None, ..self.with(each(records, "FilterMap", logic)) }
    }

    /// Keeps the records for which `keeps` is true.
    #[must_use]
    pub fn filter(self, mut keeps: impl FnMut(&R) -> bool + 'static) -> Flow<'s, R, K> {
        let records = self.records.clone();
        let logic =
            Box::new(move |_, batch: Drain<'_, R>, made: &mut Vec<R>| made.extend(batch.filter(&mut keeps)));
        Flow { whole: None, ..self.with(each(records, "Filter", logic)) }
    }

    /// Sends each record one of two ways.
    pub fn split<A: Clone + 'static, B: Clone + 'static>(
        self,
        mut logic: impl FnMut(R) -> Either<A, B> + 'static,
    ) -> (Flow<'s, A, K>, Flow<'s, B, K>) {
        let way = move |record| match logic(record) {
            Either::Left(one) => Ok(one),
            Either::Right(other) => Err(other),
        };
        let (left, right) = self.records.clone().ok_err(way);
        (Flow { whole: None, ..self.with(left) }, Flow { whole: None, ..self.with(right) })
    }

    /// Takes the records of both. An operator behind it goes by the slower of their inputs that is neither idle nor ended.
    #[must_use]
    pub fn and(self, other: Flow<'s, R, K>) -> Flow<'s, R, K> {
        let both = self.waiting_for(&other);
        let definitions = match (both.definitions.clone(), other.definitions) {
            (Some(one), Some(other)) => Some(one.concat(other)),
            (one, other) => one.or(other),
        };
        let records = both.records.clone().concat(other.records);
        Flow { definitions, whole: None, ..both.with(records) }
    }

    /// The same records. An operator behind the flow waits for the inputs of `other`, too, as it does behind [`Flow::and`].
    #[must_use]
    pub fn waiting_for<S: Clone + 'static, L: Clone + 'static>(
        self,
        other: &Flow<'s, S, L>,
    ) -> Flow<'s, R, K> {
        let inputs = self.inputs().into_iter().chain(other.inputs()).collect();
        let set = self.pace.borrow_mut().set(&inputs);
        Flow { set, ..self }
    }
}
