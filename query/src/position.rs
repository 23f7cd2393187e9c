//! Positions: tokens opened and made, what `Weir-Position` asks a query to wait for, and the position of
//! everything that was acknowledged so far.

use std::sync::Arc;

use tokio::time::{Instant, timeout};
use weir_meter::{Namespace, OffsetRange};
use weir_proto::{Position, PositionError, PositionKind};

use crate::error::QueryError;
use crate::metrics;
use crate::service::QueryService;

/// Characters of the shortest token there can be, of a position that names no partition.
const TOKEN_CHARS_MIN: usize = 78;

impl QueryService {
    /// Waits until all that was durable when this process began is visible again. An answer right after
    /// a restart would else be older than one from before it.
    pub async fn caught_up(&self) -> Result<(), QueryError> {
        let mut visible = self.parts.store.head().visible();
        let seen = |ends: &Arc<Vec<OffsetRange>>| {
            self.durable_at_start.iter().all(|(partition, offset)| {
                *offset == 0 || ends.iter().any(|end| end.partition == *partition && end.to >= *offset)
            })
        };
        match timeout(self.options.position_wait, visible.wait_for(seen)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.not_visible()),
        }
    }

    /// Reads a position that was made for the namespace.
    pub fn open_position(&self, token: &str, namespace: &Namespace) -> Result<Position, QueryError> {
        let position = self.position_key.open(token, namespace.as_str()).map_err(|error| match error {
            _ if token.len() < TOKEN_CHARS_MIN => QueryError::invalid(
                "invalid-position",
                format!(
                    "the position has {} characters, and none has fewer than {TOKEN_CHARS_MIN}; send it exactly as it was received",
                    token.len()
                ),
            ),
            // Of a text that is no token at all, the first byte says nothing.
            PositionError::Version { .. } => QueryError::invalid(
                "invalid-position",
                "the position does not begin as those of this version of Weir do: it was changed on the way, or made by another version; take a new one from a fresh answer",
            ),
            error => error.into(),
        })?;
        if position.incarnation != self.parts.catalog.installation().incarnation {
            return Err(QueryError::invalid(
                "invalid-position",
                "the position was made before the catalog was restored and means nothing now; take a new one from a fresh answer",
            ));
        }
        Ok(position)
    }

    /// The token of a position.
    pub fn seal_position(&self, position: &Position, namespace: &Namespace) -> Result<String, QueryError> {
        let random = self.parts.entropy.random_u128().to_le_bytes();
        let nonce = random
            .first_chunk()
            .ok_or_else(|| QueryError::internal("position token", "too little randomness"))?;
        Ok(self.position_key.seal(position, namespace.as_str(), *nonce))
    }

    /// Waits until what an answer needs is visible: everything up to the position, and for an answer about
    /// now also what this process has to catch up with.
    pub async fn wait_for(&self, position: Option<&Position>) -> Result<(), QueryError> {
        if position.is_none_or(|position| position.kind == PositionKind::AtLeast) {
            self.caught_up().await?;
        }
        let Some(position) = position else { return Ok(()) };
        let begun = Instant::now();
        let mut visible = self.parts.store.head().visible();
        let wait = timeout(self.options.position_wait, visible.wait_for(|ends| reached(ends, position)));
        let reached = matches!(wait.await, Ok(Ok(_)));
        metrics::position_waited(begun);
        if reached { Ok(()) } else { Err(self.not_visible()) }
    }

    pub(crate) fn not_visible(&self) -> QueryError {
        QueryError::PositionNotVisible { waited_s: self.options.position_wait.as_secs() }
    }

    /// A token for everything that is durable in the log now: a query given it sees all of it.
    pub async fn current_position(&self, namespace: &Namespace) -> Result<String, QueryError> {
        let ends = (self.parts.log_ends)();
        let epochs = self.parts.catalog.epochs().await?;
        let revision = self.parts.catalog.listing().await?.revision;
        let mut offsets = ends;
        offsets.sort_unstable();
        let position = Position {
            kind: PositionKind::AtLeast,
            incarnation: self.parts.catalog.installation().incarnation,
            epoch: epochs.last().map_or(0, |epoch| epoch.epoch),
            offsets,
            revision,
        };
        self.seal_position(&position, namespace)
    }
}

/// True if the visible ends lie at or above every offset of the position. An older epoch was
/// drained before its successor opened, so anything visible in a newer one is above it.
fn reached(visible: &[OffsetRange], position: &Position) -> bool {
    position.offsets.iter().all(|(partition, offset)| {
        *offset == 0
            || visible.iter().any(|end| {
                end.epoch > position.epoch
                    || (end.epoch == position.epoch && end.partition == *partition && end.to >= *offset)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_token_is_as_short_as_is_said() {
        let none = Position {
            kind: PositionKind::AtLeast,
            incarnation: 0,
            epoch: 0,
            offsets: Vec::new(),
            revision: 0,
        };
        let token = weir_proto::PositionKey::new([1; 32]).seal(&none, "", [2; 12]);
        assert_eq!(token.len(), TOKEN_CHARS_MIN);
    }

    #[test]
    fn every_named_partition_must_be_visible() {
        let position = |offsets: &[(u32, u64)]| Position {
            kind: PositionKind::AtLeast,
            incarnation: 1,
            epoch: 2,
            offsets: offsets.to_vec(),
            revision: 0,
        };
        let end = |epoch, partition, to| OffsetRange { epoch, partition, from: 0, to };
        let visible = [end(2, 0, 10), end(2, 1, 5)];
        assert!(reached(&visible, &position(&[(0, 10), (1, 4)])));
        assert!(!reached(&visible, &position(&[(0, 11)])));
        assert!(!reached(&visible, &position(&[(0, 1), (2, 1)])));
        assert!(reached(&visible, &position(&[(2, 0)])));
        assert!(!reached(&[end(1, 0, 99)], &position(&[(0, 1)])));
        assert!(reached(&[end(3, 0, 0)], &position(&[(0, 99)])));
    }
}
