//! The compressed bytes of a body on their way into the decompressor: in small steps, only while somebody
//! waits for what comes of them, and only while as much comes of them as they are themselves. Whatever a
//! decompressor does between two outputs, it comes by here.

use std::cell::Cell;
use std::io::{BufRead, Error, Read, Result};
use std::sync::Weak;

use super::COMPRESSED_EXCESS_BYTES_MAX;

/// Compressed bytes handed out between two looks at the bounds.
const STEP_BYTES: usize = 16 * 1024;

/// Why decompressing ends although the body goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("it has too many members")]
    Members,
    #[error("next to nothing comes of it")]
    Excess,
    #[error("nobody waits for it any more")]
    Abandoned,
}

/// What went in and what came out.
#[derive(Debug)]
pub(super) struct Progress<'w> {
    waiting: &'w Weak<()>,
    went_in: Cell<usize>,
    came_out: Cell<usize>,
}

impl<'w> Progress<'w> {
    pub(super) fn new(waiting: &'w Weak<()>) -> Self {
        Self { waiting, went_in: Cell::new(0), came_out: Cell::new(0) }
    }

    /// A decompressor whose output counts.
    pub(super) fn of<R: Read>(&'w self, decoder: R) -> impl Read {
        Output { decoder, progress: self }
    }

    fn check(&self) -> Result<()> {
        if self.waiting.strong_count() == 0 {
            return Err(Error::other(Stop::Abandoned));
        }
        let allowed = self.came_out.get().saturating_add(COMPRESSED_EXCESS_BYTES_MAX);
        if self.went_in.get() > allowed {
            return Err(Error::other(Stop::Excess));
        }
        Ok(())
    }
}

struct Output<'w, R> {
    decoder: R,
    progress: &'w Progress<'w>,
}

impl<R: Read> Read for Output<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let taken = self.decoder.read(into)?;
        let came_out = &self.progress.came_out;
        came_out.set(came_out.get().saturating_add(taken));
        Ok(taken)
    }
}

/// What is left of a compressed body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'w> {
    rest: &'w [u8],
    progress: &'w Progress<'w>,
}

impl<'w> Wire<'w> {
    pub(super) fn new(rest: &'w [u8], progress: &'w Progress<'w>) -> Self {
        Self { rest, progress }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

impl BufRead for Wire<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        self.progress.check()?;
        Ok(self.rest.get(..STEP_BYTES).unwrap_or(self.rest))
    }

    fn consume(&mut self, amount: usize) {
        self.rest = self.rest.get(amount..).unwrap_or_default();
        let went_in = &self.progress.went_in;
        went_in.set(went_in.get().saturating_add(amount));
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let taken = self.fill_buf()?.read(into)?;
        self.consume(taken);
        Ok(taken)
    }
}
