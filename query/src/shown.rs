//! What a client sent, as an error repeats it: the beginning is enough to recognise it by, and nobody gets
//! a megabyte back.

use std::borrow::Cow;

/// Characters of a client's text that an error repeats.
pub(crate) const SHOWN_CHARS_MAX: usize = 80;
/// Characters of a whole sentence; only those are longer that others than we have put together.
pub(crate) const DETAIL_CHARS_MAX: usize = 1_000;

/// The text, or its beginning.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    shortened(text, SHOWN_CHARS_MAX)
}

pub(crate) fn shortened(text: &str, characters_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_texts_are_cut_and_only_between_characters() {
        assert_eq!(shown(""), "");
        let whole = "ü".repeat(SHOWN_CHARS_MAX);
        assert_eq!(shown(&whole), whole);
        assert_eq!(shown(&format!("{whole}x")), format!("{whole}…"));
        assert_eq!(shortened("a\0b", 2), "a\0…");
    }
}
