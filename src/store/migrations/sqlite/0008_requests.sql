-- Who asks, beside the name: by which way, and what they may do. All before came from a command line.
ALTER TABLE requests ADD COLUMN via TEXT NOT NULL DEFAULT 'cli';
ALTER TABLE requests ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
-- Chosen by who asks: the same request again is this one.
ALTER TABLE requests ADD COLUMN idempotency_key TEXT;
CREATE UNIQUE INDEX requests_by_key ON requests (who, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- What came of it, as JSON with a format; `outcome`, `error_kind`, `error` and `remedy` are older rows'.
ALTER TABLE requests ADD COLUMN answer TEXT;
