//! What must be in the log, and what may be: everything that was sent, what was acknowledged, and what
//! readers were shown.

use std::collections::{BTreeMap, BTreeSet};

use weir_log::local::LocalLog;
use weir_log::{Appended, Log, LoggedRecord, Record};

/// One partition.
#[derive(Default)]
struct Part {
    /// Must be there for ever, apart from what was cut; the record time once somebody has seen it.
    known: BTreeMap<u64, (Record, Option<i64>)>,
    /// Requests that were found in the log.
    found: BTreeSet<u128>,
    /// What was cut may be gone up to here,
    cut_asked: u64,
    /// and must be gone up to here.
    start_min: u64,
    end_min: u64,
}

pub(crate) struct Ledger {
    /// Each request's records, by partition.
    sent: BTreeMap<(u128, u32), Vec<Record>>,
    parts: Vec<Part>,
}

impl Ledger {
    pub(crate) fn new(partitions: u32) -> Self {
        Self { sent: BTreeMap::new(), parts: (0..partitions).map(|_| Part::default()).collect() }
    }

    pub(crate) fn send(&mut self, batch: &[Record]) {
        for record in batch {
            let partition = (record.identity.0 % self.parts.len() as u128) as u32;
            self.sent.entry((record.request.0, partition)).or_default().push(record.clone());
        }
    }

    pub(crate) fn acknowledge(&mut self, request: u128, appended: &Appended) -> Result<(), String> {
        for range in &appended.ranges {
            let records =
                self.sent.get(&(request, range.partition)).ok_or("a range that nobody asked for")?;
            let part = &mut self.parts[range.partition as usize];
            if range.to - range.from != records.len() as u64 {
                return Err(format!("{range:?} for {} records", records.len()));
            }
            for (offset, record) in (range.from..range.to).zip(records) {
                let before = part.known.entry(offset).or_insert_with(|| (record.clone(), None));
                if before.0 != *record {
                    return Err(format!("offset {offset} was given twice"));
                }
            }
            part.found.insert(request);
        }
        Ok(())
    }

    pub(crate) fn ask_cut(&mut self, partition: u32, below: u64) {
        let part = &mut self.parts[partition as usize];
        part.cut_asked = part.cut_asked.max(below);
    }

    pub(crate) fn cut(&mut self, partition: u32, start: u64) {
        let part = &mut self.parts[partition as usize];
        part.start_min = part.start_min.max(start);
    }

    /// Reads everything and compares. True if the reading came to its end.
    pub(crate) async fn compare(&mut self, log: &LocalLog, bytes_max: usize) -> Result<bool, String> {
        for partition in 0..self.parts.len() as u32 {
            let Ok(start) = log.start(partition).await else { return Ok(false) };
            let end = *log.durable_end(partition).borrow();
            let mut all: Vec<LoggedRecord> = Vec::new();
            let mut next = start;
            while next < end {
                let records = match log.read(partition, next, bytes_max).await {
                    Ok(records) => records,
                    Err(weir_log::LogError::Io { .. }) => return Ok(false),
                    Err(error) => return Err(error.to_string()),
                };
                if records.is_empty() {
                    return Err(format!("nothing at {next}, but the end is {end}"));
                }
                for record in records {
                    if record.offset != next {
                        return Err(format!("offset {} where {next} was asked for", record.offset));
                    }
                    next += 1;
                    all.push(record);
                }
            }
            // An append that was refused for one partition may still be under way in another: of what came
            // behind the end meanwhile a read shows as much as fits.
            all.retain(|record| record.offset < end);
            let end = end.max(start);
            self.compare_part(partition, start, end, &all)
                .map_err(|wrong| format!("partition {partition} from {start} to {end}: {wrong}"))?;
        }
        Ok(true)
    }

    fn compare_part(
        &mut self,
        partition: u32,
        start: u64,
        end: u64,
        all: &[LoggedRecord],
    ) -> Result<(), String> {
        let part = &mut self.parts[partition as usize];
        if start > part.cut_asked {
            return Err(format!("it may start at {} at most", part.cut_asked));
        }
        if start < part.start_min {
            return Err(format!("what was cut up to {} is back", part.start_min));
        }
        let known_end = part.known.last_key_value().map_or(0, |(offset, _)| offset + 1);
        if end < known_end.max(part.end_min) {
            return Err(format!("{} were durable", known_end.max(part.end_min)));
        }
        part.end_min = end;
        let mut time_us =
            part.known.range(..start).rev().find_map(|(_, (_, time))| *time).unwrap_or(i64::MIN);
        let mut at = 0;
        while let Some(logged) = all.get(at) {
            let request = logged.record.request.0;
            if !part.known.contains_key(&logged.offset) {
                let whole = self.sent.get(&(request, partition)).ok_or("a record that nobody sent")?;
                let there = all[at..].iter().map(|logged| &logged.record).take(whole.len());
                if !there.eq(whole) || !part.found.insert(request) {
                    return Err(format!("a part of a batch, or one twice, at {}", logged.offset));
                }
                for (offset, record) in (logged.offset..).zip(whole) {
                    part.known.insert(offset, (record.clone(), None));
                }
            }
            let known = part.known.get_mut(&logged.offset).ok_or("a record that nobody knows")?;
            if known.0 != logged.record || known.1.is_some_and(|time| time != logged.record_time_us) {
                return Err(format!("another record or time at {}", logged.offset));
            }
            if logged.record_time_us < time_us {
                return Err(format!("time goes back at {}", logged.offset));
            }
            time_us = logged.record_time_us;
            known.1 = Some(time_us);
            at += 1;
        }
        Ok(())
    }
}
