//! The domain of Weir, pure and without I/O: events, meters, windows, aggregation states,
//! exact decimals and JSON paths. Everything that decides a number lives here, so that the
//! aggregator, a refold and a query over rows at rest cannot disagree.

pub mod coordinates;
pub mod decimal;
pub mod definition;
pub mod environment;
pub mod event;
pub mod fold;
pub mod hash;
pub mod ids;
pub mod json;
pub mod meter;
pub mod path;
pub mod report;
pub mod segment;
pub mod time;
pub mod value;
pub mod window;
pub mod zone;

pub use coordinates::{Coordinates, OffsetRange};
pub use decimal::Decimal;
pub use ids::{
    ContentHash, IdentityHash, InstallationId, MeterId, Namespace, RequestId, SegmentId, WriterId,
};
pub use meter::{Aggregation, Generation, Meter};
