//! The bounds of queries, each with its default.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// Heavy queries that run at the same time, and as many light ones beside them; others wait for their
    /// turn within their deadline.
    pub concurrent_queries_max: usize,
    /// Queries of each lane that wait for their turn; more are answered 503.
    pub waiting_queries_max: usize,
    /// A query that would read about as many bytes of segments is light.
    pub light_bytes_max: u64,
    /// How long a query may take, waiting included.
    pub deadline: Duration,
    /// How long a query waits for the position it was given.
    pub position_wait: Duration,
    /// Rows at rest that one query may fold because no window covers them.
    pub rows_folded_max: u64,
    /// Windows, or members of them, that folding rows may make in one query.
    pub windows_folded_max: usize,
    /// About as many bytes as the windows and members may take that folding rows makes in one query.
    pub folded_bytes_max: usize,
    /// How long segments are kept after others have taken their place. Questions at old positions use
    /// them that long.
    pub segments_kept_for: Duration,
    /// Rows of an answer.
    pub result_rows_max: usize,
    /// Bytes of an answer, as it is sent.
    pub result_bytes_max: usize,
    /// Memory of one query: what the engine, folding and its answer hold.
    pub memory_bytes_max: usize,
    /// Memory of all queries together.
    pub memory_total_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// How long a request's body may take to arrive.
    pub body_wait: Duration,
    /// How long a client may read nothing of a large answer before it is thrown away.
    pub unread_wait: Duration,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            concurrent_queries_max: 4,
            waiting_queries_max: 256,
            light_bytes_max: 16 << 20,
            deadline: Duration::from_secs(30),
            position_wait: Duration::from_secs(10),
            rows_folded_max: 20_000_000,
            windows_folded_max: 2_000_000,
            folded_bytes_max: 256 << 20,
            segments_kept_for: Duration::from_secs(24 * 3_600),
            result_rows_max: 100_000,
            result_bytes_max: 64 << 20,
            memory_bytes_max: 512 << 20,
            memory_total_max: 1 << 30,
            body_bytes_max: 1 << 20,
            body_wait: Duration::from_secs(10),
            unread_wait: Duration::from_secs(30),
        }
    }
}
