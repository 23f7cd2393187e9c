//! Cuts a stream of bytes into JSON values: one a line (NDJSON), or the elements of an array. The
//! stream arrives in chunks of any size, and only what is not complete yet is kept.

/// The largest element that is kept whole. Far above what a server takes.
pub const ELEMENT_BYTES_MAX: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// What a stream's form makes impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SplitError {
    /// Counted from 1.
    pub line: u64,
    pub reason: &'static str,
}

/// What the bytes to come belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Only blanks so far, or an array that has ended.
    Undecided,
    Lines,
    Array(Scan),
}

/// Where inside an array the scan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scan {
    /// Brackets that are open inside the element.
    depth: u64,
    in_string: bool,
    escaped: bool,
    /// A comma came before, so an element has to follow.
    after_comma: bool,
}

/// Takes chunks, gives elements with the line on which each begins.
#[derive(Debug)]
pub struct Splitter {
    mode: Mode,
    /// Of the next byte, counted from 1.
    line: u64,
    /// The beginning of an element that came in earlier chunks, and its line.
    pending: Vec<u8>,
    pending_line: u64,
    /// Bytes of the byte order mark seen so far; its length once the question is settled.
    mark_bytes: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self { mode: Mode::Undecided, line: 1, pending: Vec::new(), pending_line: 1, mark_bytes: 0 }
    }
}

impl Splitter {
    /// Takes the next chunk and hands every element that it completes to `take`.
    pub fn push<E: From<SplitError>>(
        &mut self,
        mut chunk: &[u8],
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((first, rest)) = chunk.split_first() {
            chunk = match self.mode {
                Mode::Undecided => match first {
                    byte if BYTE_ORDER_MARK.get(self.mark_bytes) == Some(byte) => {
                        self.mark_bytes += 1;
                        rest
                    }
                    b'\n' => {
                        self.line += 1;
                        rest
                    }
                    b' ' | b'\t' | b'\r' => rest,
                    b'[' => {
                        self.mode = Mode::Array(Scan::default());
                        rest
                    }
                    _ => {
                        self.mode = Mode::Lines;
                        chunk
                    }
                },
                Mode::Lines => self.push_line(chunk, take)?,
                Mode::Array(scan) => self.push_array(scan, chunk, take)?,
            };
        }
        Ok(())
    }

    /// Says that the stream has ended.
    pub fn finish<E: From<SplitError>>(
        &mut self,
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.mode {
            Mode::Undecided => Ok(()),
            Mode::Lines => self.complete(&[], take),
            Mode::Array(_) => Err(self.error("the array does not end; the file seems to be cut off").into()),
        }
    }

    /// Takes one line, or the part of it that is there; returns what follows.
    fn push_line<'a, E: From<SplitError>>(
        &mut self,
        chunk: &'a [u8],
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        let Some(end) = memchr::memchr(b'\n', chunk) else {
            self.keep(chunk)?;
            return Ok(&[]);
        };
        let (line, rest) = chunk.split_at(end);
        self.complete(line, take)?;
        self.line += 1;
        Ok(rest.get(1..).unwrap_or_default())
    }

    /// Takes up to the end of one element of an array; returns what follows.
    fn push_array<'a, E: From<SplitError>>(
        &mut self,
        mut scan: Scan,
        chunk: &'a [u8],
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        let mut lines = 0;
        for (index, byte) in chunk.iter().enumerate() {
            if *byte == b'\n' {
                lines += 1;
            }
            if scan.in_string {
                match byte {
                    _ if scan.escaped => scan.escaped = false,
                    b'\\' => scan.escaped = true,
                    b'"' => scan.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => scan.in_string = true,
                b'{' | b'[' => scan.depth += 1,
                b'}' | b']' if scan.depth > 0 => scan.depth -= 1,
                b',' | b']' if scan.depth == 0 => {
                    let (element, rest) = chunk.split_at(index);
                    if self.lacks_element(scan, *byte, element) {
                        self.line += lines;
                        return Err(self.error("an event is missing at this comma or bracket").into());
                    }
                    self.mode = match byte {
                        b',' => Mode::Array(Scan { after_comma: true, ..Scan::default() }),
                        _ => Mode::Undecided,
                    };
                    self.complete(element, take)?;
                    self.line += lines;
                    return Ok(rest.get(1..).unwrap_or_default());
                }
                _ => {}
            }
        }
        self.mode = Mode::Array(scan);
        self.keep(chunk)?;
        self.line += lines;
        Ok(&[])
    }

    /// True if there is nothing where an element had to be: before a comma, or after one.
    fn lacks_element(&self, scan: Scan, ended_by: u8, element: &[u8]) -> bool {
        let empty = self.pending.is_empty() && element.trim_ascii().is_empty();
        empty && (ended_by == b',' || scan.after_comma)
    }

    /// Keeps the beginning of an element for the next chunk.
    fn keep(&mut self, part: &[u8]) -> Result<(), SplitError> {
        if self.pending.is_empty() {
            // Blanks before an element are not part of it, nor are the lines they take up.
            let blanks = part.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let (before, part) = part.split_at(blanks);
            self.pending_line = self.line + memchr::memchr_iter(b'\n', before).count() as u64;
            self.pending.extend_from_slice(part);
        } else {
            self.pending.extend_from_slice(part);
        }
        if self.pending.len() > ELEMENT_BYTES_MAX {
            return Err(SplitError {
                line: self.pending_line,
                reason: "an event of more than 16 MiB begins here, or the file is neither NDJSON nor a JSON array",
            });
        }
        Ok(())
    }

    /// Hands over what was kept and the part that completes it, unless all is blank.
    fn complete<E: From<SplitError>>(
        &mut self,
        part: &[u8],
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.pending.is_empty() {
            let blanks = part.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let before = part.get(..blanks).unwrap_or_default();
            let line = self.line + memchr::memchr_iter(b'\n', before).count() as u64;
            return match part.trim_ascii() {
                [] => Ok(()),
                element => take(line, element),
            };
        }
        self.keep(part)?;
        let element = std::mem::take(&mut self.pending);
        let outcome = take(self.pending_line, element.trim_ascii());
        // The buffer is used again, so that long streams do not allocate for every chunk.
        self.pending = element;
        self.pending.clear();
        outcome
    }

    fn error(&self, reason: &'static str) -> SplitError {
        SplitError { line: self.line, reason }
    }
}
