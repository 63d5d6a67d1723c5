//! What messages look like: the fields in upstream's order, those that do not apply left out, and a newline at the end.

use super::dictionary::Person;
use super::machine::Auth;
use super::simulation::Event;
use super::world::World;
use crate::digits::number_to;
use crate::music::topic::Topic;

/// True if `event` is a message of `topic`.
pub(super) fn is_in(topic: Topic, event: &Event, world: &World) -> bool {
    match topic {
        Topic::Listen => event.song().is_some(),
        Topic::PageView => true,
        Topic::Auth => event.is_answer_to_login,
        Topic::StatusChange => world.machine.state(event.state).is_status_change(),
    }
}

/// Writes the message of `topic` for `event`.
pub(super) fn write(topic: Topic, event: &Event, world: &World, out: &mut Vec<u8>) {
    let person = world.dictionary.person(!world.options.seed, event.user);
    let state = world.machine.state(event.state);
    let level = state.standing.level.name();
    let auth = state.standing.auth.name();
    let song = event.song().map(|song| world.dictionary.songs.song(song).json.as_str());
    out.push(b'{');
    match topic {
        Topic::Listen => {
            song.into_iter().for_each(|song| raw(song, out));
            number("ts", event.ts_ms, out);
            number("sessionId", event.session, out);
            text("auth", auth, out);
            text("level", level, out);
            number("itemInSession", event.item, out);
            device(&person, out);
            user(&person, event, state.shows_user(), out);
        }
        Topic::PageView => {
            number("ts", event.ts_ms, out);
            number("sessionId", event.session, out);
            text("page", state.page, out);
            text("auth", auth, out);
            text("method", state.method, out);
            number("status", state.status, out);
            text("level", level, out);
            number("itemInSession", event.item, out);
            device(&person, out);
            user(&person, event, state.shows_user(), out);
            song.into_iter().for_each(|song| raw(song, out));
        }
        Topic::Auth => {
            number("ts", event.ts_ms, out);
            number("sessionId", event.session, out);
            text("level", level, out);
            number("itemInSession", event.item, out);
            device(&person, out);
            user(&person, event, state.shows_user(), out);
            raw(
                if state.standing.auth == Auth::LoggedIn { "\"success\":true" } else { "\"success\":false" },
                out,
            );
        }
        Topic::StatusChange => {
            number("ts", event.ts_ms, out);
            number("sessionId", event.session, out);
            text("auth", auth, out);
            text("level", level, out);
            number("itemInSession", event.item, out);
            device(&person, out);
            user(&person, event, state.shows_user(), out);
        }
    }
    out.extend_from_slice(b"}\n");
}

fn device(person: &Person<'_>, out: &mut Vec<u8>) {
    raw(person.place, out);
    raw(person.agent, out);
    raw(person.position, out);
}

fn user(person: &Person<'_>, event: &Event, is_shown: bool, out: &mut Vec<u8>) {
    if is_shown {
        number("userId", event.user, out);
        raw(person.surname, out);
        raw(person.first_name, out);
        number("registration", event.registered_ms, out);
    }
}

/// Writes fields that are JSON already.
fn raw(fields: &str, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(fields.as_bytes());
}

fn name(name: &str, out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a field whose text needs no escapes.
fn text(field: &str, value: &str, out: &mut Vec<u8>) {
    name(field, out);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn number(field: &str, value: impl Into<i128>, out: &mut Vec<u8>) {
    let value = value.into();
    name(field, out);
    if value < 0 {
        out.push(b'-');
    }
    number_to(u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX), 1, out);
}
