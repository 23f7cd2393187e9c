//! Where a setting's value may come from: the file, the environment, the flags. Each is read into
//! the same form, text by name, so that all are held to the same rules.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::{SPECS, Settings};

/// Environment variables of settings begin so.
const PREFIX: &str = "WEIR_";

/// Those that begin so, are read, and are no settings: the file of settings, the server that commands talk to and
/// their key, and where tests have the server note what it does.
const OTHER_VARIABLES: [&str; 4] = ["WEIR_CONFIG", "WEIR_URL", "WEIR_KEY", "WEIR_PHASE_FILE"];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Environment,
    Flag,
}

/// The values that one place gives, as text.
#[derive(Clone, Debug)]
pub struct Layer {
    origin: Origin,
    values: BTreeMap<String, String>,
}

/// Why the settings cannot be used. All of them are for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {path}: {reason}")]
    Unreadable { path: String, reason: std::io::Error },
    #[error("{path} is not TOML: {reason}")]
    Syntax { path: String, reason: String },
    #[error("{path} has an unknown setting `{key}`{meant}; `weir config` prints all there are")]
    UnknownKey { path: String, key: String, meant: String },
    #[error("{place}: {reason}")]
    BadValue { place: String, reason: String },
    #[error("{0}")]
    Contradiction(String),
}

impl Layer {
    /// A layer from names and texts.
    pub fn of<'a>(origin: Origin, values: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self { origin, values: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }

    /// The file's settings. Every key must be known: a misspelt one would be silently without effect.
    pub fn file(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| SettingsError::Unreadable { path: path.display().to_string(), reason })?;
        Self::toml(path, &text)
    }

    /// As [`Layer::file`], with the file's text at hand.
    pub fn toml(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let shown = path.display().to_string();
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: shown.clone(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if !SPECS.iter().any(|spec| spec.name == key) {
                let meant = nearest(&key, SPECS.iter().map(|spec| spec.name))
                    .map(|name| format!(" (did you mean `{name}`?)"));
                return Err(SettingsError::UnknownKey { path: shown, key, meant: meant.unwrap_or_default() });
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) if is_switch(&key) => switch.to_string(),
                other => {
                    let reason = format!("is a {}, and must be a text or a whole number", other.type_str());
                    return Err(SettingsError::BadValue { place: format!("{key} in {shown}"), reason });
                }
            };
            values.insert(key, text);
        }
        Ok(Self { origin: Origin::File(path.to_owned()), values })
    }

    /// The settings among environment variables. Others that begin with `WEIR_` are left alone, see
    /// [`stray_variables`].
    pub fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut values = BTreeMap::new();
        for (variable, value) in variables {
            let (Some(variable), Some(value)) = (variable.to_str(), value.to_str()) else { continue };
            let Some(name) = variable.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else { continue };
            if SPECS.iter().any(|spec| spec.name == name && variable == variable_of(spec.name)) {
                values.insert(name, value.to_owned());
            }
        }
        Self { origin: Origin::Environment, values }
    }
}

