//! How each kind of setting is read from text and shown again. A reader's complaint completes the
//! sentence "`--flag value`: …", so it says what is wrong and what would be right.

use std::path::PathBuf;

/// Which log: so far, segmented files in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogUrl {
    File(PathBuf),
}

/// Which store: so far, Parquet files in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    File(PathBuf),
}

/// Which catalog: so far, a SQLite database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogUrl {
    Sqlite(PathBuf),
}

/// The form of the server's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The path in `SCHEME:PATH` or `SCHEME://PATH`; else a sentence about what this version takes.
fn located(text: &str, part: &str, scheme: &str, place: &str) -> Result<PathBuf, String> {
    let known = format!("this version has one kind of {part}: {scheme}:{place}");
    let Some((given, rest)) = text.split_once(':') else {
        return Err(format!("not an address; {known}"));
    };
    if given != scheme {
        return Err(format!("`{given}` is not available; {known}"));
    }
    match rest.strip_prefix("//").unwrap_or(rest) {
        "" => Err(format!("the {} is missing; {known}", place.to_lowercase())),
        path => Ok(PathBuf::from(path)),
    }
}

macro_rules! url_codec {
    ($module:ident, $type:ident :: $variant:ident, $part:literal, $scheme:literal, $place:literal) => {
        pub(super) mod $module {
            use super::$type;

            pub(in crate::settings) fn parse(text: &str) -> Result<$type, String> {
                super::located(text, $part, $scheme, $place).map($type::$variant)
            }

            pub(in crate::settings) fn show(value: &$type) -> toml::Value {
                let $type::$variant(path) = value;
                format!("{}:{}", $scheme, path.display()).into()
            }
        }
    };
}

url_codec!(log_url, LogUrl::File, "log", "file", "FOLDER");
url_codec!(store_url, StoreUrl::File, "store", "file", "FOLDER");
url_codec!(catalog_url, CatalogUrl::Sqlite, "catalog", "sqlite", "FILE");

pub(super) mod path {
    use std::path::PathBuf;

    pub(in crate::settings) fn parse(text: &str) -> Result<PathBuf, String> {
        match text {
            "" => Err("a folder is needed, such as ./weir-data".to_owned()),
            path => Ok(PathBuf::from(path)),
        }
    }

    pub(in crate::settings) fn show(value: &std::path::Path) -> toml::Value {
        value.display().to_string().into()
    }
}

pub(super) mod address {
    use std::net::SocketAddr;

    pub(in crate::settings) fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            "not an address with a port, such as 127.0.0.1:8888, 0.0.0.0:8888 or [::1]:8888".to_owned()
        })
    }

    pub(in crate::settings) fn show(value: &SocketAddr) -> toml::Value {
        value.to_string().into()
    }
}

pub(super) mod optional_address {
    use std::net::SocketAddr;

    pub(in crate::settings) fn parse(text: &str) -> Result<Option<SocketAddr>, String> {
        if text == "off" {
            return Ok(None);
        }
        super::address::parse(text).map(Some).map_err(|reason| format!("{reason}, or `off`"))
    }

    pub(in crate::settings) fn show(value: &Option<SocketAddr>) -> toml::Value {
        value.map_or_else(|| "off".to_owned(), |address| address.to_string()).into()
    }
}

/// Whether a text is a whole number, however large.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) mod count {
    const COUNT_MAX: usize = u32::MAX as usize;

    fn too_large() -> String {
        format!("too large, at most {COUNT_MAX}")
    }

    pub(in crate::settings) fn parse(text: &str) -> Result<usize, String> {
        let digits = text.replace('_', "");
        match digits.parse() {
            Ok(count) if (1..=COUNT_MAX).contains(&count) => Ok(count),
            Ok(1..) => Err(too_large()),
            Err(_) if super::is_number(&digits) => Err(too_large()),
            _ => Err("not a whole number of at least 1".to_owned()),
        }
    }

    pub(in crate::settings) fn show(value: &usize) -> toml::Value {
        i64::try_from(*value).unwrap_or(i64::MAX).into()
    }
}

