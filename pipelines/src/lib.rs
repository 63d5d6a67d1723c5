//! Headway's pipelines: which operators, in which order, for one subject.
//!
//! No I/O: a pipeline takes messages and gives named outputs, and what stands at both ends is configuration.
//! [`all`] is the catalogue; a new pipeline is a folder like [`turnstile`] and one line there.
#![forbid(unsafe_code)]

mod digits;
mod draws;
pub mod music;
pub mod turnstile;
pub mod zone;
mod zone_suggest;

use headway_operators::pipeline::Entry;

/// Every pipeline, in the order that help lists them.
pub fn all() -> &'static [Entry] {
    const ALL: &[Entry] = &[turnstile::ENTRY];
    ALL
}

/// The pipeline of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::pipeline::Settings;

    #[test]
    fn every_pipeline_is_found_by_its_name_and_made_without_settings() {
        for entry in all() {
            let found = find(entry.name).expect("a name in the catalogue");
            let pipeline = (found.make)(&Settings::default()).expect("the defaults make a job");
            assert_eq!(pipeline.name(), entry.name);
            assert!(!pipeline.inputs().is_empty());
        }
        assert!(find("no such pipeline").is_none());
    }

    #[test]
    fn fingerprint_has_all_that_state_depends_on() {
        let settings = Settings { zone: Some("europe/berlin".to_string()), ..Settings::default() };
        let entry = find("turnstile").expect("in the catalogue");
        let pipeline = (entry.make)(&settings).expect("a job");
        let fingerprint: Vec<String> =
            pipeline.fingerprint().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            fingerprint,
            ["lateness_ms=300000", "slide_ms=300000", "version=1", "window_ms=300000", "zone=Europe/Berlin"]
        );
    }
}
