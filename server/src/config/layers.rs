//! Who said what about a setting: a flag before the environment before the file before the default.
//!
//! Believe this: values are text until a parser is asked for them, and they keep where they came from, so that an error can name the
//! place and show what would be right there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use toml::Value;

use super::setting::{self, Setting, Takes};
use super::{Environment, Error, FILE_NAME, folder};

/// Flags as they were typed, by the setting's name.
#[derive(Clone, Debug, Default)]
pub struct Flags(BTreeMap<&'static str, Vec<String>>);

/// Takes the settings' flags from what the command line's parser found.
pub(super) fn flags(matches: &ArgMatches, settings: &'static [&'static Setting]) -> Flags {
    let typed = settings.iter().filter_map(|setting| {
        let typed = matches.value_source(setting.name) == Some(ValueSource::CommandLine);
        let values = matches.get_many::<String>(setting.name).filter(|_| typed)?;
        Some((setting.name, values.cloned().collect()))
    });
    Flags(typed.collect())
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

/// Values and where they came from.
#[derive(Clone, Debug)]
struct Given {
    values: Vec<String>,
    place: Place,
}

/// All that was given, and the data folder, which must be known to find the file.
#[derive(Clone, Debug)]
pub struct Layers {
    data_dir: PathBuf,
    given: BTreeMap<&'static str, Given>,
}

impl Layers {
    /// Gathers flags, environment and file.
    ///
    /// # Errors
    /// When the file cannot be read or has keys that are no settings, or there is no data folder.
    pub fn read(flags: &Flags, environment: Environment<'_>) -> Result<Layers, Error> {
        let mut layers = Layers {
            data_dir: PathBuf::new(),
            given: BTreeMap::new(),
        };
        for setting in setting::SERVE {
            if let Some(values) = flags.0.get(setting.name) {
                layers.put(setting, values.clone(), Place::Flag);
            } else if let Some(value) = environment(setting.variable).filter(|value| !value.is_empty()) {
                layers.put(setting, vec![value.to_string_lossy().into_owned()], Place::Environment);
            }
        }
        if let Some(file) = layers.path(&setting::CONFIG)? {
            let text = fs::read_to_string(&file);
            let text = text.map_err(|source| Error::Unreadable {
                file: file.clone(),
                source,
            })?;
            layers.add_file(&file, &text, &[&setting::CONFIG])?;
            layers.settle_data_dir(environment)?;
        } else {
            layers.settle_data_dir(environment)?;
            let file = layers.data_dir.join(FILE_NAME);
            match fs::read_to_string(&file) {
                Ok(text) => layers.add_file(&file, &text, setting::FOLDER)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::Unreadable { file, source }),
            }
        }
        Ok(layers)
    }

    /// The data folder, as an absolute path.
    #[must_use]
    pub fn into_data_dir(self) -> PathBuf {
        self.data_dir
    }

    fn settle_data_dir(&mut self, environment: Environment<'_>) -> Result<(), Error> {
        let chosen = self.path(&setting::DATA_DIR)?;
        let folder = chosen.or_else(|| folder::default(environment)).ok_or(Error::NoHome)?;
        self.data_dir = std::path::absolute(&folder).unwrap_or(folder);
        Ok(())
    }

    fn add_file(&mut self, file: &Path, text: &str, misplaced: &[&Setting]) -> Result<(), Error> {
        let table: toml::Table = text.parse().map_err(|source| Error::Syntax {
            file: file.to_owned(),
            source: Box::new(source),
        })?;
        for (key, value) in table {
            let Some(setting) = setting::SERVE.iter().find(|setting| setting.name == key) else {
                let file = file.to_owned();
                return Err(Error::UnknownKey {
                    file,
                    key,
                    known: known(misplaced),
                });
            };
            if misplaced.iter().any(|other| other.name == key) {
                let file = file.to_owned();
                return Err(Error::Misplaced { file, key });
            }
            if !self.given.contains_key(setting.name) {
                self.put(setting, texts(value), Place::File(file.to_owned()));
            }
        }
        Ok(())
    }

    fn put(&mut self, setting: &'static Setting, values: Vec<String>, place: Place) {
        let values = match setting.takes {
            Takes::Many => values
                .iter()
                .flat_map(|value| value.split(','))
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
                .collect(),
            Takes::One | Takes::Truth => values,
        };
        self.given.insert(setting.name, Given { values, place });
    }

    /// The value of a setting that has a default.
    ///
    /// # Errors
    /// When the value is none that `parse` takes; `expected` says in words what it takes.
    pub fn one<T>(&self, setting: &Setting, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        let given = self.get(setting);
        let value = match given.values.as_slice() {
            [value] => parse(value),
            _ => None,
        };
        value.ok_or_else(|| wrong(setting, &given, &given.values.join(", "), expected))
    }

    /// The value of a setting that need not be set.
    ///
    /// # Errors
    /// When it is set to none that `parse` takes.
    pub fn optional<T>(
        &self,
        setting: &Setting,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if self.get(setting).values.is_empty() {
            return Ok(None);
        }
        self.one(setting, expected, parse).map(Some)
    }

    /// The values of a setting that takes several.
    ///
    /// # Errors
    /// When one of them is none that `parse` takes.
    pub fn many<T>(
        &self,
        setting: &Setting,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let given = self.get(setting);
        let values = given.values.iter();
        values
            .map(|value| parse(value).ok_or_else(|| wrong(setting, &given, value, expected)))
            .collect()
    }

    /// The value of a setting, whatever it says; none where it is not set.
    #[must_use]
    pub fn text(&self, setting: &Setting) -> Option<String> {
        let given = self.get(setting);
        (!given.values.is_empty()).then(|| given.values.join(","))
    }

    /// The path that a setting names, if it is set. One that stands in a file is seen from that file's folder.
    ///
    /// # Errors
    /// When it is no path.
    pub fn path(&self, setting: &Setting) -> Result<Option<PathBuf>, Error> {
        let given = self.get(setting);
        if given.values.is_empty() {
            return Ok(None);
        }
        let path = self.one(setting, "a path", |text| {
            (!text.is_empty()).then(|| PathBuf::from(text))
        })?;
        Ok(Some(match &given.place {
            Place::File(file) => file.parent().map_or_else(|| path.clone(), |folder| folder.join(&path)),
            Place::Flag | Place::Environment | Place::Default => path,
        }))
    }

    /// The place where a setting is given, in words.
    #[must_use]
    pub fn place(&self, setting: &Setting) -> String {
        place(setting, &self.get(setting).place)
    }

    fn get(&self, setting: &Setting) -> Given {
        let default = || Given {
            values: Some(setting.default.to_owned())
                .filter(|text| !text.is_empty())
                .into_iter()
                .collect(),
            place: Place::Default,
        };
        self.given.get(setting.name).cloned().unwrap_or_else(default)
    }
}