pub(super) mod fanout {
    pub(in crate::settings) fn parse(text: &str) -> Result<usize, String> {
        match text.parse() {
            Ok(count @ 2..=64) => Ok(count),
            _ => Err("not a whole number from 2 to 64".to_owned()),
        }
    }

    pub(in crate::settings) use super::count::show;
}

pub(super) mod nesting {
    pub(in crate::settings) fn parse(text: &str) -> Result<usize, String> {
        match text.parse() {
            Ok(count @ 1..=128) => Ok(count),
            _ => Err("not a whole number from 1 to 128".to_owned()),
        }
    }

    pub(in crate::settings) use super::count::show;
}

pub(super) mod partitions {
    pub(in crate::settings) fn parse(text: &str) -> Result<Option<u32>, String> {
        match text.parse() {
            Ok(count @ 1..=256) => Ok(Some(count)),
            _ if text == "auto" => Ok(None),
            _ => Err("not a whole number from 1 to 256, or `auto`".to_owned()),
        }
    }

    pub(in crate::settings) fn show(value: &Option<u32>) -> toml::Value {
        value.map_or_else(|| "auto".into(), |count| i64::from(count).into())
    }
}

pub(super) mod file_bytes {
    const UNITS: [(&str, u64); 7] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
        ("B", 1),
    ];

    pub(in crate::settings) fn parse(text: &str) -> Result<u64, String> {
        let wrong = || "not a size of at least one byte, such as 64 MiB, 16 MB or 900000".to_owned();
        // A TOML integer has 63 bits, and no disk has more.
        let too_large = || format!("too large, at most {} GiB", i64::MAX >> 30);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
        let (digits, unit) = (digits.replace('_', ""), unit.trim_start());
        if !super::is_number(&digits) || !unit.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(wrong());
        }
        let factor = match UNITS.iter().find(|(known, _)| *known == unit) {
            Some((_, factor)) => *factor,
            None if unit.is_empty() => 1,
            None => {
                return Err(format!("`{unit}` is no unit of size here; use B, kB, MB, GB, KiB, MiB or GiB"));
            }
        };
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        match number.checked_mul(factor) {
            Some(0) => Err(wrong()),
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
            _ => Err(too_large()),
        }
    }

    pub(in crate::settings) fn show(value: &u64) -> toml::Value {
        let whole = UNITS.iter().take(3).find(|(_, factor)| value.is_multiple_of(*factor) && *value > 0);
        match whole {
            Some((unit, factor)) => format!("{} {unit}", value / factor).into(),
            None => i64::try_from(*value).unwrap_or(i64::MAX).into(),
        }
    }
}

pub(super) mod bytes {
    pub(in crate::settings) fn parse(text: &str) -> Result<usize, String> {
        let bytes = super::file_bytes::parse(text)?;
        usize::try_from(bytes).map_err(|_| "more than this machine can address".to_owned())
    }

    pub(in crate::settings) fn show(value: &usize) -> toml::Value {
        super::file_bytes::show(&(*value as u64))
    }
}

pub(super) mod header_bytes {
    pub(in crate::settings) fn parse(text: &str) -> Result<usize, String> {
        match super::bytes::parse(text) {
            Ok(bytes @ 8_192..=16_777_216) => Ok(bytes),
            _ => Err("not a size from 8 KiB to 16 MiB".to_owned()),
        }
    }

    pub(in crate::settings) use super::bytes::show;
}

/// Durations as people write them: `5m`, `1h 30m`, `250ms`.
pub mod duration {
    use std::time::Duration;

    use jiff::SignedDuration;

    /// A hundred years: sums of two such durations and of times still fit everywhere.
    pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

    fn too_long() -> String {
        format!("too long, at most {}h; that is a hundred years", LONGEST.as_secs() / 3_600)
    }

    fn in_days(text: &str) -> bool {
        text.strip_suffix('d').is_some_and(|days| super::is_number(&days.trim_end().replace('_', "")))
    }

