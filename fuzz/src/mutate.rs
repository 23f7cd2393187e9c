//! Small random changes to kept inputs, for runs without coverage: the same seed gives the same inputs on
//! every machine.

/// SplitMix64: a few lines, and the same numbers for ever.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end`, which is left out; 0 if that is nothing.
    pub fn below(&mut self, end: usize) -> usize {
        self.number().checked_rem(end as u64).unwrap_or(0) as usize
    }
}

/// Bytes at which readers decide something.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\"\\{}[]:,.-+eE0159 \t\nTZ'$*%_uU";

/// One input made of the kept ones.
pub fn mutated(random: &mut Random, corpus: &[Vec<u8>], tokens: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
    let mut data = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let most = random.below(16);
        let length = random.below(1 + most);
        let end = (at + length).min(data.len());
        match random.below(9) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => data[at] = random.number() as u8,
            2 if at < data.len() => data[at] = TELLING[random.below(TELLING.len())],
            3 => drop(data.drain(at..end)),
            4 => data.insert(at, TELLING[random.below(TELLING.len())]),
            5 => data.truncate(at),
            6 => {
                let repeated = data[at..end].repeat(1 + random.below(8));
                data.splice(at..at, repeated);
            }
            7 if !tokens.is_empty() => {
                let token = &tokens[random.below(tokens.len())];
                let end = if random.below(2) == 0 { at } else { end };
                data.splice(at..end, token.iter().copied());
            }
            _ => {
                let Some(other) = corpus.get(random.below(corpus.len())) else { continue };
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data.truncate(bytes_max);
    data
}

/// The word of one line of a libFuzzer dictionary: `"…"`, with `\\`, `\"` and `\xAB`.
pub fn token(line: &str) -> Option<Vec<u8>> {
    let quoted = line.trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = quoted.bytes();
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        word.push(match (byte, if byte == b'\\' { bytes.next() } else { None }) {
            (b'\\', Some(b'x')) => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            (b'\\', escaped) => escaped?,
            _ => byte,
        });
    }
    Some(word)
}
