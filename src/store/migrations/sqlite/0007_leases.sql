-- Who decides. The epoch rises with each that takes over, and every deciding transaction checks it.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    taken_us INTEGER NOT NULL
) STRICT;

-- As before, under a condition that every dialect knows.
DROP INDEX runs_unclosed;
CREATE INDEX runs_not_closed ON runs (dag) WHERE state = 'succeeded' AND NOT closed;
