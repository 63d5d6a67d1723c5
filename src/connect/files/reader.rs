//! Reads one file on behalf of one worker: its lines as messages, or the envelopes of some of its partitions.

use crate::connect::error::Error;
use crate::connect::files::captures::chain::{CaptureStart, note_gap, record_hash};
use crate::connect::files::content::{self, is_capture};
use crate::connect::files::envelopes::envelope::{Envelopes, Head};
use crate::connect::files::envelopes::malformed::Malformed;
use crate::connect::files::follow::Follow;
use crate::connect::files::growing::is_replaced;
use crate::connect::files::header::{self, Header};
use crate::connect::files::identity::mark::Mark;
use crate::connect::files::lines::{Line, Lines, Value};
use crate::connect::files::place::Place;
use crate::connect::files::unpack::Bytes;
use crate::connect::{Event, MESSAGE_BYTES_MIN, error};
use headway_operators::ack::{Content, OffsetRange};
use headway_operators::record::{File, Offset, Partition, Payload, Raw};
use headway_operators::spec::HeaderSpec;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A partition that is read from a file.
#[derive(Debug)]
struct Wanted {
    partition: Partition,
    /// The first offset that is given.
    next: Offset,
    /// The newest offset in the file so far.
    seen: Option<Offset>,
    paused: bool,
    /// Of an envelope: what is known of those before, for the next run.
    record: Option<u128>,
    gaps: Vec<OffsetRange>,
    /// An offset of it was seen in this file.
    begun: bool,
    /// Where its files end, if they do not grow.
    end: Option<Offset>,
}

impl Wanted {
    /// The next offset, for all that was read so far.
    fn position(&self) -> Offset {
        self.seen.map_or(Offset(0), |seen| seen + 1).max(self.next)
    }
}

/// Reads a file.
pub(super) struct Reader {
    place: Place,
    /// `None` once everything is read of a file that does not grow.
    lines: Option<Lines<Bytes>>,
    /// The next line, from 0.
    line: u64,
    /// Bytes of a line that comes in pieces.
    pieces: usize,
    decode: Decode,
    wanted: Vec<Wanted>,
    /// When the end was last seen; `None` if there may be more at once.
    ended: Option<Instant>,
    /// There was no part of a line then whose end was not written.
    between: bool,
    /// Everything that was given of a file that was read to its end for good.
    mark: Option<Mark>,
    /// How the file began when that was noted.
    begin: Vec<u8>,
    /// What [`Reader::content`] has answered last.
    told: BTreeMap<Partition, Content>,
    /// What the look at the folder must know, and says.
    follow: Arc<Follow>,
    /// Of a capture: the file, by its place in the list of files.
    file: usize,
    /// The files that come after this one, of a capture in several.
    more: VecDeque<Link>,
}

/// A file of a capture in several.
pub(super) struct Link {
    /// The file, by its place in the list of files.
    pub(super) file: usize,
    /// Where it is.
    pub(super) place: Place,
}

/// Where a captured partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoesOn {
    /// The next file, by its place in the list.
    pub(super) file: usize,
    /// Everything before that was given.
    pub(super) is_due: bool,
}

/// Partitions that leave a reader together, for a reader of another file.
pub(super) struct Leaving {
    /// The file, by its place in the list.
    pub(super) file: usize,
    wanted: Vec<Wanted>,
}

impl Leaving {
    /// The partitions, and how far each was read.
    pub(super) fn positions(&self) -> impl Iterator<Item = (Partition, Offset)> {
        self.wanted.iter().map(|wanted| (wanted.partition, wanted.position()))
    }

    /// Their reader in the file at `link`.
    pub(super) fn reader(self, link: Link, topic: Option<&str>) -> Reader {
        let mut reader = Reader::of_captures(link, &[], topic);
        let next = |wanted: Wanted| Wanted { next: wanted.position(), seen: None, begun: false, ..wanted };
        reader.wanted = self.wanted.into_iter().map(next).collect();
        reader
    }
}

/// What reads the partitions of a worker.
#[derive(Default)]
pub(super) struct Readers {
    /// Each reads a file, or several one after the other.
    pub(super) readers: Vec<Reader>,
    /// Partitions that no file holds any more, with the offset that each was read to.
    pub(super) quiet: Vec<(Partition, Offset)>,
}

/// What a line is.
enum Decode {
    /// A message, or a header; what is kept is of a line in pieces.
    Raw(Value, Option<Header>, File),
    /// An envelope around a message.
    Envelopes(Box<Envelopes>),
}

