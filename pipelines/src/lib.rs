//! Headway's pipelines: which operators, in which order, for one subject.
//!
//! No I/O: a pipeline takes messages and gives named outputs, and what stands at both ends is configuration.
//! [`all`] is the catalogue; a new pipeline is a folder like [`turnstile`] and one line there.
#![forbid(unsafe_code)]

pub mod day;
mod defined;
mod digits;
mod draws;
pub mod music;
pub mod turnstile;
pub mod turnstile_weekly;
pub mod zone;
mod zone_suggest;

use headway_operators::pipeline::Entry;

/// Every pipeline, in the order that help lists them.
pub fn all() -> &'static [Entry] {
    const ALL: &[Entry] = &[turnstile::ENTRY, turnstile_weekly::ENTRY, music::ENTRY];
    ALL
}

/// The pipeline of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headway_operators::generate::Generate;
    use headway_operators::setting;

    #[test]
    fn every_pipeline_is_found_by_its_name_and_made_without_settings() {
        for entry in all() {
            let found = find(entry.name).expect("a name in the catalogue");
            let faults = setting::faults(found.settings);
            assert!(faults.is_empty(), "{}: {faults:?}", entry.name);
            let made = found.configure([]).expect("the defaults make a job");
            assert_eq!(made.pipeline.name(), entry.name);
            assert!(!made.pipeline.inputs().is_empty());
        }
        assert!(find("no such pipeline").is_none());
    }

    #[test]
    fn pipeline_makes_messages_for_the_inputs_that_have_options() {
        for entry in all() {
            let made = entry.configure([]).expect("the defaults make a job");
            for input in made.pipeline.inputs() {
                let Some(options) = (entry.generate)(input.name) else { continue };
                let generator = made.pipeline.generator(input.name, &options);
                let partitions = generator.as_deref().map(Generate::partitions);
                assert_eq!(partitions, Some(options.partitions), "{}, {}", entry.name, input.name);
            }
            assert!((entry.generate)("no such input").is_none(), "{}", entry.name);
        }
    }

    #[test]
    fn demo_sets_what_the_pipeline_has() {
        for (entry, demo) in all().iter().filter_map(|entry| Some((entry, entry.demo?))) {
            for settings in [demo.settings].into_iter().chain(demo.view.map(|view| view.settings)) {
                let made = entry.configure(settings.iter().copied()).expect("the demo's settings make a job");
                let generated = |input: &str| (entry.generate)(input).is_some();
                assert!(made.pipeline.inputs().iter().all(|input| generated(input.name)), "{}", entry.name);
            }
            if let Some(view) = demo.view {
                assert_eq!(view.columns.len(), demo.top.of.len() + 1, "{}", entry.name);
            }
        }
    }

    #[test]
    fn fingerprint_has_all_that_state_depends_on() {
        let entry = find("turnstile").expect("in the catalogue");
        let fingerprint = |given: &[(&'static str, &'static str)]| -> Vec<String> {
            let made = entry.configure(given.iter().copied()).expect("a job");
            made.fingerprint().noted.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        assert_eq!(
            fingerprint(&[("zone", "europe/berlin")]),
            ["lateness_ms=300000", "slide_ms=300000", "version=1", "window_ms=300000", "zone=Europe/Berlin"]
        );
        assert_eq!(fingerprint(&[("csv_window_end_utc", "true")])[0], "csv_window_end_utc=true");
    }
}
