//! What the commit protocol needs from outside: storage (one call at a time), a clock, and unique numbers.
//!
//! The protocol is written as `async` functions that await only a [`Site`]. A job runs them to their end in one go
//! ([`run`]); a simulation polls those of several runs step by step, in any order, and drops them where they crash.

use crate::engine::clock::Clock;
use crate::engine::format::manifest::Nonce;
use crate::random::random;
use crate::store::{Created, Error, Published, Store};
use headway_operators::ack::{ByteRange, Place};
use std::cell::Cell;
use std::future::Future;
use std::io::Read;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// How often a call that failed is made again before the job gives up.
const ATTEMPTS: u32 = 8;

/// How long to wait before the first repetition; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(2);

/// Storage one call at a time, a clock, and randomness.
pub struct Site {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    nonces: Box<dyn Fn() -> Nonce + Send>,
    stepped: bool,
}

/// Runs a protocol function to its end.
///
/// # Panics
/// If the function awaits anything but a [`Site`] that is not stepped.
pub fn run<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a site that is not stepped never waits"),
    }
}

/// Gives way once, where the site is stepped.
struct Step(Cell<bool>);

impl Future for Step {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        if self.0.replace(false) { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Site {
    /// The site of a job.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Site {
        Site { store, clock, nonces: Box::new(|| Nonce(random())), stepped: false }
    }

    /// The site of a simulated run, which gives way before every call.
    #[cfg(test)]
    pub(crate) fn stepped(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        nonces: impl Fn() -> Nonce + Send + 'static,
    ) -> Site {
        Site { store, clock, nonces: Box::new(nonces), stepped: true }
    }

    /// Wall-clock time, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.wall_ms()
    }

    /// Time that never goes back, since some moment.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// A unique number.
    pub fn nonce(&self) -> Nonce {
        (self.nonces)()
    }

    /// How a person would name `name`.
    pub fn describe(&self, name: &str) -> String {
        self.store.describe(name)
    }

    /// Waits, or lets others go on.
    pub async fn pause(&self, time: Duration) {
        if self.stepped {
            self.step().await;
        } else {
            std::thread::sleep(time);
        }
    }

    fn step(&self) -> Step {
        Step(Cell::new(self.stepped))
    }

    /// The store itself, for those who read beside the protocol.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Writes a staged file.
    pub fn stage<T>(&self, write: impl FnOnce(&dyn Store) -> T) -> T {
        write(self.store.as_ref())
    }

    /// [`Store::create`], once: its caller resolves an unknown outcome.
    pub async fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, Error> {
        self.step().await;
        self.store.create(name, bytes)
    }

    /// [`Store::publish`], repeated until its outcome is known: if an unreported call has happened, the next one finds the file.
    pub async fn publish(&self, from: &str, to: &str) -> Result<Published, Error> {
        self.repeat(|store| store.publish(from, to)).await
    }

    /// [`Store::read`], repeated.
    pub async fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.repeat(|store| store.read(name, bytes_max)).await
    }

    /// [`Store::list`], repeated.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        self.repeat(|store| store.list(folder)).await
    }

    /// [`Store::delete`], repeated.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.repeat(|store| store.delete(name)).await
    }

    /// Deletes the file `name` and creates it with `bytes`. Between the two, readers find none.
    pub async fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.delete(name).await?;
        self.create(name, bytes).await.map(drop)
    }

    /// [`Store::sync_folder`], never repeated: after a refusal nothing may be assumed.
    pub async fn sync_folder(&self, folder: &str) -> Result<(), Error> {
        self.step().await;
        self.store.sync_folder(folder)
    }

    /// [`Store::read_range`], repeated.
    pub async fn read_range(&self, name: &str, range: ByteRange) -> Result<Option<Vec<u8>>, Error> {
        self.repeat(|store| store.read_range(name, range.from, range.to)).await
    }

    /// [`Store::size`], repeated.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        self.repeat(|store| store.size(name)).await
    }

    /// The bytes of a part of a file; `None` if there is no file.
    pub async fn read_place(&self, place: &Place) -> Result<Option<Vec<u8>>, Error> {
        match place.range {
            Some(range) => self.read_range(&place.name, range).await,
            None => self.read(&place.name, u64::MAX).await,
        }
    }

    /// Size and checksum of a file or a part of one, read whole; `None` if there is no file.
    pub async fn checksum(&self, place: &Place) -> Result<Option<(u64, String)>, Error> {
        if place.range.is_none() {
            return self.repeat(|store| checksum(store, &place.name)).await;
        }
        let bytes = self.read_place(place).await?;
        Ok(bytes.map(|bytes| (bytes.len() as u64, format!("{:032x}", xxh3_128(&bytes)))))
    }

    async fn repeat<T>(&self, mut call: impl FnMut(&dyn Store) -> Result<T, Error>) -> Result<T, Error> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            self.step().await;
            match call(self.store.as_ref()) {
                Err(Error::Failed { .. } | Error::Unknown { .. }) => self.pause(pause).await,
                result => return result,
            }
            pause *= 2;
        }
        self.step().await;
        call(self.store.as_ref())
    }
}

/// Size and xxh3-128 of a file, in hexadecimal; `None` if there is none.
pub fn checksum(store: &dyn Store, name: &str) -> Result<Option<(u64, String)>, Error> {
    let Some(mut file) = store.open(name)? else { return Ok(None) };
    let (mut hash, mut bytes, mut buffer) = (Xxh3::new(), 0, vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some((bytes, format!("{:032x}", hash.digest128())))),
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Failed { verb: "read", name: store.describe(name), source }),
        }
    }
}
