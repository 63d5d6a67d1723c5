//! The shape of a pipeline: what it builds. Found by building it once, not declared a second time.

use crate::ack::InputIx;
use crate::pace::TableSpec;
use crate::row::{Column, Kind};
use crate::spec::{InputSpec, OperatorSpec, OutputSpec, ViewSpec};
use crate::state::Show;
use crate::view::refill::Refill;
use crate::view::row::FIRST_DAY_FILES;
use crate::view::seal::Sealing;
use std::collections::{BTreeMap, BTreeSet};

/// What a pipeline is made of, as its dataflow was built.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its inputs, in a fixed order.
    pub inputs: Vec<InputSpec>,
    /// Its outputs in the order they were built, the side outputs of inputs included.
    pub outputs: Vec<OutputSpec>,
    /// For each input, the columns of its records by which rules judge them.
    pub record_columns: Vec<Vec<Column>>,
    /// Its operators with state in the order they were built, those of side outputs included.
    pub operators: Vec<OperatorSpec>,
    /// Its views in the order they were built.
    pub views: Vec<ViewSpec>,
    /// Its tables that are gold files by day and nothing else, in the order they were built.
    pub day_files: Vec<ViewSpec>,
    /// When its days are sealed; `None`: never.
    pub seals: Option<Seals>,
    /// The operators that keep a value for each key, by name.
    pub keeps: Vec<String>,
    /// Where committed facts are read from for those of them that are new to a job, in the order they were built.
    pub refills: Vec<Refill>,
    /// How the state of each operator is shown to people, in the same order.
    pub show: Vec<Show>,
    /// The sets of several inputs that operators go by, each by number, rising.
    pub sets: Vec<Vec<InputIx>>,
    /// The tables that do not change while it runs, by name. A lake is made with one of each name.
    pub tables: Vec<TableSpec>,
    /// For each input, the operator that counts its accepted records and duplicates; `None` where the source does.
    pub counting: Vec<Option<String>>,
}

impl Shape {
    /// True if it has views, or tables of day files.
    pub fn has_tables(&self) -> bool {
        !self.views.is_empty() || !self.day_files.is_empty()
    }
}

/// When the days of a pipeline are sealed.
#[derive(Clone, Debug)]
pub struct Seals {
    /// The inputs by whose watermark, by number, rising.
    pub inputs: Vec<InputIx>,
    /// How long after their end.
    pub sealing: Sealing,
}

/// What is wrong with a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Two things have one name.
    #[error("two {what}s are called \"{name}\"")]
    SameName {
        /// What they are: `input`, `operator`, `output`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An input is read that is not in the list of inputs.
    #[error("there is no input \"{name}\"")]
    UnknownInput {
        /// Its name.
        name: String,
    },
    /// An input is built twice: each of its messages would be read twice. A flow can be cloned.
    #[error("input \"{name}\" is read twice")]
    InputReadTwice {
        /// Its name.
        name: String,
    },
    /// An input is in the list of inputs and is not built.
    #[error("input \"{name}\" is not read")]
    InputNotRead {
        /// Its name.
        name: String,
    },
    /// An operator is to count the records of an input, and does not receive each of them.
    #[error("operator \"{operator}\" counts records, and does not receive every record of one input")]
    CountsPart {
        /// Its name.
        operator: String,
    },
    /// Two operators are to count the records of one input.
    #[error("operators \"{first}\" and \"{second}\" both count the records of input \"{input}\"")]
    CountedTwice {
        /// The input.
        input: String,
        /// The operator that was built first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two outputs write files of one name into one folder.
    #[error("outputs \"{first}\" and \"{second}\" both write files \"{stem}\" below \"{prefix}\"")]
    SamePlace {
        /// The output that was built first.
        first: String,
        /// The other one.
        second: String,
        /// The folder of both.
        prefix: String,
        /// The first word of their files' names.
        stem: String,
    },
    /// An output has no columns.
    #[error("output \"{output}\" has no columns")]
    NoColumns {
        /// Its name.
        output: String,
    },
    /// The key of a view is not among its columns.
    #[error("view \"{view}\" has no key")]
    NoKey {
        /// The view.
        view: String,
    },
    /// A table that is written by day has no column of text that names the day.
    #[error("view \"{view}\" is written by day, and has no column of text that names the day")]
    NoDay {
        /// The view.
        view: String,
    },
    /// Two columns of an output have one name.
    #[error("output \"{output}\" has two columns \"{column}\"")]
    SameColumn {
        /// The output.
        output: String,
        /// The column.
        column: String,
    },
}

/// What is noted while a dataflow is built.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    shape: Shape,
    read: BTreeSet<InputIx>,
    problems: Vec<Problem>,
}

