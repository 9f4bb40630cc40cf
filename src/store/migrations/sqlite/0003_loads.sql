-- Load jobs of the warehouse, each written down before it is submitted.
CREATE TABLE loads (
    job TEXT PRIMARY KEY,
    -- The id without its number: project, dag, run and task.
    base TEXT NOT NULL,
    number INTEGER NOT NULL,
    run TEXT NOT NULL,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    closing INTEGER NOT NULL,
    -- Digest of the rows.
    content TEXT NOT NULL,
    -- open, loaded, failed, burnt
    state TEXT NOT NULL,
    rows INTEGER,
    bytes INTEGER,
    begun_us INTEGER NOT NULL,
    ended_us INTEGER
) STRICT;
CREATE INDEX loads_by_partition ON loads (table_name, key, closing);
CREATE INDEX loads_by_base ON loads (base, number);
CREATE INDEX loads_by_time ON loads (table_name, begun_us);
