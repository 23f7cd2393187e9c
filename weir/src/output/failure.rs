//! Why a command failed, as a person reads it: what was wrong, where, and what to do.

use std::fmt::Write;
use std::process::ExitCode;

use super::Style;
use crate::client::ClientError;
use crate::serve::ServeError;
use crate::settings::SettingsError;

/// The command could not do what it was asked.
pub const EXIT_FAILURE: u8 = 1;
/// The command was asked something that it does not understand.
pub const EXIT_USAGE: u8 = 2;
/// The command could not look, so it can say neither that all is well nor that it is not.
pub const EXIT_UNFINISHED: u8 = 2;

/// The end of a command that did not work out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    title: String,
    details: Vec<String>,
    advice: Option<String>,
}

impl Failure {
    pub fn new(title: impl Into<String>) -> Self {
        Self { code: EXIT_FAILURE, title: title.into(), details: Vec::new(), advice: None }
    }

    /// A mistake in the command line or the settings.
    pub fn usage(title: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, ..Self::new(title) }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub fn code(&self) -> u8 {
        self.code
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    pub fn render(&self, style: Style) -> String {
        let mut out = format!("{} {}\n", style.red("error:"), self.title);
        for detail in &self.details {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {}", detail.replace('\n', "\n  "));
        }
        if let Some(advice) = &self.advice {
            let _ = writeln!(out, "{} {advice}", style.bold("try:"));
        }
        out
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let failure = Self::new(error.to_string());
        causes(&error).into_iter().fold(failure, |failure, cause| failure.detail(format!("because: {cause}")))
    }
}

/// What the causes of an error add to its own text, from the nearest to the first. Many an error says its cause
/// in its own sentence, and nobody needs to hear it twice.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        source = cause.source();
    }
    said.split_off(1)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = match &error {
            ClientError::Url(_) => Self::usage(error.to_string()),
            ClientError::Refused(problem) => {
                let failure = Self::new(format!("the server answered {} {}", problem.status, problem.title));
                if problem.detail.is_empty() { failure } else { failure.detail(problem.detail.clone()) }
            }
            _ => Self::new(error.to_string()),
        };
        match error.advice() {
            Some(advice) => failure.advice(advice),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use weir_log::LogError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the server cannot start")]
    struct Outer(#[source] LogError);

    fn full() -> LogError {
        LogError::Io { context: "the log cannot write x".to_owned(), source: io::Error::other("no room") }
    }

    #[test]
    fn a_cause_is_told_once() {
        let failure = Failure::from(ServeError::from(full()));
        assert_eq!(failure.render(Style::PLAIN), "error: the log cannot write x: no room\n");
        assert_eq!(causes(&Outer(full())), ["the log cannot write x: no room"]);
    }
}
