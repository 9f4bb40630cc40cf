-- What screens ask for, however many runs are kept: how the runs of a hive partition stand, the newest runs
-- of a DAG in one state, and who has read a hive partition.
CREATE INDEX runs_by_partition ON runs (table_name, key, n, state);
CREATE INDEX runs_listed_in ON runs (dag, state, created_us DESC, start_us DESC, id);
CREATE INDEX run_inputs_by_partition ON run_inputs (table_name, key, n);
