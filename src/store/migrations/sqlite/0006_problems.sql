-- What is wrong for longer than a moment. A row stands until what it tells of is over.
CREATE TABLE problems (
    -- A `ProblemScope`: what kind of thing the subject names.
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Several problems of one subject, such as a file, are counted from 0.
    position INTEGER NOT NULL,
    place_line INTEGER,
    place_column INTEGER,
    text TEXT NOT NULL,
    remedy TEXT,
    since_us INTEGER NOT NULL,
    PRIMARY KEY (scope, subject, position)
) STRICT, WITHOUT ROWID;

-- Lists of runs, newest first, of all DAGs and of one: in the order in which they are shown.
CREATE INDEX runs_listed ON runs (created_us DESC, start_us DESC, id);
CREATE INDEX runs_listed_of ON runs (dag, created_us DESC, start_us DESC, id);
DROP INDEX runs_newest;