impl Notes {
    pub(crate) fn new(inputs: &[InputSpec]) -> Notes {
        let shape = Shape {
            inputs: inputs.to_vec(),
            outputs: Vec::new(),
            record_columns: vec![Vec::new(); inputs.len()],
            operators: Vec::new(),
            views: Vec::new(),
            day_files: Vec::new(),
            seals: None,
            keeps: Vec::new(),
            refills: Vec::new(),
            show: Vec::new(),
            sets: Vec::new(),
            tables: Vec::new(),
            counting: vec![None; inputs.len()],
        };
        let names = inputs.iter().map(|input| input.name);
        let problems = repeated(names).map(|name| Problem::SameName { what: "input", name }).collect();
        Notes { shape, read: BTreeSet::new(), problems }
    }

    /// The number of the input called `name`, which is built now.
    pub(crate) fn read(&mut self, name: &str) -> Option<InputIx> {
        let at = (0..).zip(&self.shape.inputs).find(|(_, input)| input.name == name);
        let problem = match at {
            None => Problem::UnknownInput { name: name.to_string() },
            Some((index, _)) if self.read.insert(InputIx(index)) => return Some(InputIx(index)),
            Some(_) => Problem::InputReadTwice { name: name.to_string() },
        };
        self.problems.push(problem);
        None
    }

    pub(crate) fn operator(&mut self, operator: OperatorSpec, show: Show) {
        self.shape.operators.push(operator);
        self.shape.show.push(show);
    }

    pub(crate) fn record_columns(&mut self, input: InputIx, columns: Vec<Column>) {
        self.shape.record_columns[input.index()] = columns;
    }

    pub(crate) fn output(&mut self, output: &OutputSpec) {
        self.shape.outputs.push(output.clone());
    }

    pub(crate) fn keep(&mut self, operator: &str) {
        self.shape.keeps.push(operator.to_string());
    }

    pub(crate) fn refill(&mut self, refill: Refill) {
        self.shape.refills.push(refill);
    }

    /// The views and the tables of day files so far, by number.
    pub(crate) fn tables(&self) -> BTreeMap<u16, ViewSpec> {
        let views = (0..).zip(self.shape.views.iter().cloned());
        views.chain((FIRST_DAY_FILES..).zip(self.shape.day_files.iter().cloned())).collect()
    }

    pub(crate) fn seal(&mut self, seals: Seals) {
        self.shape.seals = Some(seals);
    }

    /// The number of the view that is built now.
    pub(crate) fn view(&mut self, view: ViewSpec) -> u16 {
        self.shape.views.push(view);
        u16::try_from(self.shape.views.len() - 1).expect("views are few")
    }

    /// The number of the table of day files that is built now.
    pub(crate) fn day_file(&mut self, table: ViewSpec) -> u16 {
        self.shape.day_files.push(table);
        let number = u16::try_from(self.shape.day_files.len() - 1).expect("tables are few");
        FIRST_DAY_FILES + number
    }

    /// The input whose records `operator` counts, if it may; `whole` is the one whose records it receives, each once.
    pub(crate) fn counts(&mut self, operator: &str, whole: Option<InputIx>) -> Option<InputIx> {
        let Some(input) = whole else {
            self.problems.push(Problem::CountsPart { operator: operator.to_string() });
            return None;
        };
        let index = input.index();
        if let Some(first) = self.shape.counting[index].clone() {
            let (name, second) = (self.shape.inputs[index].name.to_string(), operator.to_string());
            self.problems.push(Problem::CountedTwice { input: name, first, second });
            return None;
        }
        self.shape.counting[index] = Some(operator.to_string());
        Some(input)
    }

