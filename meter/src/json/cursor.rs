//! A cursor over JSON text that keeps to RFC 8259 and hands out the text as it was sent: every value
//! is a span of the input. Numbers may have any length, depth is bounded, nothing recurses.

use std::borrow::Cow;

/// Deeper nesting is refused whatever the caller asks for.
pub(crate) const NESTING_MAX: usize = 128;

/// Where the text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Byte of the text, from 0.
    pub(crate) at: usize,
    pub(crate) reason: &'static str,
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

impl Kind {
    /// With its article, for messages.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::True | Self::False => "a boolean",
            Self::Null => "null",
        }
    }
}

/// The inside of a JSON string, its escapes checked but not undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawString<'a> {
    pub(crate) raw: &'a str,
    pub(crate) escaped: bool,
}

impl<'a> RawString<'a> {
    #[inline]
    pub(crate) fn text(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

type Step<T> = Result<T, SyntaxError>;

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Start of what has not been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The text from `start` to here.
    #[inline]
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    /// Goes to the next value and tells its kind.
    #[inline]
    pub(crate) fn peek(&mut self) -> Step<Kind> {
        Ok(match self.next_token() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't') => Kind::True,
            Some(b'f') => Kind::False,
            Some(b'n') => Kind::Null,
            Some(_) => return self.fail("a value belongs here"),
            None => return self.fail("the text ends where a value belongs"),
        })
    }

    /// Only white space may follow.
    pub(crate) fn finish(&mut self) -> Step<()> {
        if self.next_token().is_none() { Ok(()) } else { self.fail("nothing may follow the first value") }
    }

    /// At an opening brace: goes past it. False if the object is empty, and then it is over.
    #[inline]
    pub(crate) fn open_object(&mut self) -> Step<bool> {
        self.at += 1;
        self.opened(b'}')
    }

    /// At an opening bracket: goes past it. False if the array is empty, and then it is over.
    #[inline]
    pub(crate) fn open_array(&mut self) -> Step<bool> {
        self.at += 1;
        self.opened(b']')
    }

    #[inline]
    fn opened(&mut self, close: u8) -> Step<bool> {
        let empty = self.next_token() == Some(close);
        self.at += usize::from(empty);
        Ok(!empty)
    }

    /// After a member: true if a comma says that another follows, false if the object is over.
    #[inline]
    pub(crate) fn more_members(&mut self) -> Step<bool> {
        match self.next_token() {
            Some(b',') => self.advance(true),
            Some(b'}') => self.advance(false),
            Some(_) => self.fail("a comma or a closing brace belongs here"),
            None => self.fail("the text ends inside an object"),
        }
    }

    /// After an element: true if a comma says that another follows, false if the array is over.
    #[inline]
    pub(crate) fn more_elements(&mut self) -> Step<bool> {
        match self.next_token() {
            Some(b',') => self.advance(true),
            Some(b']') => self.advance(false),
            Some(_) => self.fail("a comma or a closing bracket belongs here"),
            None => self.fail("the text ends inside an array"),
        }
    }

    #[inline]
    fn advance(&mut self, value: bool) -> Step<bool> {
        self.at += 1;
        Ok(value)
    }

    /// A member's name and the colon after it.
    #[inline]
    pub(crate) fn name(&mut self) -> Step<RawString<'a>> {
        match self.next_token() {
            Some(b'"') => {}
            Some(_) => return self.fail("a name in double quotes belongs here"),
            None => return self.fail("the text ends inside an object"),
        }
        let name = self.string()?;
        match self.next_token() {
            Some(b':') => {
                self.at += 1;
                Ok(name)
            }
            Some(_) => self.fail("a colon belongs here"),
            None => self.fail("the text ends inside an object"),
        }
    }

    /// At a double quote: the string up to its end.
    #[inline]
    pub(crate) fn string(&mut self) -> Step<RawString<'a>> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            self.at += plain_length(self.rest());
            match self.byte(0) {
                Some(b'"') => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(RawString { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("a control character in a string is written as an escape"),
                None => return self.fail("the text ends inside a string"),
            }
        }
    }

    /// At a backslash: goes past the escape.
    fn escape(&mut self) -> Step<()> {
        match self.byte(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match code_unit(self.rest()) {
                Some(0xD800..=0xDBFF) => {
                    if !matches!(self.rest().get(6..).and_then(code_unit), Some(0xDC00..=0xDFFF)) {
                        return self.fail("half of a surrogate pair is no character");
                    }
                    self.at += 12;
                }
                Some(0xDC00..=0xDFFF) => return self.fail("half of a surrogate pair is no character"),
                Some(_) => self.at += 6,
                None => return self.fail("four hexadecimal digits belong after \\u"),
            },
            Some(_) => return self.fail("there is no such escape in JSON"),
            None => return self.fail("the text ends inside a string"),
        }
        Ok(())
    }

    /// At a minus sign or a digit: the number's text.
    #[inline]
    pub(crate) fn number(&mut self) -> Step<&'a str> {
        let start = self.at;
        self.at += usize::from(self.byte(0) == Some(b'-'));
        match self.byte(0) {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.byte(0), Some(b'0'..=b'9')) {
                    return self.fail("a number has no leading zeros");
                }
            }
            Some(b'1'..=b'9') => self.digits("")?,
            _ => return self.fail("a digit belongs after the minus sign"),
        }
        if self.byte(0) == Some(b'.') {
            self.at += 1;
            self.digits("a digit belongs after the point")?;
        }
        if matches!(self.byte(0), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(0), Some(b'+' | b'-')));
            self.digits("a digit belongs in the exponent")?;
        }
        Ok(self.since(start))
    }

    #[inline]
    fn digits(&mut self, none: &'static str) -> Step<()> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return self.fail(none);
        }
        self.at += count;
        Ok(())
    }

    /// At `true`, `false` or `null`: goes past it.
    pub(crate) fn keyword(&mut self, kind: Kind) -> Step<()> {
        let word: &[u8] = match kind {
            Kind::True => b"true",
            Kind::False => b"false",
            _ => b"null",
        };
        if !self.rest().starts_with(word) {
            return self.fail("a value belongs here");
        }
        self.at += word.len();
        Ok(())
    }

    /// Goes past the next value, which may hold `depth_max` levels of objects and arrays; its text.
    pub(crate) fn skip(&mut self, depth_max: usize) -> Step<&'a str> {
        let depth_max = depth_max.min(NESTING_MAX);
        // One bit a level: set for objects. The lowest bit is the innermost level.
        let mut levels: u128 = 0;
        let mut depth = 0_usize;
        let mut kind = self.peek()?;
        let start = self.at;
        loop {
            let opened = match kind {
                Kind::String => self.string().map(|_| false)?,
                Kind::Number => self.number().map(|_| false)?,
                Kind::Object | Kind::Array => {
                    if depth == depth_max {
                        return self.fail(TOO_DEEP);
                    }
                    let object = kind == Kind::Object;
                    let filled = if object { self.open_object()? } else { self.open_array()? };
                    if filled {
                        levels = (levels << 1) | u128::from(object);
                        depth += 1;
                        if object {
                            self.name()?;
                        }
                    }
                    filled
                }
                _ => self.keyword(kind).map(|()| false)?,
            };
            let mut inside = opened;
            while !inside {
                if depth == 0 {
                    return Ok(self.since(start));
                }
                inside = if levels & 1 == 1 {
                    self.more_members()? && self.name().map(|_| true)?
                } else {
                    self.more_elements()?
                };
                if !inside {
                    levels >>= 1;
                    depth -= 1;
                }
            }
            kind = self.peek()?;
        }
    }

    #[inline]
    fn next_token(&mut self) -> Option<u8> {
        loop {
            match self.byte(0) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or(&[])
    }

    #[inline]
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at.saturating_add(ahead)).copied()
    }

    fn fail<T>(&self, reason: &'static str) -> Step<T> {
        Err(SyntaxError { at: self.at, reason })
    }
}

