"""Measures `tidemill sql` and DuckDB in turns; see bench/batch."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb

COLUMNS = """id int64, type string, namespace int64, title string, comment string, event_time timestamp, user string,
bot bool, wiki string, server_name string, length_old int64, length_new int64, revision_new int64, meta_id string"""

# As skewed as the real stream: half of the changes are of two wikis, few users make many of them.
MADE = """
copy (
  with e as (
    select i, cast(hash(i) >> 1 as bigint) as a, cast(hash(i + 1000000007) >> 1 as bigint) as b, cast(hash(i + 2000000011) >> 1 as bigint) as c,
           to_timestamp(1772323200 + i * 21600 // 3000000) as event_time
    from range(3000000) as r(i)
  ), f as (
    select *, case when a % 100 < 35 then 'wikidata' when a % 100 < 55 then 'commons'
                   else ['en', 'de', 'fr', 'es', 'ja', 'ru', 'it', 'zh', 'pt', 'ar', 'fa', 'pl', 'nl', 'uk', 'he', 'id', 'sv', 'tr',
                         'ko', 'cs', 'vi', 'fi', 'hu', 'ca', 'no', 'el', 'ro', 'da', 'bg', 'sr'][1 + cast(floor(30 * power(b % 997 / 997, 3)) as int)] end as lang,
           cast(150000 * power(c % 9973 / 9973, 3) as bigint) as length_old
    from e
  )
  select 2000000000 + i as id, ['edit', 'edit', 'edit', 'categorize', 'new'][1 + b % 5] as type, cast(c % 10 as bigint) as namespace,
         'Title ' || c % 700000 as title, 'comment ' || b as comment, event_time,
         'User' || cast(200000 * power((a // 100) % 99991 / 99991, 3) as bigint) as user, b % 100 < 28 as bot, lang || 'wiki' as wiki,
         lang || '.wikipedia.org' as server_name, length_old, length_old + cast(b // 7 % 4000 as bigint) as length_new,
         1200000000 + 3 * i as revision_new, cast(uuid() as varchar) as meta_id,
         strftime(event_time at time zone 'UTC', '%Y-%m-%d') as dt, strftime(event_time at time zone 'UTC', '%H') as hour
  from f
) to '{}' (format parquet, compression zstd, partition_by (dt, hour), row_group_size 500000)
"""

AGGREGATES = """count(*) as n, count(distinct "user") as users, sum(length_new - length_old) as delta,
sum(case when bot then 1 else 0 end) as bots"""
HOUR = "event_time >= timestamptz '2026-03-01 02:00:00+00' and event_time < timestamptz '2026-03-01 03:00:00+00'"

QUERIES = {
    "one hour": (
        f"""select wiki, {AGGREGATES}, percentile_cont(0.95) within group (order by length_new) as p95
            from raw.rc where {HOUR.replace('timestamptz', 'timestamp')} group by wiki""",
        f"select wiki, {AGGREGATES}, quantile_cont(length_new, 0.95) as p95 from rc where dt = '2026-03-01' and hour = '02' group by wiki",
    ),
    "six hours": (
        f"""select wiki, date_trunc('hour', event_time) as hour, {AGGREGATES},
            percentile_cont(0.95) within group (order by length_new) as p95 from raw.rc group by wiki, date_trunc('hour', event_time)""",
        f"select wiki, hour, {AGGREGATES}, quantile_cont(length_new, 0.95) as p95 from rc group by wiki, hour",
    ),
}


def project(folder, table):
    """A project that knows the table, so that `tidemill sql` can be asked about it."""
    lake = os.path.join(folder, "lake", "raw")
    os.makedirs(lake)
    os.symlink(os.path.abspath(table), os.path.join(lake, "rc"))
    for name in ["topics", "jobs/land", "dags"]:
        os.makedirs(os.path.join(folder, name))
    files = {
        "tidemill.toml": f'[lake]\nurl = "file:{folder}/lake"\n',
        "topics/rc.toml": "columns = ["
        + ", ".join(
            '{{ name = "{}", type = "{}", required = {} }}'.format(*column.split(), str("event_time" in column).lower())
            for column in COLUMNS.split(",")
        )
        + ']\n[event_time]\ncolumn = "event_time"\nout_of_order = "5s"\n',
        "jobs/land/job.toml": 'kind = "stream"\n[from.kafka]\ntopic = "rc"\n[to.lake]\ntable = "raw.rc"\n'
        'partition_by = "hour"\nclose_after = "10m"\n',
        "dags/rc.toml": '[streams]\nland = "land"\n',
    }
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


def child(command):
    """Output, wall and CPU seconds of a process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ask_duckdb(table, query):
    """Runs in a process of its own: prints the seconds of the query alone, and the sum of `n`."""
    connection = duckdb.connect()
    connection.execute(f"create view rc as select * from read_parquet('{table}/dt=*/hour=*/*.parquet', hive_partitioning = true, hive_types_autocast = false)")
    cpu, wall = time.process_time(), time.monotonic()
    rows = connection.execute(query)
    names = [column[0] for column in rows.description]
    facts = [dict(zip(names, row)) for row in rows.fetchall()]
    print(json.dumps([time.monotonic() - wall, time.process_time() - cpu, *summary(facts)]))


def summary(rows):
    """What both engines must agree on."""
    return [len(rows)] + [sum(int(row[name]) for row in rows) for name in ["n", "users", "delta", "bots"]] + [
        round(sum(float(row["p95"]) for row in rows), 3)
    ]


def main(tidemill, runs, table=None):
    with tempfile.TemporaryDirectory() as folder:
        if table is None:
            table = os.path.join(folder, "made")
            duckdb.connect().execute("set TimeZone = 'UTC'").execute(MADE.format(table))
        project(folder, table)
        print(f"{'':10}  {'engine':9}  {'wall s':>7}  {'CPU s':>7}   medians of {runs}")
        for name, (ours, theirs) in QUERIES.items():
            walls, cpus, said = {}, {}, set()
            for _ in range(int(runs)):
                _, wall, cpu = child([tidemill, "-C", folder, "sql", "select 1"])
                walls.setdefault("its start", []).append(wall)
                cpus.setdefault("its start", []).append(cpu)
                out, wall, cpu = child([tidemill, "-C", folder, "sql", "-o", "json", ours])
                walls.setdefault("tidemill", []).append(wall)
                cpus.setdefault("tidemill", []).append(cpu)
                said.add(tuple(summary(json.loads(out)["rows"])))
                wall, cpu, *facts = json.loads(child([sys.executable, __file__, "duckdb", table, theirs])[0])
                walls.setdefault("duckdb", []).append(wall)
                cpus.setdefault("duckdb", []).append(cpu)
                said.add(tuple(facts))
            if len(said) != 1:
                sys.exit(f"{name}: the engines disagree: {said}")
            for engine in walls:
                print(f"{name:10}  {engine:9}  {statistics.median(walls[engine]):7.3f}  {statistics.median(cpus[engine]):7.3f}")
            start, ours, theirs = (statistics.median(walls[engine]) for engine in ["its start", "tidemill", "duckdb"])
            print(f"{'':10}  {ours / theirs:.2f} x DuckDB's wall time, {(ours - start) / theirs:.2f} x without the start")


if sys.argv[1] == "duckdb":
    ask_duckdb(*sys.argv[2:])
else:
    main(*sys.argv[1:])