/// A sentence for each variable that begins as those of settings do and has no effect. They are no reason to refuse:
/// orchestrators make some up from the names of services, and those that look so are not even told.
pub fn stray_variables(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<String> {
    let known: Vec<String> = SPECS.iter().map(|spec| variable_of(spec.name)).collect();
    let known = || known.iter().map(String::as_str).chain(OTHER_VARIABLES);
    let mut strays: Vec<String> = variables
        .map(|(variable, value)| {
            (variable.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .filter(|(variable, value)| {
            variable.to_ascii_uppercase().starts_with(PREFIX)
                && !known().any(|known| known == variable)
                && !is_of_a_service(variable, value)
        })
        .map(|(variable, _)| {
            let meant = nearest(&variable, known()).map(|name| format!(" (did you mean {name}?)"));
            format!(
                "the environment variable {variable} is no setting and has no effect{}; `weir config` prints all \
                 settings",
                meant.unwrap_or_default()
            )
        })
        .collect();
    strays.sort();
    strays
}

/// Kubernetes gives every container the addresses of all services: for one called `weir` these are
/// `WEIR_SERVICE_HOST`, `WEIR_SERVICE_PORT_HTTP`, `WEIR_PORT=tcp://…`, `WEIR_PORT_80_TCP_ADDR` and the like.
fn is_of_a_service(variable: &str, value: &str) -> bool {
    let numbered = || {
        let after = variable.split("_PORT_").nth(1);
        after.is_some_and(|after| after.starts_with(|first: char| first.is_ascii_digit()))
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || (variable.ends_with("_PORT") && value.contains("://"))
        || numbered()
}

fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// Whether a setting is true or false, and nothing else.
fn is_switch(name: &str) -> bool {
    SPECS.iter().any(|spec| spec.name == name && spec.is_switch())
}

fn flag_of(name: &str) -> String {
    name.replace('_', "-")
}

/// The name that looks most like `key`, if one looks like it at all. What all of them begin with says nothing.
fn nearest<'n>(key: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const LIKENESS_MIN: f64 = 0.8;
    let bare = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("weir_").map_or(name.clone(), str::to_owned)
    };
    let key = bare(key);
    names
        .map(|name| (strsim::jaro_winkler(&bare(name), &key), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The text in force for every setting, and where it came from.
#[derive(Debug)]
pub(super) struct Chosen {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Chosen {
    pub(super) fn of(layers: &[Layer]) -> Self {
        let given = |name: &str| {
            layers
                .iter()
                .rev()
                .find_map(|layer| Some((layer.values.get(name)?.clone(), layer.origin.clone())))
        };
        let default_dir = SPECS.iter().find(|spec| spec.name == "data_dir").map_or("", |spec| spec.default);
        let data_dir = given("data_dir").map_or_else(|| default_dir.to_owned(), |(text, _)| text);
        let values = SPECS
            .iter()
            .map(|spec| {
                let value = given(spec.name)
                    .unwrap_or_else(|| (spec.default.replace("DATA_DIR", &data_dir), Origin::Default));
                (spec.name, value)
            })
            .collect();
        Self { values }
    }

    pub(super) fn origins(&self) -> Vec<Origin> {
        let origin = |name: &str| self.values.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
        SPECS.iter().map(|spec| origin(spec.name)).collect()
    }

    pub(super) fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        let (text, origin) = self.values.get(name).map_or(("", &Origin::Default), |(t, o)| (t.as_str(), o));
        parse(text).map_err(|reason| SettingsError::BadValue {
            place: match origin {
                Origin::Default => format!("the default of {name}, `{text}`"),
                Origin::File(path) => format!("{name} = `{text}` in {}", path.display()),
                Origin::Environment => format!("{}=`{text}`", variable_of(name)),
                Origin::Flag => format!("--{} `{text}`", flag_of(name)),
            },
            reason,
        })
    }
}

/// The settings as command-line flags, and `--config`.
#[derive(Clone, Debug)]
pub struct SettingFlags {
    pub config: Option<PathBuf>,
    pub layer: Layer,
}

impl SettingFlags {
    /// What is in force with these flags in this process's environment.
    pub fn resolve(&self) -> Result<Settings, SettingsError> {
        let mut layers = Vec::new();
        if let Some(path) = &self.config {
            layers.push(Layer::file(path)?);
        }
        layers.push(Layer::environment(std::env::vars_os()));
        layers.push(self.layer.clone());
        Settings::resolve(&layers)
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("WEIR_CONFIG")
            .hide_env_values(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings; `weir config > weir.toml` writes one");
        SPECS.iter().fold(command.arg(config), |command, spec| {
            let doc: Vec<&str> = spec.doc.iter().map(|line| line.trim()).collect();
            let help = format!(
                "{} [default: {}] [env: {}]",
                doc.join(" ").trim_end_matches('.'),
                spec.default,
                variable_of(spec.name)
            );
            let flag = Arg::new(spec.name).long(flag_of(spec.name)).value_name(spec.placeholder).help(help);
            // Its name alone turns a switch on.
            let switch = |flag: Arg| flag.num_args(0..=1).require_equals(true).default_missing_value("true");
            command.arg(if spec.is_switch() { switch(flag) } else { flag })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &'static str| Some((name, matches.get_one::<String>(name)?.clone()));
        Ok(Self {
            config: matches.get_one::<PathBuf>("config").cloned(),
            layer: Layer::of(Origin::Flag, SPECS.iter().filter_map(|spec| given(spec.name))),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
