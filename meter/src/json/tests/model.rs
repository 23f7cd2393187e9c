//! JSON as trees, and ways to write a tree down: for tests that must know what a document says without
//! reading it.

use proptest::prelude::*;

/// A JSON value as a tree; members keep their order and may repeat a name.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Model>),
    Object(Vec<(String, Model)>),
}

pub(crate) fn names() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[abc]", 1 => Just(String::new()), 2 => Just("a b".to_owned()), 1 => Just("ä\"\\\u{1}😀".to_owned())]
}

pub(crate) fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,3})",
        2 => r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?",
        1 => prop::sample::select(vec!["18446744073709551616", "-9223372036854775809", "1e309", "-0", "1e-400", "0.1E+20"])
            .prop_map(str::to_owned),
        1 => Just("9".repeat(5_000)),
    ]
}

pub(crate) fn strings() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9 ]{0,40}", 2 => "\\PC{0,20}", 1 => any::<String>(), 1 => Just("null".to_owned())]
}

pub(crate) fn models() -> impl Strategy<Value = Model> {
    let leaf = prop_oneof![
        Just(Model::Null),
        any::<bool>().prop_map(Model::Bool),
        numbers().prop_map(Model::Number),
        strings().prop_map(Model::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Model::Array),
            prop::collection::vec((names(), inner), 0..6).prop_map(Model::Object),
        ]
    })
}

pub(crate) fn objects() -> impl Strategy<Value = Model> {
    prop::collection::vec((names(), models()), 0..6).prop_map(Model::Object)
}

/// Decides how a tree is written: white space and escapes come from the bits of a number.
#[derive(Debug)]
pub(crate) struct Writer {
    state: u64,
    out: String,
}

impl Writer {
    pub(crate) fn write(model: &Model, seed: u64) -> String {
        let mut writer = Self { state: seed, out: String::new() };
        writer.value(model);
        writer.out
    }

    fn choose(&mut self, choices: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % choices
    }

    fn space(&mut self) {
        let space = ["", "", "", " ", "\n", "\t\r\n  "][self.choose(6) as usize];
        self.out.push_str(space);
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            let code = character as u32;
            let short = match character {
                '"' | '\\' | '/' => Some(character),
                '\n' => Some('n'),
                '\r' => Some('r'),
                '\t' => Some('t'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                _ => None,
            };
            let must = code < 0x20 || character == '"' || character == '\\';
            match (self.choose(8), short) {
                (0..4, Some(letter)) if must || letter == '/' => self.out.extend(['\\', letter]),
                (0, _) | (_, _) if must || self.choose(12) == 0 => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        let digits = if self.choose(2) == 0 {
                            format!("\\u{unit:04x}")
                        } else {
                            format!("\\u{unit:04X}")
                        };
                        self.out.push_str(&digits);
                    }
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, model: &Model) {
        self.space();
        match model {
            Model::Null => self.out.push_str("null"),
            Model::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Model::Number(text) => self.out.push_str(text),
            Model::String(text) => self.string(text),
            Model::Array(elements) => {
                self.out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.value(element);
                }
                self.space();
                self.out.push(']');
            }
            Model::Object(members) => {
                self.out.push('{');
                for (index, (name, member)) in members.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.space();
                    self.string(name);
                    self.space();
                    self.out.push(':');
                    self.value(member);
                }
                self.space();
                self.out.push('}');
            }
        }
        self.space();
    }
}
