-- Who may ask. What each table answers is said in docs/formats/catalog.md.

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY CHECK (length(id) = 16),
    -- Null for keys of operators.
    namespace TEXT CHECK (length(namespace) > 0),
    -- Names with a blank between them; empty for keys of operators.
    scopes TEXT NOT NULL,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    requests_per_s INTEGER CHECK (requests_per_s > 0),
    events_per_s INTEGER CHECK (events_per_s > 0),
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER,
    revoked_at_us INTEGER,
    rolled_to TEXT CHECK (length(rolled_to) = 16),
    CHECK ((namespace IS NULL) = (scopes = ''))
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_namespace ON api_keys (namespace, created_at_us);

-- Moves with every change of a key, so that whoever keeps them in memory knows when to read them again.
CREATE TABLE api_key_changes (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    number INTEGER NOT NULL CHECK (number >= 0)
) STRICT;

INSERT INTO api_key_changes (only_row, number) VALUES (1, 0);