/// The one reason that is about a bound and not about the grammar.
pub(crate) const TOO_DEEP: &str = "objects and arrays are nested too deeply";

/// How many bytes come before the first quote, backslash or control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut length = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        // A borrow can only mark bytes above a true hit, so the lowest mark is right.
        let found = (quotes | backslashes | controls) & HIGHS;
        if found != 0 {
            return length + (found.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length + rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)).count()
}

/// The code unit of an escape such as `\u00e9` that `text` starts with.
fn code_unit(text: &[u8]) -> Option<u16> {
    let [b'\\', b'u', hex @ ..] = text else { return None };
    hex.get(..4)?.iter().try_fold(0_u16, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some((unit << 4) | u16::try_from(value).ok()?)
    })
}

/// Undoes the escapes of a string that the cursor has checked.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        // split_once took the backslash; the escape's letter is next.
        let mut characters = escape.chars();
        match characters.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let at = rest.len() - escape.len() - 1;
                let units = rest.as_bytes().get(at..).unwrap_or(&[]);
                let first = code_unit(units).unwrap_or(0xFFFD);
                let pair = (0xD800..0xDC00).contains(&first);
                let second = if pair { units.get(6..).and_then(code_unit) } else { None };
                text.extend(char::decode_utf16([first].into_iter().chain(second)).flatten());
                rest = rest.get(at + if pair { 12 } else { 6 }..).unwrap_or("");
                continue;
            }
            Some(other) => text.push(other),
            None => {}
        }
        rest = characters.as_str();
    }
    text.push_str(rest);
    text
}