    /// Whether the same text would be a duration with smaller numbers in it.
    fn only_digits_are_wrong(text: &str) -> bool {
        let mut smaller = String::new();
        for c in text.chars() {
            match c {
                '0'..='9' if smaller.ends_with('1') => {}
                '0'..='9' => smaller.push('1'),
                other => smaller.push(other),
            }
        }
        smaller.parse::<SignedDuration>().is_ok_and(|duration| duration.is_positive())
    }

    pub fn parse(text: &str) -> Result<Duration, String> {
        let wrong = || "not a duration longer than zero, such as 250ms, 10s, 5m or 1h 30m".to_owned();
        let Ok(duration) = text.parse::<SignedDuration>() else {
            return Err(if in_days(text) {
                "days are not taken here; write hours, such as 48h".to_owned()
            } else if only_digits_are_wrong(text) {
                too_long()
            } else {
                wrong()
            });
        };
        match Duration::try_from(duration) {
            Ok(duration) if duration > LONGEST => Err(too_long()),
            Ok(duration) if !duration.is_zero() => Ok(duration),
            _ => Err(wrong()),
        }
    }

    pub(in crate::settings) fn show(value: &Duration) -> toml::Value {
        match SignedDuration::try_from(*value) {
            Ok(duration) => format!("{duration:#}").into(),
            Err(_) => format!("{}s", value.as_secs()).into(),
        }
    }
}

pub(super) mod kept_for {
    use std::time::Duration;

    use super::duration::LONGEST;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Days too: what is kept for long is counted in them.
    pub(in crate::settings) fn parse(text: &str) -> Result<Option<Duration>, String> {
        let wrong = || "not a duration of at least a day, such as 400d or 36h, nor `forever`".to_owned();
        if text == "forever" {
            return Ok(None);
        }
        let too_long = || {
            format!(
                "too long, at most {}d; write `forever` to keep everything",
                LONGEST.as_secs() / DAY.as_secs()
            )
        };
        let kept = match text.strip_suffix('d').map(|days| days.trim_end().replace('_', "")) {
            Some(days) if super::is_number(&days) => {
                days.parse().ok().and_then(|days| DAY.checked_mul(days)).ok_or_else(too_long)?
            }
            Some(_) => return Err(wrong()),
            None => match super::duration::parse(text) {
                Ok(kept) => kept,
                Err(reason) if reason.starts_with("too long") => return Err(too_long()),
                Err(_) => return Err(wrong()),
            },
        };
        if kept > LONGEST {
            return Err(too_long());
        }
        if kept < DAY { Err(wrong()) } else { Ok(Some(kept)) }
    }

    pub(in crate::settings) fn show(value: &Option<Duration>) -> toml::Value {
        match value {
            None => "forever".into(),
            Some(kept) if kept.subsec_nanos() == 0 && kept.as_secs().is_multiple_of(DAY.as_secs()) => {
                format!("{}d", kept.as_secs() / DAY.as_secs()).into()
            }
            Some(kept) => super::duration::show(kept),
        }
    }
}

pub(super) mod switch {
    pub(in crate::settings) fn parse(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| "neither `true` nor `false`".to_owned())
    }

    pub(in crate::settings) fn show(value: &bool) -> toml::Value {
        (*value).into()
    }
}

pub(super) mod log_format {
    use super::LogFormat;

    pub(in crate::settings) fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("neither `text` nor `json`".to_owned()),
        }
    }

    pub(in crate::settings) fn show(value: &LogFormat) -> toml::Value {
        match value {
            LogFormat::Text => "text".into(),
            LogFormat::Json => "json".into(),
        }
    }
}

pub(super) mod log_level {
    use tracing_subscriber::EnvFilter;

    pub(in crate::settings) fn parse(text: &str) -> Result<String, String> {
        match EnvFilter::try_new(text) {
            Ok(_) if !text.is_empty() => Ok(text.to_owned()),
            _ => {
                Err("not a level such as `info` or `debug`, nor levels by part such as `info,weir_log=debug`"
                    .to_owned())
            }
        }
    }

    pub(in crate::settings) fn show(value: &str) -> toml::Value {
        value.into()
    }
}