    /// Returns the shape, completed with `sets` (inputs that one operator takes together) and `tables`, and the problems found in it.
    pub(crate) fn shape(&self, sets: Vec<Vec<InputIx>>, tables: Vec<TableSpec>) -> (Shape, Vec<Problem>) {
        let shape = Shape { sets, tables, ..self.shape.clone() };
        let mut problems = self.problems.clone();
        let unread = (0..).map(InputIx).zip(&shape.inputs).filter(|(index, _)| !self.read.contains(index));
        problems.extend(unread.map(|(_, input)| Problem::InputNotRead { name: input.name.to_string() }));
        let same = |what| move |name| Problem::SameName { what, name };
        problems.extend(repeated(shape.operators.iter().map(|o| o.name.as_str())).map(same("operator")));
        problems.extend(repeated(shape.outputs.iter().map(|o| o.name.as_str())).map(same("output")));
        let tables = || shape.views.iter().chain(&shape.day_files);
        problems.extend(repeated(tables().map(|view| view.name)).map(same("view")));
        problems.extend(repeated(shape.tables.iter().map(|table| table.name.as_str())).map(same("table")));
        for view in tables() {
            let is_text = |day: usize| view.columns.get(day).is_some_and(|column| column.kind == Kind::Text);
            let must_have_day = shape.day_files.iter().any(|table| table.name == view.name);
            if !view.day.map_or(!must_have_day, is_text) {
                problems.push(Problem::NoDay { view: view.name.to_string() });
            }
            if view.key == 0 || view.key > view.columns.len() {
                problems.push(Problem::NoKey { view: view.name.to_string() });
            }
            let columns = repeated(view.columns.iter().map(|column| column.name.as_ref()));
            let same = |column| Problem::SameColumn { output: view.name.to_string(), column };
            problems.extend(columns.map(same));
        }
        for (at, output) in shape.outputs.iter().enumerate() {
            let is_same = |other: &&OutputSpec| {
                (&other.prefix, &other.stem, other.format) == (&output.prefix, &output.stem, output.format)
            };
            if let Some(first) = shape.outputs[..at].iter().find(is_same) {
                problems.push(Problem::SamePlace {
                    first: first.name.clone(),
                    second: output.name.clone(),
                    prefix: output.prefix.clone(),
                    stem: output.stem.to_string(),
                });
            }
            if output.columns.is_empty() {
                problems.push(Problem::NoColumns { output: output.name.clone() });
            }
            let columns = repeated(output.columns.iter().map(|column| column.name.as_ref()));
            let same = |column| Problem::SameColumn { output: output.name.clone(), column };
            problems.extend(columns.map(same));
        }
        (shape, problems)
    }
}

/// The names that are there more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = String> {
    let mut all = BTreeSet::new();
    let repeated: BTreeSet<&str> = names.filter(|name| !all.insert(*name)).collect();
    repeated.into_iter().map(str::to_string).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Format;

    #[test]
    fn outputs_that_write_files_of_one_name_into_one_folder_are_a_problem() {
        let output = |name: &str, prefix: &str, format| OutputSpec {
            name: name.into(),
            prefix: prefix.into(),
            stem: "batch".into(),
            format,
            columns: vec![Column::new("a", Kind::Int)],
            folders: None,
        };
        let problems = |outputs: [OutputSpec; 2]| {
            let mut notes = Notes::new(&[]);
            outputs.iter().for_each(|output| notes.output(output));
            let (_, problems) = notes.shape(Vec::new(), Vec::new());
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (csv, json) = (Format::CsvGz, Format::NdjsonGz);
        assert_eq!(problems([output("a", "x", csv), output("b", "y", csv)]), [""; 0]);
        assert_eq!(problems([output("a", "x", csv), output("b", "x", json)]), [""; 0], "names end otherwise");
        let same = "outputs \"a\" and \"b\" both write files \"batch\" below \"x\"";
        assert_eq!(problems([output("a", "x", csv), output("b", "x", csv)]), [same]);
    }
}
