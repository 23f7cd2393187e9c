//! The JSONPath subset that meters use (OpenMeter's contract 14.6): one path to one value.

use std::fmt;

/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 256;

/// Most steps of a path.
pub const PATH_STEPS_MAX: usize = 32;

/// A path that has been understood. Two spellings of one path are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Key(Box<str>),
    Index(usize),
    /// `[*]`: the first element at which the rest of the path finds something.
    Any,
}

/// What is wrong with a path, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} at character {at}: {reason}")]
pub struct PathError {
    pub path: String,
    /// Counted in characters from 1.
    pub at: usize,
    pub reason: &'static str,
}

impl Path {
    /// Reads `$.a`, `$.a.b`, `$['a b']`, `$["a b"]`, `$."a-b"`, `$.a[0]` and `$.a[*].b`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut reader = Reader { text, rest: text };
        let steps = reader.path().map_err(|reason| PathError {
            path: shortened(text),
            at: text
                .len()
                .checked_sub(reader.rest.len())
                .and_then(|at| text.get(..at))
                .map_or(0, |t| t.chars().count())
                + 1,
            reason,
        })?;
        Ok(Self { steps })
    }
}

/// The canonical spelling: names after dots, quoted where they have other characters than names may have. Of
/// the two quotes it takes the one that needs fewer backslashes, so that no other spelling of the path is
/// shorter (spaces and zeros aside) and the text is within the bounds of what is read.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.steps {
            match step {
                Step::Key(key) if !key.is_empty() && key.chars().all(is_name_character) => {
                    write!(f, ".{key}")?
                }
                Step::Key(key) => {
                    let count = |quote: char| key.matches(quote).count();
                    let quote = if count('\'') <= count('"') { '\'' } else { '"' };
                    let escaped = key.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"));
                    write!(f, ".{quote}{escaped}{quote}")?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Any => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

fn is_name_character(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

/// Errors repeat the path, but not a megabyte of it.
fn shortened(text: &str) -> String {
    if text.len() <= PATH_BYTES_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(40).collect();
    format!("{start}…")
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    /// On an error, `rest` starts where the mistake is.
    fn path(&mut self) -> Result<Vec<Step>, &'static str> {
        if self.text.len() > PATH_BYTES_MAX {
            return Err("a path has at most 256 bytes");
        }
        if !self.take('$') {
            return Err("a path starts with $");
        }
        let mut steps = Vec::new();
        while let Some(first) = self.rest.chars().next() {
            if steps.len() == PATH_STEPS_MAX {
                return Err("a path has at most 32 steps");
            }
            steps.push(match first {
                '.' => self.after_dot()?,
                '[' => self.in_brackets()?,
                '-' => return Err("a name with a dash is quoted, such as $['a-b']"),
                _ => return Err("a dot or an opening bracket belongs here"),
            });
        }
        if steps.is_empty() {
            return Err("a path names a property after the $, such as $.tokens");
        }
        Ok(steps)
    }

    fn after_dot(&mut self) -> Result<Step, &'static str> {
        self.take('.');
        match self.rest.chars().next() {
            Some('"' | '\'') => return Ok(Step::Key(self.quoted()?)),
            Some('.') => return Err("a path to a descendant at any depth (..) is not supported"),
            Some('*') => return Err("a wildcard for names (.*) is not supported"),
            Some('-') => return Err("a name with a dash is quoted, such as $['a-b']"),
            Some(character) if is_name_character(character) => {}
            _ => {
                return Err(
                    "a name belongs after the dot; quote it if it has special characters, such as $['a b']",
                );
            }
        }
        let end = self.rest.find(|c| !is_name_character(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        Ok(Step::Key(name.into()))
    }

    fn in_brackets(&mut self) -> Result<Step, &'static str> {
        self.take('[');
        self.skip_spaces();
        let step = match self.rest.chars().next() {
            Some('"' | '\'') => Step::Key(self.quoted()?),
            Some('*') => {
                self.take('*');
                Step::Any
            }
            Some('0'..='9') => self.index()?,
            Some('-') => return Err("a negative index is not supported"),
            Some('?') => return Err("a filter is not supported"),
            _ => return Err("an index, * or a quoted name belongs in the brackets"),
        };
        self.skip_spaces();
        if !self.take(']') {
            return Err("a closing bracket belongs here; slices and lists are not supported");
        }
        Ok(step)
    }

    fn index(&mut self) -> Result<Step, &'static str> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        let index: u32 = digits.parse().map_err(|_| "an index is below 4294967296")?;
        self.rest = rest;
        usize::try_from(index).map(Step::Index).map_err(|_| "an index is below 4294967296")
    }

    /// A backslash stands before a quote or a backslash that belongs to the name.
    fn quoted(&mut self) -> Result<Box<str>, &'static str> {
        let start = self.rest;
        let mut characters = self.rest.chars();
        let quote = characters.next();
        let mut name = String::new();
        while let Some(character) = characters.next() {
            if Some(character) == quote {
                self.rest = characters.as_str();
                return Ok(name.into_boxed_str());
            }
            if character == '\\' {
                match characters.next() {
                    Some(escaped @ ('\\' | '"' | '\'')) => name.push(escaped),
                    _ => {
                        return Err(
                            "a backslash in a quoted name stands before a quote or another backslash",
                        );
                    }
                }
            } else {
                name.push(character);
            }
        }
        self.rest = start;
        Err("the quoted name has no closing quote")
    }

    fn take(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    #[test]
    fn reads_every_accepted_form() {
        for (text, steps) in [
            ("$.a", vec![key("a")]),
            ("$.a.b", vec![key("a"), key("b")]),
            ("$['a b']", vec![key("a b")]),
            ("$[\"a b\"]", vec![key("a b")]),
            ("$.\"a-b\"", vec![key("a-b")]),
            ("$.'a-b'.c", vec![key("a-b"), key("c")]),
            ("$.a[0]", vec![key("a"), Step::Index(0)]),
            ("$.a[ 12 ][*]", vec![key("a"), Step::Index(12), Step::Any]),
            ("$.a[*].b", vec![key("a"), Step::Any, key("b")]),
            ("$['it\\'s']", vec![key("it's")]),
            ("$['']", vec![key("")]),
            ("$.größe_1", vec![key("größe_1")]),
            ("$['a.b'][\"c]\"]", vec![key("a.b"), key("c]")]),
        ] {
            assert_eq!(Path::parse(text).map(|p| p.steps), Ok(steps), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else_and_says_where() {
        for (text, at) in [
            ("", 1),
            ("a", 1),
            ("$", 2),
            ("$a", 2),
            ("$.", 3),
            ("$.a.", 5),
            ("$.a-b", 4),
            ("$.-a", 3),
            ("$.*", 3),
            ("$..a", 3),
            ("$.a[?(@.b>1)]", 5),
            ("$.a[-1]", 5),
            ("$.a[1:2]", 6),
            ("$.a[1,2]", 6),
            ("$.a[", 5),
            ("$.a[]", 5),
            ("$['a]", 3),
            ("$['a\\n']", 3),
            ("$.a b", 4),
            (" $.a", 1),
            ("$.a ", 4),
            ("$.a[4294967296]", 5),
            ("$[a]", 3),
            ("$.ä-b", 4),
        ] {
            let error = Path::parse(text).expect_err(text);
            assert_eq!(error.at, at, "{error}");
        }
    }

    #[test]
    fn says_what_is_not_supported() {
        for (text, word) in [
            ("$.a[-1]", "negative"),
            ("$..a", "descendant"),
            ("$.*", "wildcard"),
            ("$.a[?(1)]", "filter"),
            ("$.a-b", "dash"),
        ] {
            let error = Path::parse(text).expect_err(text);
            assert!(error.reason.contains(word), "{error}");
        }
    }

    #[test]
    fn bounds() {
        let long = format!("$.{}", "a".repeat(254));
        assert!(Path::parse(&long).is_ok());
        let error = Path::parse(&format!("{long}a")).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
        assert!(Path::parse(&format!("${}", ".a".repeat(32))).is_ok());
        assert!(Path::parse(&format!("${}", ".a".repeat(33))).is_err());
    }

    #[test]
    fn the_canonical_text_of_the_longest_paths_is_within_bounds() {
        let quotes = |dot: &str, quote: &str, inside: &str| {
            format!("${dot}{quote}{}{quote}", inside.repeat((PATH_BYTES_MAX - 3 - dot.len()) / inside.len()))
        };
        for text in [
            quotes(".", "\"", "'"),
            quotes(".", "'", "\""),
            quotes(".", "'", "-"),
            quotes(".", "'", "\\\\"),
            format!("${}", ".'-'".repeat(32)),
        ] {
            let path = Path::parse(&text).unwrap();
            assert_eq!(Path::parse(&path.to_string()), Ok(path));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = Path::parse(&text);
            let _ = Path::parse(&format!("$.a[{text}"));
        }

        #[test]
        fn the_canonical_text_is_the_same_path(keys in prop::collection::vec("[a\\-_'\"\\\\ .ß\\[]{0,5}", 1..5), index: u16) {
            let mut steps: Vec<Step> = keys.iter().map(|k| key(k)).collect();
            steps.push(Step::Index(usize::from(index)));
            steps.push(Step::Any);
            let path = Path { steps };
            prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
        }
    }
}
