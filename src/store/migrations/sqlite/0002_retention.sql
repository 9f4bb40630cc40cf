-- What retention looks for, however much is kept.
CREATE INDEX files_seen ON files (seen_us) WHERE closed IS NOT NULL;
CREATE INDEX requests_applied ON requests (applied_us) WHERE applied_us IS NOT NULL;
CREATE INDEX attempts_ended ON attempts (ended_us) WHERE ended_us IS NOT NULL;
CREATE INDEX attempts_by_version ON attempts (version);
CREATE INDEX runs_by_version ON runs (version);
