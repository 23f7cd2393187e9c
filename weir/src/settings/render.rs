//! Prints the settings in force as the file that would bring them about, each with its explanation
//! and where it came from. This is the manual of the settings.

use std::fmt::Write;

use super::{Origin, SPECS, Settings};

const HEAD: &str = "\
# Settings of Weir, as in force. Precedence: default < this file < environment < flag.
# Every setting is also WEIR_<NAME> in the environment and --<name> on the command line.
";

/// What a start always tells; beyond these, whatever is not at its default.
const TOLD: &[&str] =
    &["log", "store", "catalog", "telemetry_listen", "flush_interval", "flush_events", "body_bytes_max"];

impl Settings {
    /// A few lines for the start: where things lie, and what is not as usual.
    pub fn summary(&self) -> String {
        let told: Vec<(&str, String)> = SPECS
            .iter()
            .zip(self.shown())
            .zip(&self.origins)
            .filter(|((spec, _), origin)| TOLD.contains(&spec.name) || **origin != Origin::Default)
            .map(|((spec, value), _)| (spec.name, value.to_string()))
            .collect();
        let width = told.iter().map(|(name, _)| name.len()).max().unwrap_or(0).saturating_add(2);
        let mut out = String::new();
        for (name, value) in &told {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {name:<width$}{}", value.trim_matches('"'));
        }
        out.push_str("`weir config` explains every setting; Ctrl-C stops the server");
        out
    }

    /// Annotated TOML, which `--config` reads back.
    pub fn render(&self) -> String {
        let mut out = HEAD.to_owned();
        for ((spec, value), origin) in SPECS.iter().zip(self.shown()).zip(&self.origins) {
            out.push('\n');
            for line in spec.doc {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "#{line}");
            }
            let whence = match origin {
                Origin::Default => String::new(),
                Origin::File(path) => format!("  # from {}", path.display()),
                Origin::Environment => {
                    format!("  # from the environment, WEIR_{}", spec.name.to_ascii_uppercase())
                }
                Origin::Flag => format!("  # from the flag --{}", spec.name.replace('_', "-")),
            };
            let _ = match origin {
                // A default is left out of force in the file, so that a later version's may change.
                Origin::Default => writeln!(out, "# {} = {value}  # the default", spec.name),
                _ => writeln!(out, "{} = {value}{whence}", spec.name),
            };
        }
        out
    }
}
