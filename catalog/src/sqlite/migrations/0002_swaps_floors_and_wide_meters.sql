-- What compaction, refold and retention keep. What each table answers is said in docs/formats/catalog.md.

-- Rows that retention took away from a rows segment.
ALTER TABLE segments ADD COLUMN dropped_rows INTEGER NOT NULL DEFAULT 0 CHECK (dropped_rows >= 0);

-- A swap may begin anywhere in a partition, where most of what ever lay above it is replaced by now: it
-- looks through what is listed. Forgetting looks through the rest.
CREATE INDEX segments_listed ON segments (kind) WHERE delisted_at_us IS NULL;
CREATE INDEX segments_delisted ON segments (delisted_at_us) WHERE delisted_at_us IS NOT NULL;

CREATE TABLE floors (
    namespace TEXT PRIMARY KEY,
    -- A whole hour.
    floor_us INTEGER NOT NULL CHECK (floor_us % 3600000000 = 0),
    revision INTEGER NOT NULL REFERENCES revisions (revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE wide_meters (
    meter BLOB NOT NULL CHECK (length(meter) = 16),
    generation INTEGER NOT NULL CHECK (generation > 0),
    groups INTEGER NOT NULL CHECK (groups >= 0),
    noticed_at_us INTEGER NOT NULL,
    PRIMARY KEY (meter, generation),
    FOREIGN KEY (meter, generation) REFERENCES meters (id, generation)
) STRICT, WITHOUT ROWID;

-- Which meter a slug named at an older revision.
CREATE INDEX meters_by_slug ON meters (namespace, slug, created_revision);
