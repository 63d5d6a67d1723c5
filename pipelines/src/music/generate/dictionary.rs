//! What the generator draws from: songs, places, names and browsers. Small lists ship inside; files of the same form as
//! the public ones of eventsim take their place.

use super::weighted::Weighted;
use crate::draws::Draws;
use headway_operators::state::KeyHash;

const SONGS: &str = include_str!("data/songs.tsv");
/// ZIP codes and places of the United States, from GeoNames (CC BY 4.0).
const PLACES: &str = include_str!("data/places.tsv");
/// Given names of 1990 (Social Security Administration), and surnames of 2000 (Census Bureau).
const FIRST_NAMES: &str = include_str!("data/first-names.csv");
const SURNAMES: &str = include_str!("data/surnames.csv");
const AGENTS: &str = include_str!("data/agents.tsv");

/// A line of a dictionary that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1; 0 if the file has no line that can be used.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A song, with its texts as JSON writes them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Song {
    /// `"artist":"…","song":"…","duration":…`
    pub(super) json: String,
    /// How long it plays, in whole milliseconds.
    pub(super) plays_ms: i64,
}

/// Songs, each with how often it is played.
#[derive(Clone, Debug)]
pub struct Songs {
    songs: Vec<Song>,
    weights: Weighted,
    digest: u64,
}

/// Where users live.
#[derive(Clone, Debug)]
pub struct Places {
    /// `"city":"…","zip":"…","state":"…"` and `"lon":…,"lat":…`
    places: Vec<[String; 2]>,
    digest: u64,
}

/// What users are called.
#[derive(Clone, Debug)]
pub struct FirstNames {
    /// `"firstName":"…","gender":"…"`
    names: Vec<String>,
    weights: Weighted,
    digest: u64,
}

/// What families are called.
#[derive(Clone, Debug)]
pub struct Surnames {
    /// `"lastName":"…"`
    names: Vec<String>,
    weights: Weighted,
    digest: u64,
}

/// All dictionaries.
#[derive(Clone, Debug)]
pub struct Dictionary {
    /// What is played.
    pub songs: Songs,
    /// Where from.
    pub places: Places,
    /// By whom.
    pub first_names: FirstNames,
    /// By whom.
    pub surnames: Surnames,
    agents: Agents,
}

#[derive(Clone, Debug)]
struct Agents {
    /// `"userAgent":"…"`
    agents: Vec<String>,
    weights: Weighted,
}

/// What does not change of a user, as JSON writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person<'a> {
    /// City, ZIP code, state.
    pub(super) place: &'a str,
    /// The browser.
    pub(super) agent: &'a str,
    /// Longitude and latitude.
    pub(super) position: &'a str,
    /// The family's name.
    pub(super) surname: &'a str,
    /// First name and gender.
    pub(super) first_name: &'a str,
}

impl Default for Dictionary {
    fn default() -> Dictionary {
        const WHY: &str = "the lists inside are read by a test";
        let (agents, weights) = weighted(AGENTS, |line| {
            let (weight, agent) = line.split_once('\t').ok_or("it has not 2 fields")?;
            Ok(Some((format!("\"userAgent\":{}", quoted(agent)), number(weight)?)))
        })
        .expect(WHY);
        Dictionary {
            songs: Songs::read(SONGS).expect(WHY),
            places: Places::read(PLACES).expect(WHY),
            first_names: FirstNames::read(FIRST_NAMES).expect(WHY),
            surnames: Surnames::read(SURNAMES).expect(WHY),
            agents: Agents { agents, weights },
        }
    }
}

impl Dictionary {
    /// A hash of the texts that it was read from.
    pub(super) fn digest(&self) -> u64 {
        let parts = [self.songs.digest, self.places.digest, self.first_names.digest, self.surnames.digest];
        digest(&parts.map(|part| format!("{part:016x}")).concat())
    }

    /// What user `user` is called, and where they are: a function of the seed and the number.
    pub(super) fn person(&self, seed: u64, user: u64) -> Person<'_> {
        let mut draws = Draws::new(seed, user);
        let first = self.first_names.weights.draw(&mut draws);
        let surname = self.surnames.weights.draw(&mut draws);
        let agent = self.agents.weights.draw(&mut draws);
        let [place, position] = &self.places.places[draws.below(self.places.places.len() as u64) as usize];
        Person {
            place,
            agent: &self.agents.agents[agent as usize],
            position,
            surname: &self.surnames.names[surname as usize],
            first_name: &self.first_names.names[first as usize],
        }
    }
}

impl Songs {
    /// Songs of lines `track, artist, title, duration in seconds, plays`, parted by tabs, without a header, as in
    /// `listen_counts.txt`.
    ///
    /// # Errors
    /// The first line that is not of this form.
    pub fn read(text: &str) -> Result<Songs, BadLine> {
        let (songs, weights) = weighted(text, |line| {
            let [_, artist, title, duration, plays] = fields(line, '\t').ok_or("it has not 5 fields")?;
            let seconds = number(duration)?;
            let (artist, title) = (quoted(artist), quoted(title));
            let json = format!("\"artist\":{artist},\"song\":{title},\"duration\":{seconds:?}");
            Ok(Some((Song { json, plays_ms: (seconds as i64).saturating_mul(1000) }, number(plays)?)))
        })?;
        Ok(Songs { songs, weights, digest: digest(text) })
    }

    /// Draws a song.
    pub(super) fn draw(&self, draws: &mut Draws) -> u32 {
        self.weights.draw(draws)
    }

