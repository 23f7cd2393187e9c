//! Patches ids, times and numbers into bodies, and keeps the sums of what it patched in, for the recount.

use std::sync::Arc;

use super::{Numbers, Sums};
use crate::calendar::{DAY_S, SECOND_BYTES, Seconds, now};
use crate::draw::Draw;

/// Length of a UUID's text.
pub const ID_BYTES: usize = 36;
/// Length of `2026-11-21T05:51:07.123Z`.
pub(super) const JSON_TIME_BYTES: usize = SECOND_BYTES + 5;
/// Event times lie within as many seconds before the sending …
const RECENT_S: u64 = 600;
/// … but one event in so many is late by up to a day.
const LATE_ONE_IN: u64 = 100;

/// A time that protobuf writes in five bytes each, seconds and nanoseconds.
pub(super) const NO_SECOND: i64 = 1_700_000_000;
pub(super) const NO_NANOS: i32 = 300_000_000;

/// Where the holes of an event stand in a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    id: usize,
    time: usize,
    tokens: usize,
    duration: usize,
    user: usize,
}

/// Finds the holes of all events, by what stands before them.
pub(super) fn places(bytes: &[u8], proto: bool) -> Vec<Place> {
    let after = |mark: &[u8]| -> Vec<usize> {
        memchr::memmem::find_iter(bytes, mark).map(|at| at + mark.len()).collect()
    };
    let (ids, times) = if proto {
        // Field 1, a text as long as an id. And a Timestamp: field 1, a varint; field 2, a varint.
        let mut time = vec![0x08];
        time.extend(varint5(NO_SECOND as u64));
        time.push(0x10);
        time.extend(varint5(NO_NANOS as u64));
        let times = memchr::memmem::find_iter(bytes, &time).map(|at| at + 1).collect();
        (after(&[&[0x0a, ID_BYTES as u8][..], &[b'0'; 4]].concat()).iter().map(|at| at - 4).collect(), times)
    } else {
        (after(br#""id":""#), after(br#""time":""#))
    };
    let (tokens, durations, users) = (
        after(br#""tokens":"#),
        after(br#""duration_ms":"#),
        // Behind the subject's five digits.
        after(br#""user":"u"#).iter().map(|at| at + 6).collect::<Vec<_>>(),
    );
    let place = |n: usize| {
        Some(Place {
            id: *ids.get(n)?,
            time: *times.get(n)?,
            tokens: *tokens.get(n)?,
            duration: *durations.get(n)?,
            user: *users.get(n)?,
        })
    };
    (0..ids.len()).map_while(place).collect()
}

/// The state of one connection's stamping.
#[derive(Clone, Debug)]
pub struct Stamp {
    draw: Draw,
    seconds: Arc<Seconds>,
    first_minute: i64,
    /// Events by the minute of their time, counted from `first_minute`.
    minutes: Vec<u64>,
    now_s: i64,
}

impl Stamp {
    pub fn new(draw: Draw, seconds: Arc<Seconds>) -> Self {
        let first_minute = seconds.first().div_euclid(60);
        let minutes = vec![0; seconds.len() / 60 + 2];
        Self { draw, now_s: now().0, seconds, first_minute, minutes }
    }

    /// Asked once a body.
    pub fn look_at_the_clock(&mut self) {
        self.now_s = now().0;
    }

    /// Minute since 1970, and how many events of it were stamped.
    pub fn minutes(&self) -> impl Iterator<Item = (i64, u64)> {
        self.minutes.iter().zip(self.first_minute..).filter(|(n, _)| **n > 0).map(|(n, minute)| (minute, *n))
    }

    pub(super) fn event(&mut self, bytes: &mut [u8], place: &Place, proto: bool, sums: &mut Sums) {
        self.id(bytes, place.id);
        if proto {
            self.time_proto(bytes, place.time);
        } else {
            self.time_json(bytes, place.time);
        }
        let numbers = Numbers::draw(&mut self.draw);
        digits(&mut bytes[place.tokens..place.tokens + 4], numbers.tokens);
        digits(&mut bytes[place.duration..place.duration + 5], numbers.duration / 1_000);
        digits(&mut bytes[place.duration + 6..place.duration + 9], numbers.duration % 1_000);
        digits(&mut bytes[place.user..place.user + 2], numbers.user);
        sums.tokens += u64::from(numbers.tokens);
        sums.duration += u64::from(numbers.duration);
        sums.slowest = sums.slowest.max(numbers.duration);
        sums.users |= 1 << numbers.user;
    }

    /// A random UUID, version 4.
    fn id(&mut self, bytes: &mut [u8], at: usize) {
        let high = (self.draw.number() & !0xf000) | 0x4000;
        let low = (self.draw.number() & !(0b11 << 62)) | (0b10 << 62);
        let text = &mut bytes[at..at + ID_BYTES];
        let raw = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let mut to = 0;
        for (n, byte) in raw.into_iter().enumerate() {
            if matches!(n, 4 | 6 | 8 | 10) {
                text[to] = b'-';
                to += 1;
            }
            text[to] = HEX[usize::from(byte >> 4)];
            text[to + 1] = HEX[usize::from(byte & 15)];
            to += 2;
        }
    }

    fn time_json(&mut self, bytes: &mut [u8], at: usize) {
        let second = self.second();
        let millis = self.draw.below(1_000) as u32;
        let text = &mut bytes[at..at + JSON_TIME_BYTES];
        text[..SECOND_BYTES].copy_from_slice(self.seconds.text(second));
        text[SECOND_BYTES] = b'.';
        digits(&mut text[SECOND_BYTES + 1..SECOND_BYTES + 4], millis);
        text[SECOND_BYTES + 4] = b'Z';
    }

    fn time_proto(&mut self, bytes: &mut [u8], at: usize) {
        let second = self.second();
        // Five bytes each: nanoseconds from 2^28 on, in whole milliseconds as in JSON.
        let nanos = (269 + self.draw.below(1_000 - 269)) * 1_000_000;
        bytes[at..at + 5].copy_from_slice(&varint5(second as u64));
        bytes[at + 6..at + 11].copy_from_slice(&varint5(nanos));
    }

    fn second(&mut self) -> i64 {
        let reach = if self.draw.below(LATE_ONE_IN) == 0 { DAY_S as u64 } else { RECENT_S };
        let second = self.now_s - 1 - self.draw.below(reach) as i64;
        self.minutes[(second.div_euclid(60) - self.first_minute) as usize] += 1;
        second
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";

/// Fills the text with the number's last digits.
fn digits(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A protobuf varint of a number from 2^28 to below 2^35.
pub(super) fn varint5(number: u64) -> [u8; 5] {
    let part = |n: u32| (number >> (7 * n)) as u8 & 0x7f;
    [part(0) | 0x80, part(1) | 0x80, part(2) | 0x80, part(3) | 0x80, part(4)]
}
