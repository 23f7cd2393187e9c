//! Counts what the process holds, so that a few bytes of input that ask for a gigabyte are a finding like
//! any other. Both programs that run targets install the counting allocator; the bound is far above
//! what all targets hold together when tests run them side by side.

#![allow(unsafe_code, reason = "an allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one allocation may ask for: the targets' inputs are a few kilobytes.
pub const ALLOCATION_BYTES_MAX: usize = 64 << 20;

/// What all may hold at one time.
pub const HELD_BYTES_MAX: usize = 1 << 30;

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counted;

static HELD: AtomicUsize = AtomicUsize::new(0);
static HELD_MOST: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    if held > HELD_MOST.load(Ordering::Relaxed) {
        HELD_MOST.fetch_max(held, Ordering::Relaxed);
    }
    if bytes > LARGEST.load(Ordering::Relaxed) {
        LARGEST.fetch_max(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with its arguments unchanged.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        add(bytes);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

/// Panics if since the last call one allocation, or all together, went over the bounds.
pub fn check() {
    let largest = LARGEST.swap(0, Ordering::Relaxed);
    assert!(
        largest <= ALLOCATION_BYTES_MAX,
        "one allocation asked for {largest} bytes, {ALLOCATION_BYTES_MAX} are allowed"
    );
    let held = HELD_MOST.swap(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
    assert!(held <= HELD_BYTES_MAX, "{held} bytes were held at once, {HELD_BYTES_MAX} are allowed");
}
