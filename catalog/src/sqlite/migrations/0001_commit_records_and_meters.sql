-- Identifiers, hashes and keys are big-endian bytes. Times are microseconds since 1970, UTC. Offsets
-- are below 2^63. What each table answers is said in docs/formats/catalog.md.

CREATE TABLE installation (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id BLOB NOT NULL CHECK (length(id) = 16),
    incarnation BLOB NOT NULL CHECK (length(incarnation) = 16),
    created_at_us INTEGER NOT NULL,
    hash_key BLOB NOT NULL CHECK (length(hash_key) = 16),
    position_key BLOB NOT NULL CHECK (length(position_key) = 32),
    -- The newest revision. Taking the next one is an update of this row, which orders all changes.
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;

CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY CHECK (epoch >= 0),
    place TEXT NOT NULL,
    partitions INTEGER NOT NULL CHECK (partitions > 0),
    identity_window_s INTEGER NOT NULL CHECK (identity_window_s > 0),
    opened_at_us INTEGER NOT NULL,
    sealed_at_us INTEGER
) STRICT;

CREATE TABLE writers (
    writer BLOB PRIMARY KEY CHECK (length(writer) = 16),
    incarnation BLOB NOT NULL CHECK (length(incarnation) = 16),
    opened_at_us INTEGER NOT NULL,
    closed_at_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE frontiers (
    epoch INTEGER NOT NULL REFERENCES epochs (epoch),
    partition INTEGER NOT NULL CHECK (partition >= 0),
    next_offset INTEGER NOT NULL CHECK (next_offset >= 0),
    max_record_time_us INTEGER NOT NULL,
    last_record_hash BLOB NOT NULL CHECK (length(last_record_hash) = 16),
    PRIMARY KEY (epoch, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    epoch INTEGER NOT NULL REFERENCES epochs (epoch),
    partition INTEGER NOT NULL CHECK (partition >= 0),
    from_offset INTEGER NOT NULL CHECK (from_offset >= 0),
    writer BLOB NOT NULL REFERENCES writers (writer),
    PRIMARY KEY (epoch, partition, from_offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE segments (
    segment BLOB PRIMARY KEY CHECK (length(segment) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('rows', 'windows', 'members')),
    level INTEGER NOT NULL CHECK (level >= 0),
    writer BLOB NOT NULL REFERENCES writers (writer),
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    byte_count INTEGER NOT NULL CHECK (byte_count >= 0),
    -- Earliest and latest time inside, both or neither.
    time_min_us INTEGER,
    time_max_us INTEGER,
    location TEXT NOT NULL,
    checksum INTEGER NOT NULL CHECK (checksum BETWEEN 0 AND 4294967295),
    listed_at_us INTEGER NOT NULL,
    delisted_at_us INTEGER,
    CHECK ((time_min_us IS NULL) = (time_max_us IS NULL)),
    CHECK (time_min_us IS NULL OR time_min_us <= time_max_us)
) STRICT, WITHOUT ROWID;

CREATE TABLE coverage (
    segment BLOB NOT NULL REFERENCES segments (segment),
    epoch INTEGER NOT NULL REFERENCES epochs (epoch),
    partition INTEGER NOT NULL CHECK (partition >= 0),
    from_offset INTEGER NOT NULL CHECK (from_offset >= 0),
    to_offset INTEGER NOT NULL CHECK (to_offset > from_offset),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    fold_version INTEGER NOT NULL CHECK (fold_version >= 0),
    window_size_s INTEGER NOT NULL CHECK (window_size_s >= 0),
    -- {"mode": "all_but" or "only", "list": [{"meter": ULID, "generation": number}, …]}
    generations TEXT NOT NULL,
    PRIMARY KEY (segment, epoch, partition, from_offset)
) STRICT, WITHOUT ROWID;

-- A flush lies at the end of its partition, so what could overlap it is found at once.
CREATE INDEX coverage_by_offset ON coverage (epoch, partition, to_offset);

CREATE TABLE frontier_times (
    epoch INTEGER NOT NULL REFERENCES epochs (epoch),
    partition INTEGER NOT NULL CHECK (partition >= 0),
    second INTEGER NOT NULL,
    next_offset INTEGER NOT NULL CHECK (next_offset > 0),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    PRIMARY KEY (epoch, partition, second)
) STRICT, WITHOUT ROWID;

CREATE TABLE revisions (
    revision INTEGER PRIMARY KEY CHECK (revision > 0),
    namespace TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    what TEXT NOT NULL
) STRICT;

CREATE TABLE meters (
    id BLOB NOT NULL CHECK (length(id) = 16),
    generation INTEGER NOT NULL CHECK (generation > 0),
    namespace TEXT NOT NULL,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    metadata TEXT,
    event_type TEXT NOT NULL,
    aggregation TEXT NOT NULL,
    value_property TEXT,
    group_by TEXT NOT NULL,
    event_from_us INTEGER,
    created_revision INTEGER NOT NULL REFERENCES revisions (revision),
    deleted_revision INTEGER REFERENCES revisions (revision),
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    deleted_at_us INTEGER,
    PRIMARY KEY (id, generation),
    CHECK (deleted_revision > created_revision),
    CHECK (deleted_at_us IS NULL OR deleted_revision IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- At most one generation of a meter lives, and a slug names one living meter of a namespace.
CREATE UNIQUE INDEX meters_living_by_slug ON meters (namespace, slug) WHERE deleted_revision IS NULL;
CREATE UNIQUE INDEX meters_living_by_id ON meters (id) WHERE deleted_revision IS NULL;
CREATE INDEX meters_by_namespace ON meters (namespace, id);
