//! What was set where: flags over variables over the file over defaults, and where each value came from.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value as Json};

use super::settings::{SETTINGS, Setting};
use crate::ops::fields::nearest;

/// The file that is read if it is there and none is named.
const USUAL_FILE: &str = "patio.toml";

/// The variable that names the file.
pub(super) const FILE_VARIABLE: &str = "PATIO_CONFIG";

/// The variable of a key for the API with all scopes.
pub(super) const KEY_VARIABLE: &str = "PATIO_API_KEY";

/// What was typed and what the environment says.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Named with `--config`.
    pub(crate) file: Option<PathBuf>,
    /// Flags by the paths of their settings.
    pub(crate) flags: Vec<(&'static str, String)>,
    /// `--api-key`
    pub(crate) api_key: Option<String>,
    /// Variables that begin with `PATIO_`.
    pub(crate) variables: Vec<(String, String)>,
}

/// Where a value came from.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// All layers, one over the other.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// As the file would have it.
    pub(super) merged: Map<String, Json>,
    pub(super) api_key: Option<String>,
    sources: BTreeMap<String, Source>,
    file: Option<PathBuf>,
    /// The folder that paths in the file are meant from.
    pub(super) folder: PathBuf,
}

impl Layers {
    /// Reads them. Errors: all that is wrong with their names and forms; what values mean is looked at later.
    pub(super) fn read(sources: Sources) -> Result<Self, Vec<String>> {
        let mut layers = Self { api_key: sources.api_key, ..Self::default() };
        let mut errors = Vec::new();
        for setting in &SETTINGS {
            if let Some(value) = default(setting) {
                layers.set(setting.path, value, None);
            }
        }
        let named = sources.variables.iter().find(|(name, _)| name == FILE_VARIABLE);
        let named = sources.file.or_else(|| named.map(|(_, path)| PathBuf::from(path)));
        match read_file(named.as_deref()) {
            Ok(Some((path, table))) => {
                layers.folder = path.parent().unwrap_or(Path::new("")).to_owned();
                layers.file = Some(path.clone());
                layers.merge("", table, &Source::File(path));
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
        for (name, value) in sources.variables {
            match SETTINGS.iter().find(|setting| setting.variable() == name) {
                Some(setting) => layers.typed(setting, &value, Source::Variable(name), &mut errors),
                None if name == FILE_VARIABLE => {}
                None if name == KEY_VARIABLE => layers.api_key = layers.api_key.or(Some(value)),
                None => errors.push(unknown_variable(&name)),
            }
        }
        for (path, value) in sources.flags {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.path == path) {
                layers.typed(setting, &value, Source::Flag(setting.flag()), &mut errors);
            }
        }
        if errors.is_empty() { Ok(layers) } else { Err(errors) }
    }

    /// Where a field came from, for messages: the most exact place that is known.
    pub(super) fn source(&self, field: &str) -> Option<String> {
        let inside = |path: &String| {
            field
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let known = self.sources.iter().filter(|(path, _)| inside(path)).max_by_key(|(path, _)| path.len());
        match known {
            Some((_, source)) => Some(source.to_string()),
            None => self.file.as_ref().map(|path| path.display().to_string()),
        }
    }

    fn typed(&mut self, setting: &Setting, typed: &str, source: Source, errors: &mut Vec<String>) {
        match setting.read(typed) {
            Ok(value) => self.set(setting.path, value, Some(source)),
            Err(error) => errors.push(format!("{source}: {error}")),
        }
    }

    fn set(&mut self, path: &str, value: Json, source: Option<Source>) {
        let mut table = &mut self.merged;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value);
                break;
            }
            let inner = table.entry(part).or_insert_with(|| Map::new().into());
            // The file may have something else there: what is set by name counts.
            if !inner.is_object() {
                *inner = Map::new().into();
            }
            let Json::Object(inner) = inner else { return };
            table = inner;
        }
        match source {
            Some(source) => _ = self.sources.insert(path.to_owned(), source),
            None => _ = self.sources.remove(path),
        }
    }

    fn merge(&mut self, prefix: &str, table: Map<String, Json>, source: &Source) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Json::Object(inner) => self.merge(&path, inner, source),
                value => self.set(&path, value, Some(source.clone())),
            }
        }
    }
}

/// The default of a setting, if it has one.
pub(super) fn default(setting: &Setting) -> Option<Json> {
    let text = format!("value = {}", setting.default);
    (!setting.default.is_empty()).then(|| {
        let table: Json = toml::from_str(&text).expect("defaults are TOML");
        table["value"].clone()
    })
}

/// A file and what stands in it.
type Contents = (PathBuf, Map<String, Json>);

/// `None`: none is named, and the usual one is not there.
fn read_file(named: Option<&Path>) -> Result<Option<Contents>, String> {
    let path = named.unwrap_or(Path::new(USUAL_FILE));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(None),
        Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
    };
    let table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        format!("{}:{line}: {}", path.display(), error.message())
    })?;
    Ok(Some((path.to_owned(), table)))
}

fn unknown_variable(name: &str) -> String {
    let known: Vec<String> =
        SETTINGS.iter().map(Setting::variable).chain([FILE_VARIABLE.into(), KEY_VARIABLE.into()]).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    match nearest(name, &known) {
        Some(known) => format!("{name}: is no variable of this server; did you mean {known}?"),
        None => format!("{name}: is no variable of this server; `patio config` prints all settings"),
    }
}
