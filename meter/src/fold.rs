//! Folding: one accepted event into the windows of every meter that selects it. The only code that
//! turns events into numbers; the aggregator, a refold and the rows path of a query all call it.
//! Folding is total: nothing inside an event can make it fail.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::coordinates::Coordinates;
use crate::hash::HashKey;
use crate::ids::Namespace;
use crate::json::{Extractor, PathSet};
use crate::meter::{Aggregation, Generation, Meter};
use crate::path::{Path, PathError};
use crate::value::{self, Extracted, NumberValue};
use crate::window::{LatestKey, WindowKeyRef, WindowSet};

/// An event as folding needs it. Times are microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug)]
pub struct FoldEvent<'a> {
    pub namespace: &'a Namespace,
    pub event_type: &'a str,
    pub subject: &'a str,
    pub time_us: i64,
    /// The running maximum of the log's timestamps in the partition.
    pub record_time_us: i64,
    pub at: Coordinates,
    /// The JSON object as sent; None when absent or null.
    pub data: Option<&'a [u8]>,
}

/// What folding met and could not count; each is also told by the event itself when it is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldCounts {
    /// Values that no number could be made of, per meter and event.
    pub ignored_values: u64,
    /// Values whose digits past the thirtieth were rounded.
    pub rounded_values: u64,
    /// Values left out because a window's sum would leave Decimal(76, 30).
    pub overflowed_values: u64,
    /// About as many bytes as the windows and members hold that this event made.
    pub window_bytes: usize,
}

/// What a window takes beside its texts and its numbers, what the numbers take, and what a member takes, with
/// the room that tables keep free: for bounds, not for accounts.
const WINDOW_BYTES: usize = 140;
const VALUES_BYTES: usize = 176;
const MEMBER_BYTES: usize = 110;

/// The meters of one revision, made ready to fold.
#[derive(Debug)]
pub struct Folder {
    namespaces: HashMap<Namespace, HashMap<Box<str>, TypeMeters>>,
    generations: Vec<Generation>,
    key: HashKey,
}

#[derive(Debug)]
struct TypeMeters {
    paths: PathSet,
    meters: Vec<ReadyMeter>,
}

/// The same while paths are still being collected.
#[derive(Debug, Default)]
struct TypeDraft {
    paths: Vec<Path>,
    ready: Vec<ReadyMeter>,
}

#[derive(Debug)]
struct ReadyMeter {
    key: Generation,
    aggregation: Aggregation,
    event_from_us: Option<i64>,
    /// Indexes into the type's path set.
    value: Option<usize>,
    groups: Vec<usize>,
}

/// Buffers that are used again for every event of a batch.
#[derive(Debug, Default)]
pub struct FoldScratch {
    extractor: Extractor,
}

impl Folder {
    /// Fails only if a stored meter has a path that today's rules refuse.
    pub fn new<'m>(meters: impl IntoIterator<Item = &'m Meter>, key: HashKey) -> Result<Self, PathError> {
        let mut drafts: HashMap<Namespace, HashMap<Box<str>, TypeDraft>> = HashMap::new();
        let mut generations = Vec::new();
        for meter in meters {
            let of_namespace = drafts.entry(meter.namespace.clone()).or_default();
            let TypeDraft { paths, ready } =
                of_namespace.entry(meter.event_type.as_str().into()).or_default();
            let mut index_of = |text: &str| -> Result<usize, PathError> {
                let path = Path::parse(text)?;
                Ok(paths.iter().position(|p| *p == path).unwrap_or_else(|| {
                    paths.push(path);
                    paths.len() - 1
                }))
            };
            let value = meter.value_property.as_deref().map(&mut index_of).transpose()?;
            let groups = meter.group_by.values().map(|p| index_of(p)).collect::<Result<_, _>>()?;
            ready.push(ReadyMeter {
                key: meter.key(),
                aggregation: meter.aggregation,
                event_from_us: meter.event_from_us,
                value,
                groups,
            });
            generations.push(meter.key());
        }
        let namespaces = drafts
            .into_iter()
            .map(|(namespace, types)| {
                let types = types
                    .into_iter()
                    .map(|(name, draft)| {
                        (name, TypeMeters { paths: PathSet::new(draft.paths), meters: draft.ready })
                    })
                    .collect();
                (namespace, types)
            })
            .collect();
        generations.sort_unstable();
        Ok(Self { namespaces, generations, key })
    }

    /// The generations that this folder folds, sorted.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// Folds one accepted event into the window that starts at `window_start_us`.
    pub fn fold(
        &self,
        event: &FoldEvent<'_>,
        window_start_us: i64,
        scratch: &mut FoldScratch,
        into: &mut WindowSet,
    ) -> FoldCounts {
        let mut counts = FoldCounts::default();
        let Some(of_type) =
            self.namespaces.get(event.namespace).and_then(|types| types.get(event.event_type))
        else {
            return counts;
        };
        let values = scratch.extractor.extract(event.data, &of_type.paths);
        let latest_key =
            LatestKey { time_us: event.time_us, record_time_us: event.record_time_us, at: event.at };
        for meter in &of_type.meters {
            if meter.event_from_us.is_some_and(|from| event.time_us < from) {
                continue;
            }
            let groups: SmallVec<[Cow<'_, str>; 4]> = meter
                .groups
                .iter()
                .map(|index| value::group_text(values.get(*index).unwrap_or(&Extracted::Missing)))
                .collect();
            let key = WindowKeyRef { subject: event.subject, start_us: window_start_us, groups: &groups };
            let windows = Arc::make_mut(into.meters.entry(meter.key).or_default());
            let (place, state) = windows.windows.place(key);
            state.add_event(event.time_us);
            if state.events == 1 {
                counts.window_bytes += WINDOW_BYTES + key.text_bytes();
            }
            let Some(extracted) = meter.value.map(|i| values.get(i).unwrap_or(&Extracted::Missing)) else {
                continue;
            };
            if meter.aggregation == Aggregation::UniqueCount {
                if let Some(text) = value::member_text(extracted) {
                    state.counted = state.counted.saturating_add(1);
                    if windows.add_member(place, self.key.member(&text)) {
                        counts.window_bytes += MEMBER_BYTES;
                    }
                } else {
                    counts.ignored_values += 1;
                }
                continue;
            }
            let number = match value::number(extracted) {
                NumberValue::Exact(number) => number,
                NumberValue::Rounded(number) => {
                    counts.rounded_values += 1;
                    number
                }
                NumberValue::Ignored(_) => {
                    counts.ignored_values += 1;
                    continue;
                }
            };
            if state.values.is_none() {
                counts.window_bytes += VALUES_BYTES;
            }
            if state.add_value(number, latest_key).is_err() {
                counts.overflowed_values += 1;
            }
        }
        counts
    }
}