    /// The song of this number.
    pub(super) fn song(&self, number: u32) -> &Song {
        &self.songs[number as usize]
    }
}

impl Places {
    /// Places of the twelve fields of GeoNames' postal codes, parted by tabs: the second is the ZIP code, the third the
    /// city, the fifth the state's code, the tenth and eleventh latitude and longitude.
    ///
    /// # Errors
    /// The first line that is not of this form.
    pub fn read(text: &str) -> Result<Places, BadLine> {
        let (places, _) = weighted(text, |line| {
            let fields: [&str; 12] = fields(line, '\t').ok_or("it has not 12 fields")?;
            let [zip, city, state] = [fields[1], fields[2], fields[4]].map(quoted);
            let (latitude, longitude) = (number_of_any_sign(fields[9])?, number_of_any_sign(fields[10])?);
            let place = format!("\"city\":{city},\"zip\":{zip},\"state\":{state}");
            Ok(Some(([place, format!("\"lon\":{longitude:?},\"lat\":{latitude:?}")], 1.0)))
        })?;
        Ok(Places { places, digest: digest(text) })
    }
}

impl FirstNames {
    /// Names of lines `name,F or M,count`, without a header, as in `yob1990.txt`.
    ///
    /// # Errors
    /// The first line that is not of this form.
    pub fn read(text: &str) -> Result<FirstNames, BadLine> {
        let (names, weights) = weighted(text, |line| {
            let [name, gender, count] = fields(line, ',').ok_or("it has not 3 fields")?;
            if !matches!(gender, "F" | "M") {
                return Err("its second field is neither F nor M");
            }
            let (name, gender) = (quoted(&capitalised(name)), quoted(gender));
            Ok(Some((format!("\"firstName\":{name},\"gender\":{gender}"), number(count)?)))
        })?;
        Ok(FirstNames { names, weights, digest: digest(text) })
    }
}

impl Surnames {
    /// Names of lines that begin `name,rank,count`, after a header, as in `Top1000Surnames.csv`.
    ///
    /// # Errors
    /// The first line that is not of this form.
    pub fn read(text: &str) -> Result<Surnames, BadLine> {
        let (names, weights) = weighted(text, |line| {
            let mut fields = line.split(',');
            let [Some(name), Some(_), Some(count)] = [fields.next(), fields.next(), fields.next()] else {
                return Err("it has less than 3 fields");
            };
            if name == "name" {
                return Ok(None);
            }
            Ok(Some((format!("\"lastName\":{}", quoted(&capitalised(name))), number(count)?)))
        })?;
        Ok(Surnames { names, weights, digest: digest(text) })
    }
}

/// Reads lines of an entry and its weight each; a line may be passed over.
fn weighted<T>(
    text: &str,
    read: impl Fn(&str) -> Result<Option<(T, f64)>, &'static str>,
) -> Result<(Vec<T>, Weighted), BadLine> {
    let (mut entries, mut weights) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        if let Some((entry, weight)) = read(line).map_err(|what| BadLine { line: number, what })? {
            entries.push(entry);
            weights.push(weight);
        }
    }
    let table = Weighted::new(&weights).ok_or(BadLine { line: 0, what: "it has no entries" })?;
    Ok((entries, table))
}

/// The first half of the hash of a text.
fn digest(text: &str) -> u64 {
    let KeyHash([high, _]) = KeyHash::of(text.as_bytes());
    high
}

/// The fields of a line that has exactly so many.
fn fields<const N: usize>(line: &str, between: char) -> Option<[&str; N]> {
    line.split(between).collect::<Vec<_>>().try_into().ok()
}

fn number_of_any_sign(text: &str) -> Result<f64, &'static str> {
    let number: Option<f64> = text.trim().parse().ok();
    number.filter(|number| number.is_finite()).ok_or("a field that should be a number is none")
}

fn number(text: &str) -> Result<f64, &'static str> {
    let number = number_of_any_sign(text)?;
    (0.0..=1e15).contains(&number).then_some(number).ok_or("a number is negative or too large")
}

/// A text as JSON writes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name with its first letter large and the others small.
fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.flat_map(char::to_lowercase)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_inside_are_read() {
        let Dictionary { songs, places, first_names, surnames, agents } = Dictionary::default();
        let counts = [
            songs.songs.len(),
            places.places.len(),
            first_names.names.len(),
            surnames.names.len(),
            agents.agents.len(),
        ];
        assert_eq!(counts, [243, 86, 80, 100, 16]);
        assert_eq!(surnames.names[0], "\"lastName\":\"Smith\"");
        assert!(agents.agents[0].starts_with(r#""userAgent":"\"Mozilla/5.0"#), "{}", agents.agents[0]);
    }

    #[test]
    fn line_of_another_form_is_named() {
        let bad = |line, what| Some(BadLine { line, what });
        assert_eq!(Songs::read("a\tb\tc\t1.5\t2\nx\n").err(), bad(2, "it has not 5 fields"));
        let word = "a field that should be a number is none";
        assert_eq!(Songs::read("a\tb\tc\tlong\t2\n").err(), bad(1, word));
        assert_eq!(Songs::read("a\tb\tc\t1\tNaN\n").err(), bad(1, word));
        assert_eq!(FirstNames::read("Ann,X,3").err(), bad(1, "its second field is neither F nor M"));
        assert_eq!(Surnames::read("name,rank,count\n").err(), bad(0, "it has no entries"));
        let far = "US\t1\tA\tB\tC\tD\t1\t\t\tnorth\t2\t";
        assert_eq!(Places::read(far).err(), bad(1, word));
    }
}
