-- Nothing has landed of a topic partition yet, and there is more to read.
ALTER TABLE cursors ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
