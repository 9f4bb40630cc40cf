-- The staged file of a record that is published on close: its name is not visible until then, or ever.
ALTER TABLE files ADD COLUMN on_close INTEGER NOT NULL DEFAULT 0;

-- An attempt that makes a closing: of which hive partition, and what the closing says of itself.
ALTER TABLE attempts ADD COLUMN table_name TEXT;
ALTER TABLE attempts ADD COLUMN key TEXT;
ALTER TABLE attempts ADD COLUMN n INTEGER;
ALTER TABLE attempts ADD COLUMN partial INTEGER;
ALTER TABLE attempts ADD COLUMN complete INTEGER;
ALTER TABLE attempts ADD COLUMN frontier_us INTEGER;
CREATE INDEX attempts_by_closing ON attempts (table_name, key, n, epoch) WHERE table_name IS NOT NULL;