impl Reader {
    /// A reader of `place`, which holds raw lines: those of `partition` from `next` on. `earlier` files of its name were met before it.
    pub(super) fn raw(
        place: Place,
        partition: Partition,
        next: Offset,
        header: Option<HeaderSpec>,
        earlier: u32,
    ) -> Reader {
        let file = File { name: place.relative.as_str().into(), earlier };
        Reader::new(place, &[(partition, next)], Decode::Raw(Value::default(), header.map(Header::new), file))
    }

    /// The same, of a file that is followed.
    pub(super) fn following(self, follow: &Arc<Follow>) -> Reader {
        let lines = self.place.lines_with(follow.evidence()).hashed();
        Reader { follow: Arc::clone(follow), lines: Some(lines), ..self }
    }

    /// Goes on in another file, if the look at the folder has found one that begins with all that was read.
    pub(super) fn change_file(&mut self) {
        let Some(place) = self.follow.take() else { return };
        self.lines = Some(place.lines_with(self.follow.evidence()).hashed());
        self.place = place;
        for wanted in &mut self.wanted {
            (wanted.next, wanted.seen) = (wanted.position(), None);
        }
        if let Decode::Raw(value, header, _) = &mut self.decode {
            value.clear();
            header.iter_mut().for_each(Header::begin_again);
        }
        (self.line, self.pieces, self.ended, self.mark) = (0, 0, None, None);
        self.begin.clear();
    }

    /// A reader of `links`, which hold envelopes and come one after the other.
    pub(super) fn envelopes(
        mut links: VecDeque<Link>,
        starts: &[CaptureStart],
        topic: Option<&str>,
    ) -> Option<Reader> {
        let link = links.pop_front()?;
        let begin: Vec<_> = starts.iter().map(|start| (start.partition, start.next)).collect();
        let mut reader = Reader::of_captures(link, &begin, topic);
        reader.more = links;
        for (wanted, start) in reader.wanted.iter_mut().zip(starts) {
            wanted.end = start.end;
            if let Some(known) = &start.known {
                wanted.record = u128::from_str_radix(&known.xxh3, 16).ok();
                wanted.gaps.clone_from(&known.gaps);
            }
        }
        Some(reader)
    }

    fn of_captures(link: Link, starts: &[(Partition, Offset)], topic: Option<&str>) -> Reader {
        let Link { file, place } = link;
        let decode = Decode::Envelopes(Box::new(Envelopes::of(topic)));
        Reader { file, ..Reader::new(place, starts, decode) }
    }

    /// Goes on with the next file of a capture. False if this is the last.
    fn next_file(&mut self) -> bool {
        let Some(Link { file, place }) = self.more.pop_front() else { return false };
        (self.lines, self.place, self.line, self.file) = (Some(place.lines()), place, 0, file);
        self.wanted.iter_mut().for_each(|wanted| wanted.begun = false);
        true
    }

    /// Takes out the partitions of a capture that go on in another file, as `goes_on` says. The partitions that go on in one file leave
    /// together, once every record before that file was given for all of them. Returns with them whether some still wait for that.
    pub(super) fn leave(
        &mut self,
        goes_on: impl Fn(Partition, Offset, usize) -> Option<GoesOn>,
    ) -> (Vec<Leaving>, bool) {
        if !matches!(self.decode, Decode::Envelopes(_)) {
            return (Vec::new(), false);
        }
        if self.ended.is_none() || !self.between || !self.more.is_empty() {
            return (Vec::new(), true);
        }
        let of = |wanted: &Wanted| goes_on(wanted.partition, wanted.position(), self.file);
        let found: Vec<Option<GoesOn>> = self.wanted.iter().map(of).collect();
        let must_wait = |file| found.iter().flatten().any(|next| next.file == file && !next.is_due);
        let (mut leaving, mut waits) = (Vec::<Leaving>::new(), false);
        let mut stay = Vec::new();
        for (wanted, next) in std::mem::take(&mut self.wanted).into_iter().zip(&found) {
            let Some(GoesOn { file, .. }) = next.filter(|next| !must_wait(next.file)) else {
                waits |= next.is_some();
                stay.push(wanted);
                continue;
            };
            match leaving.iter_mut().find(|group| group.file == file) {
                Some(group) => group.wanted.push(wanted),
                None => leaving.push(Leaving { file, wanted: vec![wanted] }),
            }
        }
        self.wanted = stay;
        (leaving, waits)
    }

    /// Of a capture: the file, by its place in the list of files.
    pub(super) fn file(&self) -> usize {
        self.file
    }

    /// True if nothing is read here any more.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }

    fn new(place: Place, starts: &[(Partition, Offset)], decode: Decode) -> Reader {
        let wanted = |(partition, next): &(Partition, Offset)| Wanted {
            partition: *partition,
            next: *next,
            seen: None,
            paused: false,
            record: None,
            gaps: Vec::new(),
            begun: false,
            end: None,
        };
        let lines = match decode {
            Decode::Raw(..) => place.lines().hashed(),
            Decode::Envelopes(_) => place.lines(),
        };
        let (lines, wanted) = (Some(lines), starts.iter().map(wanted).collect());
        let (ended, between, mark, told, follow) = (None, true, None, BTreeMap::new(), Arc::default());
        let begin = Vec::new();
        let (line, pieces, file, more) = (0, 0, 0, VecDeque::new());
        Reader {
            place,
            lines,
            line,
            pieces,
            decode,
            wanted,
            ended,
            between,
            mark,
            begin,
            told,
            follow,
            file,
            more,
        }
    }

    /// True if `partition` is read here.
    pub(super) fn has(&self, partition: Partition) -> bool {
        self.wanted.iter().any(|wanted| wanted.partition == partition)
    }

    /// Everything that was given of `partition`, where that is all before `next` and has changed since the last call.
    pub(super) fn content(&mut self, partition: Partition, next: Offset) -> Option<Content> {
        let at_end = self.ended.is_some() && self.between && self.more.is_empty();
        let wanted = self.wanted.iter().find(|wanted| wanted.partition == partition)?;
        if matches!(self.decode, Decode::Envelopes(_)) {
            let hash = wanted.record.filter(|_| wanted.position() == next)?;
            // Nobody reads on to the end of a file that has no more of the partition.
            let at_end = wanted.end.map_or(at_end, |end| wanted.position() >= end);
            let gaps = wanted.gaps.clone();
            let content = Content { gaps, ..Mark { bytes: 0, hash }.content(&[], at_end) };
            return (self.told.get(&partition) != Some(&content)).then(|| {
                self.told.insert(partition, content.clone());
                content
            });
        }
        if self.pieces > 0 || Offset(self.line as i64) != next {
            return None;
        }
        if let Some(mut lines) = self.lines.take() {
            self.note(&mut lines);
            self.lines = Some(lines);
        }
        let content = self.mark?.content(&self.begin, at_end);
        (self.told.get(&partition) != Some(&content)).then(|| {
            self.told.insert(partition, content.clone());
            content
        })
    }

    /// True if nothing is to be read now. Partitions that share a file rest together or not at all: one that waits
    /// for another one in the same file would wait for ever.
    ///
    /// A file that was read to its end is looked at for more after `look_again`.
    pub(super) fn rests(&self, look_again: Duration) -> bool {
        self.lines.is_none()
            || self.wanted.iter().all(|wanted| wanted.paused)
            || self.ended.is_some_and(|ended| ended.elapsed() < look_again)
    }

