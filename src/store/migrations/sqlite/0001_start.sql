-- Times are microseconds since 1970-01-01 UTC, columns that hold one end in `_us`.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- What runs are pinned to: a DAG with its jobs, topics and tables, by content hash.
CREATE TABLE versions (
    hash TEXT PRIMARY KEY,
    dag TEXT NOT NULL,
    body TEXT NOT NULL,
    first_seen_us INTEGER NOT NULL
) STRICT;

CREATE TABLE dags (
    name TEXT PRIMARY KEY,
    version TEXT NOT NULL REFERENCES versions (hash),
    paused INTEGER NOT NULL DEFAULT 0,
    present INTEGER NOT NULL DEFAULT 1,
    -- The table and grain of its schedule.
    on_close TEXT,
    grain TEXT
) STRICT;

CREATE TABLE streams (
    id TEXT PRIMARY KEY,
    dag TEXT NOT NULL,
    name TEXT NOT NULL,
    job TEXT NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL REFERENCES versions (hash),
    -- Content hash of job and topic: when it differs from the attempt's, the stream restarts.
    content TEXT NOT NULL,
    present INTEGER NOT NULL DEFAULT 1,
    desired TEXT NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    restarts INTEGER NOT NULL DEFAULT 0,
    next_start_us INTEGER,
    -- Why it waits for a person, as shown to that person.
    waiting_for TEXT,
    progress TEXT,
    heartbeat_us INTEGER
) STRICT;

-- A table of the lake as its writer's job declares it, and how far it has closed.
CREATE TABLE tables (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    dag TEXT NOT NULL,
    present INTEGER NOT NULL DEFAULT 1,
    close_after_us INTEGER NOT NULL DEFAULT 0,
    late_quiet_us INTEGER NOT NULL DEFAULT 0,
    -- Set once the lake's existing closings have been mirrored.
    adopted INTEGER NOT NULL DEFAULT 0,
    topic TEXT,
    topic_id TEXT,
    topic_partitions INTEGER,
    frontier_us INTEGER
) STRICT;

-- How far each topic partition's log has been mirrored.
CREATE TABLE cursors (
    table_name TEXT NOT NULL,
    topic_id TEXT NOT NULL,
    topic_partition INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    end_offset INTEGER NOT NULL,
    watermark_us INTEGER,
    marked INTEGER NOT NULL,
    landed INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    seen_us INTEGER NOT NULL,
    PRIMARY KEY (table_name, topic_id, topic_partition)
) STRICT, WITHOUT ROWID;

-- Stretches of event time whose rows a table lacks in part; open-ended until rows follow.
CREATE TABLE cuts (
    table_name TEXT NOT NULL,
    topic_id TEXT NOT NULL,
    topic_partition INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    from_us INTEGER,
    to_us INTEGER,
    PRIMARY KEY (table_name, topic_id, topic_partition, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE files (
    table_name TEXT NOT NULL,
    topic_id TEXT NOT NULL,
    topic_partition INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    i INTEGER NOT NULL,
    key TEXT NOT NULL,
    published TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    event_time_min_us INTEGER,
    event_time_max_us INTEGER,
    seen_us INTEGER NOT NULL,
    -- The first closing that lists it.
    closed INTEGER,
    PRIMARY KEY (table_name, topic_id, topic_partition, seq, i)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_key ON files (table_name, key, published);
CREATE INDEX files_open ON files (table_name, key, rows, bytes, seen_us) WHERE closed IS NULL;

CREATE TABLE closings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    n INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    -- Made because of rows that came after the partition had closed, or had passed empty.
    late INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    frontier_us INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    -- For a table written by a batch: the run that wrote it, and that run's own number.
    run TEXT,
    made_from_n INTEGER,
    created_us INTEGER NOT NULL,
    UNIQUE (table_name, key, n)
) STRICT;
CREATE INDEX closings_by_range ON closings (table_name, start_us, end_us);

-- Ranges of a coarser schedule in which something closed since their last run.
CREATE TABLE due_ranges (
    dag TEXT NOT NULL,
    key TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    asked INTEGER NOT NULL DEFAULT 0,
    since_us INTEGER NOT NULL,
    PRIMARY KEY (dag, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    dag TEXT NOT NULL,
    version TEXT NOT NULL REFERENCES versions (hash),
    kind TEXT NOT NULL,
    -- 0 by hand, 1 live, 2 reopened, 3 backfill: lower goes first.
    class INTEGER NOT NULL,
    table_name TEXT,
    grain TEXT,
    key TEXT,
    n INTEGER,
    start_us INTEGER,
    end_us INTEGER,
    partial INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    started_us INTEGER,
    ended_us INTEGER,
    superseded_by TEXT,
    marked_by TEXT,
    -- The tables it writes have closed too.
    closed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX runs_once ON runs (dag, table_name, key, n) WHERE kind = 'close';
CREATE INDEX runs_by_state ON runs (state, dag, class, created_us);
CREATE INDEX runs_unclosed ON runs (dag) WHERE state = 'succeeded' AND closed = 0;
CREATE INDEX runs_newest ON runs (dag, created_us);
CREATE INDEX runs_by_key ON runs (dag, key, n);
CREATE INDEX runs_by_range ON runs (dag, start_us);

-- The closings that a run reads, fixed when it is made.
CREATE TABLE run_inputs (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (run, table_name, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    position INTEGER NOT NULL,
    state TEXT NOT NULL,
    -- Tries that count against `retries`, and those lost through no fault of the task.
    tries INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    next_try_us INTEGER,
    attempt TEXT,
    output TEXT,
    started_us INTEGER,
    ended_us INTEGER,
    marked_by TEXT,
    PRIMARY KEY (run, task)
) STRICT, WITHOUT ROWID;

-- One try of a task, or one life of a stream.
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    stream TEXT,
    run TEXT REFERENCES runs (id) ON DELETE CASCADE,
    task TEXT,
    kind TEXT NOT NULL,
    version TEXT NOT NULL REFERENCES versions (hash),
    try INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    content TEXT,
    state TEXT NOT NULL,
    -- Why it is to stop; the supervisor drains, terminates, then kills.
    stop TEXT,
    stop_us INTEGER,
    host TEXT,
    pid INTEGER,
    pid_start INTEGER,
    boot_id TEXT,
    created_us INTEGER NOT NULL,
    started_us INTEGER,
    ended_us INTEGER,
    exit_code INTEGER,
    signal INTEGER,
    error_kind TEXT,
    error TEXT,
    remedy TEXT,
    result TEXT
) STRICT;
CREATE INDEX attempts_open ON attempts (state, created_us) WHERE state IN ('queued', 'running');
CREATE INDEX attempts_by_run ON attempts (run, task, epoch);
CREATE INDEX attempts_by_stream ON attempts (stream, epoch);

-- What people asked for and what came of it: the audit log.
CREATE TABLE requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    args TEXT NOT NULL,
    who TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    applied_us INTEGER,
    outcome TEXT,
    error_kind TEXT,
    error TEXT,
    remedy TEXT
) STRICT;
CREATE INDEX requests_open ON requests (id) WHERE applied_us IS NULL;
