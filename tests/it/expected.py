"""Computes with DuckDB what a day of recentchange events must have become, and compares.

usage: expected.py INPUT LAKE WAREHOUSE; prints each difference and exits with 1 if there is one.
WAREHOUSE is a folder, or `http://…/projects/P`: BigQuery.
"""

import json
import sys
import urllib.error
import urllib.request

import duckdb

events, lake, warehouse = (path.replace("'", "''") for path in sys.argv[1:])
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
db.execute(f"""
    create table event as
    select meta.id as meta_id, meta.dt::timestamp as happened, wiki, type, "user", bot,
           length.old as length_old, length.new as length_new
    from read_json('{events}', format = 'newline_delimited', columns = {{
        meta: 'struct(id varchar, dt varchar, domain varchar)', wiki: 'varchar', type: 'varchar',
        "user": 'varchar', bot: 'boolean', length: 'struct("old" bigint, "new" bigint)' }})
    where meta.domain is distinct from 'canary'
""")


def parquet(folder):
    return f"read_parquet('{folder}/**/*.parquet', hive_partitioning = false)"


def aggregates(start):
    grown = "length_new - coalesce(length_old, 0)"
    return f"""
        select {start} as start, wiki, type, count(*) as changes,
               sum(case when bot then 1 else 0 end)::bigint as bot_changes,
               count(distinct "user") as users,
               sum(case when {grown} > 0 then {grown} else 0 end)::bigint as bytes_added,
               sum(case when {grown} < 0 then -({grown}) else 0 end)::bigint as bytes_removed,
               round(quantile_cont(abs({grown}), 0.95), 6) as size_change_p95
        from event group by all"""


def rows_of(table, start):
    """What to select a loaded table's rows from."""
    if not warehouse.startswith("http"):
        return parquet(f"{warehouse}/agg/{table}")
    text = f"select cast({start} as string), wiki, type, {', '.join(NUMBERS)} from agg.{table}"
    body = json.dumps({"query": text, "useLegacySql": False, "maxResults": 100_000}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(f"{warehouse}/queries", body, headers))
        answer = json.load(answer)
    except urllib.error.HTTPError as refused:
        sys.exit(f"- no table agg.{table}: {refused.read().decode()}")
    if not answer.get("jobComplete") or answer.get("pageToken"):
        sys.exit(f"- not all rows of agg.{table}")
    numbers = ", ".join(f"{name} double" for name in NUMBERS)
    kind = "date" if start == "day_start" else "timestamp"
    db.execute(f"create table bigquery_{table} ({start} {kind}, wiki varchar, type varchar, {numbers})")
    rows = [[cell["v"] for cell in row["f"]] for row in answer.get("rows", [])]
    if rows:
        marks = ", ".join("?" * (3 + len(NUMBERS)))
        db.executemany(f"insert into bigquery_{table} values ({marks})", rows)
    return f"bigquery_{table}"


NUMBERS = ["changes", "bot_changes", "users", "bytes_added", "bytes_removed", "size_change_p95"]


def loaded(table, start):
    return f"""
        select {start}, wiki, type, changes::bigint, bot_changes::bigint, users::bigint,
               bytes_added::bigint, bytes_removed::bigint, round(size_change_p95, 6)
        from {rows_of(table, start)}"""


COMPARED = {
    "raw.recentchange": (
        "select * from event",
        f"""select meta_id, meta_dt::timestamp, wiki, type, "user", bot, length_old, length_new
            from {parquet(f"{lake}/raw/recentchange")}""",
    ),
    "agg.recentchange_by_hour": (
        aggregates("date_trunc('hour', happened)"),
        loaded("recentchange_by_hour", "hour_start"),
    ),
    "agg.recentchange_by_day": (
        aggregates("date_trunc('day', happened)::date"),
        loaded("recentchange_by_day", "day_start"),
    ),
}

wrong = 0
for table, (expected, found) in COMPARED.items():
    rows = db.sql(f"select count(*) from ({found})").fetchone()[0]
    print(f"{table}: {rows} rows")
    for sign, one, other in [("-", expected, found), ("+", found, expected)]:
        differences = db.sql(f"({one}) except all ({other})").fetchall()
        wrong += len(differences)
        for row in differences[:10]:
            print(sign, row)
sys.exit(1 if wrong else 0)