    /// Pauses or resumes a partition, if it is read here.
    pub(super) fn pause(&mut self, partition: Partition, paused: bool) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.partition == partition) {
            wanted.paused = paused;
        }
    }

    /// Reads about `bytes_max` bytes of lines. True if there may be more at once.
    pub(super) fn read(&mut self, bytes_max: usize, each: &mut dyn FnMut(Event<'_>)) -> Result<bool, Error> {
        let Some(mut lines) = self.lines.take() else { return Ok(false) };
        let mut bytes = 0;
        while bytes < bytes_max {
            let line = match lines.next() {
                Ok(line) => line,
                Err(source) => {
                    if !self.is_away(&source, lines.is_between()) {
                        return Err(self.place.unreadable(source));
                    }
                    self.ended = Some(Instant::now());
                    self.note(&mut lines);
                    self.lines = (!self.place.spot.is_replaced()).then_some(lines);
                    return Ok(bytes > 0);
                }
            };
            let Some(line) = line else {
                self.between = lines.is_between();
                if self.between && self.next_file() {
                    return Ok(true);
                }
                self.end(bytes > 0, each)?;
                self.note(&mut lines);
                if self.place.bytes.is_none() {
                    self.follow.note(self.mark.filter(|_| self.between));
                    self.lines = Some(lines);
                }
                return Ok(bytes > 0);
            };
            let newline = usize::from(!matches!(line, Line::Piece(_)));
            if let Line::Whole(piece) | Line::Piece(piece) = line {
                self.pieces += piece.len();
                bytes += piece.len();
            }
            bytes += if newline == 1 { MESSAGE_BYTES_MIN.saturating_sub(self.pieces).max(1) } else { 0 };
            self.take(line, each)?;
            if newline == 1 {
                self.pieces = 0;
                self.line += 1;
            }
        }
        self.ended = None;
        self.lines = Some(lines);
        Ok(true)
    }

    /// Notes everything that was given.
    fn note(&mut self, lines: &mut Lines<Bytes>) {
        self.mark = lines.mark();
        if self.begin.len() < lines.begin().len() {
            self.begin = lines.begin().to_vec();
        }
    }

    /// True if `error` says that a followed file is no longer where it was, after it was read to its end. It may have been
    /// renamed, and is looked for; or it was cut or replaced, and whatever is in its place now is another file.
    fn is_away(&self, error: &io::Error, is_between: bool) -> bool {
        let at_end = self.place.bytes.is_none() && self.ended.is_some() && is_between;
        if at_end && is_replaced(error) {
            self.place.spot.replace();
        }
        at_end && (is_replaced(error) || error.kind() == ErrorKind::NotFound)
    }

    /// Takes a line, or a piece of one.
    fn take(&mut self, line: Line<'_>, each: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let read = self.pieces + 1;
        match &mut self.decode {
            Decode::Raw(value, header, file) => {
                let payload = match line {
                    Line::Whole(line) if is_capture(line) => {
                        return Err(self.place.refused(&content::capture_below(self.line)));
                    }
                    Line::Whole(line) => {
                        let mut kind = |header: &mut Header| header.take(&self.place, self.line, line);
                        match header.as_mut().map(&mut kind).transpose()? {
                            Some(header::Kind::Header) => Payload::Header,
                            Some(header::Kind::Message) | None => Payload::of(Some(line)),
                        }
                    }
                    Line::Piece(piece) => {
                        value.add(piece);
                        return Ok(());
                    }
                    Line::End => {
                        header.iter_mut().for_each(Header::take_long);
                        value.payload()
                    }
                };
                let (wanted, offset) = (&mut self.wanted[0], Offset(self.line as i64));
                wanted.seen = Some(offset);
                if offset >= wanted.next {
                    let columns = header.as_ref().and_then(Header::columns);
                    let raw = Raw { columns, file: Some(file), ..Raw::of(wanted.partition, offset, payload) };
                    each(Event::Message(raw, read));
                }
                if line == Line::End {
                    value.clear();
                }
                Ok(())
            }
            Decode::Envelopes(envelopes) => {
                take_envelope(envelopes, line, &mut self.wanted, &mut |raw| each(Event::Message(raw, read)))
                    .map_err(|malformed| self.place.unusable(self.line, malformed))
            }
        }
    }

    /// Says how far the partitions were read, if there was anything new; refuses a file that has less than was read.
    fn end(&mut self, is_new: bool, each: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let is_first = self.ended.is_none();
        self.ended = Some(Instant::now());
        if !is_new && !is_first {
            return Ok(());
        }
        for wanted in &self.wanted {
            let there = wanted.seen.map_or(Offset(0), |seen| seen + 1);
            if wanted.next > there {
                let (input, partition) = ("files".to_string(), wanted.partition);
                let name = &self.place.relative;
                let expected = format!("{name} with offset {}", wanted.next.0 - 1);
                let found = format!("{name}, which ends before offset {there}");
                return Err(error::Error::OtherIdentity { input, partition, expected, found });
            }
            each(Event::CaughtUp(wanted.partition, wanted.position()));
        }
        Ok(())
    }
}

/// Takes a line of envelopes; gives the message if it is wanted.
fn take_envelope(
    envelopes: &mut Envelopes,
    line: Line<'_>,
    wanted: &mut [Wanted],
    give: &mut dyn FnMut(Raw<'_>),
) -> Result<(), Malformed> {
    let Some(head) = envelopes.take(line)?.filter(|head| head.is_of_topic) else { return Ok(()) };
    let Head { partition, offset, .. } = head;
    let Some(wanted) = wanted.iter_mut().find(|wanted| wanted.partition == partition) else { return Ok(()) };
    rises(wanted.seen, partition, offset)?;
    if !std::mem::replace(&mut wanted.begun, true) && offset >= wanted.next {
        let position = wanted.position();
        note_gap(&mut wanted.gaps, position, offset);
    }
    wanted.seen = Some(offset);
    if offset >= wanted.next {
        let raw = envelopes.raw(&head)?;
        wanted.record = Some(record_hash(raw.payload));
        give(raw);
    }
    Ok(())
}

/// Refuses an offset that does not follow `seen`, the one before it in the file.
pub(super) fn rises(seen: Option<Offset>, partition: Partition, offset: Offset) -> Result<(), Malformed> {
    match seen.filter(|seen| *seen >= offset) {
        None => Ok(()),
        Some(seen) => Err(Malformed::falling(partition, seen, offset)),
    }
}
