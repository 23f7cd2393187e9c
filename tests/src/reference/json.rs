//! JSON as the reference reads it: a number stays the text it was written as, and of a key that
//! stands twice in an object the last one counts.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number's text.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads one document; panics, with the text, on anything that is not JSON.
    pub fn parse(text: &str) -> Json {
        Self::try_parse(text).unwrap_or_else(|why| panic!("not JSON ({why}): {text}"))
    }

    /// Reads one document.
    pub fn try_parse(text: &str) -> Result<Json, String> {
        let mut reader = Reader { rest: text.chars().peekable() };
        let value = reader.value()?;
        reader.skip_space();
        match reader.rest.next() {
            None => Ok(value),
            Some(c) => Err(format!("{c:?} after the end")),
        }
    }

    /// The member of an object; None if this is no object or has no such member.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// The member as a string; panics if it is anything else.
    pub fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Json::String(text)) => text,
            other => panic!("expected a string at {key:?}, found {other:?} in {self:?}"),
        }
    }

    /// The elements of an array; panics if this is anything else.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            other => panic!("expected an array, found {other:?}"),
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.rest.next() {
            Some(c) if c == wanted => Ok(()),
            other => Err(format!("expected {wanted:?}, found {other:?}")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        word.chars().try_for_each(|c| self.expect(c))?;
        Ok(value)
    }

    fn value(&mut self) -> Result<Json, String> {
        self.skip_space();
        match self.rest.peek() {
            Some('n') => self.word("null", Json::Null),
            Some('t') => self.word("true", Json::Bool(true)),
            Some('f') => self.word("false", Json::Bool(false)),
            Some('"') => Ok(Json::String(self.string()?)),
            Some('[') => self.array(),
            Some('{') => self.object(),
            Some(c) if *c == '-' || c.is_ascii_digit() => Ok(Json::Number(self.number())),
            other => Err(format!("no value begins with {other:?}")),
        }
    }

    fn number(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_digit() || "+-.eE".contains(*c)) {
            text.push(c);
        }
        text
    }

    fn array(&mut self) -> Result<Json, String> {
        self.expect('[')?;
        let mut items = Vec::new();
        self.skip_space();
        if self.rest.next_if_eq(&']').is_some() {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            match self.rest.next() {
                Some(',') => {}
                Some(']') => return Ok(Json::Array(items)),
                other => return Err(format!("in an array: {other:?}")),
            }
        }
    }

    fn object(&mut self) -> Result<Json, String> {
        self.expect('{')?;
        let mut members = BTreeMap::new();
        self.skip_space();
        if self.rest.next_if_eq(&'}').is_some() {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            self.expect(':')?;
            let value = self.value()?;
            members.insert(key, value);
            self.skip_space();
            match self.rest.next() {
                Some(',') => {}
                Some('}') => return Ok(Json::Object(members)),
                other => return Err(format!("in an object: {other:?}")),
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        // UTF-16 code units, so that an escaped surrogate pair becomes one character at the end.
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = self.rest.next().ok_or("a string without an end")?;
            let c = match c {
                '"' => return String::from_utf16(&units).map_err(|e| e.to_string()),
                '\\' => match self.rest.next() {
                    Some(c @ ('"' | '\\' | '/')) => c,
                    Some('b') => '\u{8}',
                    Some('f') => '\u{c}',
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some('u') => {
                        let hex: String = self.rest.by_ref().take(4).collect();
                        units.push(u16::from_str_radix(&hex, 16).map_err(|e| format!("{hex:?}: {e}"))?);
                        continue;
                    }
                    other => return Err(format!("escape {other:?}")),
                },
                c if c < ' ' => return Err(format!("control character {c:?} in a string")),
                c => c,
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
}
