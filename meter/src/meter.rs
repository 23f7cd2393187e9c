//! What a meter is: which events it selects, which value it reads from them and how values
//! become one number. Rules of OpenMeter's contract 14.5 are checked here, once, for every door.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{MeterId, Namespace};

/// How the values of a window become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Aggregation {
    Sum,
    Count,
    UniqueCount,
    Avg,
    Min,
    Max,
    Latest,
}

impl Aggregation {
    /// The name on the wire, such as `UNIQUE_COUNT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "SUM",
            Self::Count => "COUNT",
            Self::UniqueCount => "UNIQUE_COUNT",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Latest => "LATEST",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "SUM" => Self::Sum,
            "COUNT" => Self::Count,
            "UNIQUE_COUNT" => Self::UniqueCount,
            "AVG" => Self::Avg,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            "LATEST" => Self::Latest,
            _ => return None,
        })
    }
}

/// The key under which windows are stored: a changed group-by is a new generation of the same
/// meter, and a slug that is used again belongs to another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    pub meter: MeterId,
    pub generation: u32,
}

/// One generation of a meter, as the catalog holds it. Times are microseconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    pub id: MeterId,
    pub generation: u32,
    pub namespace: Namespace,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub event_type: String,
    pub aggregation: Aggregation,
    /// JSONPath of the value; absent exactly for COUNT.
    pub value_property: Option<String>,
    /// Group-by key to JSONPath, in the order of the keys. Group values at rest have this order.
    pub group_by: BTreeMap<String, String>,
    /// Events before this time do not count.
    pub event_from_us: Option<i64>,
    /// The revision that brought this generation.
    pub created_revision: u64,
    /// The revision that ended it, by deletion or by a newer generation.
    pub deleted_revision: Option<u64>,
    pub created_at_us: i64,
    pub updated_at_us: i64,
    pub deleted_at_us: Option<i64>,
}

impl Meter {
    pub fn key(&self) -> Generation {
        Generation { meter: self.id, generation: self.generation }
    }

    /// True if the generation counts at `revision`.
    pub fn lives_at(&self, revision: u64) -> bool {
        self.created_revision <= revision && self.deleted_revision.is_none_or(|d| revision < d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for aggregation in [
            Aggregation::Sum,
            Aggregation::Count,
            Aggregation::UniqueCount,
            Aggregation::Avg,
            Aggregation::Min,
            Aggregation::Max,
            Aggregation::Latest,
        ] {
            assert_eq!(Aggregation::from_name(aggregation.name()), Some(aggregation));
            assert_eq!(serde_json::to_string(&aggregation).unwrap(), format!("{:?}", aggregation.name()));
        }
        assert_eq!(Aggregation::from_name("sum"), None);
    }
}