fn known(misplaced: &[&Setting]) -> String {
    let known = setting::SERVE.iter().map(|setting| setting.name);
    let known = known.filter(|name| misplaced.iter().all(|other| other.name != *name));
    known.collect::<Vec<_>>().join(", ")
}

/// The texts of a value in the file. A table becomes a text that no parser takes.
fn texts(value: Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.into_iter().flat_map(texts).collect(),
        other @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_)) => {
            vec![other.to_string()]
        }
    }
}

fn place(setting: &Setting, place: &Place) -> String {
    match place {
        Place::Flag => format!("--{}", setting.flag),
        Place::Environment => setting.variable.to_owned(),
        Place::File(file) => format!("{} in {}", setting.name, file.display()),
        Place::Default => format!("the default of {}", setting.name),
    }
}

fn wrong(setting: &Setting, given: &Given, value: &str, expected: &str) -> Error {
    let example = setting.example;
    let in_file = match setting.takes {
        Takes::One => format!("{} = \"{example}\"", setting.name),
        Takes::Many => format!("{} = [\"{example}\"]", setting.name),
        Takes::Truth => format!("{} = {example}", setting.name),
    };
    Error::Wrong {
        place: place(setting, &given.place),
        value: value.to_owned(),
        expected: expected.to_owned(),
        example: match given.place {
            Place::Flag if setting.takes == Takes::Truth => format!("--{}={example}", setting.flag),
            Place::Flag => format!("--{} {example}", setting.flag),
            Place::Environment => format!("{}={example}", setting.variable),
            Place::File(_) | Place::Default => in_file,
        },
    }
}
