//! The encodings: how a batch of records becomes bytes, and how the other process reads them.

use crate::records::{Music, Record, Turnstile};
use columnar::bytes::stash::Stash;
use columnar::{Borrow, Clear, Columnar, Index, Len, Push};

/// A way to send batches of `R`.
pub trait Encoding<R> {
    const NAME: &'static str;

    /// Appends `batch` to `bytes`.
    #[expect(clippy::ptr_arg, reason = "abomonation writes the head of the vector")]
    fn encode(&mut self, batch: &Vec<R>, bytes: &mut Vec<u8>);

    /// Reads every record of a batch, whose first byte is aligned to eight bytes. Returns how many records there were, and the sum
    /// of what was read.
    fn read(bytes: &mut [u8]) -> (u64, u64);
}

/// What timely does with a container of type `Vec`.
#[derive(Default)]
pub struct Bincode;

impl<R: Record + serde::Serialize + serde::de::DeserializeOwned> Encoding<R> for Bincode {
    const NAME: &'static str = "bincode 1";

    fn encode(&mut self, batch: &Vec<R>, bytes: &mut Vec<u8>) {
        bincode::serialize_into(bytes, batch).expect("memory takes every byte");
    }

    fn read(bytes: &mut [u8]) -> (u64, u64) {
        let batch: Vec<R> = bincode::deserialize(bytes).expect("it was written by the same program");
        sum(&batch)
    }
}

/// A plain record as the bytes that it has in memory, checked for size and place. A record with texts cannot be sent so.
#[derive(Default)]
pub struct Bytemuck;

impl Encoding<Turnstile> for Bytemuck {
    const NAME: &'static str = "bytemuck";

    fn encode(&mut self, batch: &Vec<Turnstile>, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(bytemuck::cast_slice(batch));
    }

    fn read(bytes: &mut [u8]) -> (u64, u64) {
        sum(bytemuck::cast_slice::<u8, Turnstile>(bytes))
    }
}

/// A column of all records' first fields, then one of their second, and so on; read in place.
#[derive(Default)]
pub struct InColumns<R: Columnar>(R::Container);

impl Encoding<Turnstile> for InColumns<Turnstile> {
    const NAME: &'static str = "columnar";

    fn encode(&mut self, batch: &Vec<Turnstile>, bytes: &mut Vec<u8>) {
        self.0.clear();
        batch.iter().for_each(|record| self.0.push(record));
        columns_to_bytes::<Turnstile>(&mut self.0, bytes);
    }

    fn read(bytes: &mut [u8]) -> (u64, u64) {
        let stash = columns::<Turnstile>(bytes);
        let columns = stash.borrow();
        let read = (0..columns.len())
            .map(|at| columns.get(at))
            .map(|row| row.key ^ row.identity.wrapping_add(*row.entries as u64));
        (columns.len() as u64, read.fold(0, u64::wrapping_add))
    }
}

impl Encoding<Music> for InColumns<Music> {
    const NAME: &'static str = "columnar";

    fn encode(&mut self, batch: &Vec<Music>, bytes: &mut Vec<u8>) {
        self.0.clear();
        batch.iter().for_each(|record| self.0.push(record));
        columns_to_bytes::<Music>(&mut self.0, bytes);
    }

    fn read(bytes: &mut [u8]) -> (u64, u64) {
        let stash = columns::<Music>(bytes);
        let columns = stash.borrow();
        let read = (0..columns.len())
            .map(|at| columns.get(at))
            .map(|row| (*row.ints.get(1) as u64) ^ row.text.len() as u64 ^ u64::from(*row.ends.get(3)));
        (columns.len() as u64, read.fold(0, u64::wrapping_add))
    }
}

fn columns_to_bytes<R: Columnar<Container: columnar::ContainerBytes>>(
    filled: &mut R::Container,
    bytes: &mut Vec<u8>,
) {
    let mut words = Vec::new();
    columnar::bytes::indexed::encode(&mut words, &filled.borrow());
    bytes.extend_from_slice(bytemuck::cast_slice(&words));
}

fn columns<R: Columnar<Container: columnar::ContainerBytes>>(bytes: &[u8]) -> Stash<R::Container, &[u8]> {
    Stash::try_from_bytes(bytes).expect("it was written by the same program")
}

/// Memory as it lies there, with pointers made good in place. Unsound: bytes of anyone else would be obeyed.
#[derive(Default)]
pub struct Abomonation;

impl<R: Record + abomonation::Abomonation> Encoding<R> for Abomonation {
    const NAME: &'static str = "abomonation";

    fn encode(&mut self, batch: &Vec<R>, bytes: &mut Vec<u8>) {
        // SAFETY: only the same program reads it, which is all that the crate asks. It copies gaps between fields too, which is
        // undefined for a record that has some: one more reason why nothing but this measurement does it.
        unsafe { abomonation::encode(batch, bytes) }.expect("memory takes every byte");
    }

    fn read(bytes: &mut [u8]) -> (u64, u64) {
        // SAFETY: as above; the bytes lie at a multiple of eight.
        let (batch, rest) =
            unsafe { abomonation::decode::<Vec<R>>(bytes) }.expect("it was written by the same program");
        assert!(rest.iter().all(|&byte| byte == 0), "nothing but filling is left");
        sum(batch)
    }
}

fn sum<R: Record>(batch: &[R]) -> (u64, u64) {
    (batch.len() as u64, batch.iter().map(Record::read).fold(0, u64::wrapping_add))
}
