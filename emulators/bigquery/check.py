"""Asks Google's own client whether the emulator keeps the rules: `check.py ADDRESS GCS_ROOT`."""

import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

address, root = sys.argv[1], Path(sys.argv[2])
client = bigquery.Client(
    "tidemill", AnonymousCredentials(), client_options=ClientOptions(api_endpoint=address)
)
FIVE, SIX = datetime(2026, 11, 20, 5), datetime(2026, 11, 20, 6)
SCHEMA = [bigquery.SchemaField("hour_start", "DATETIME"), bigquery.SchemaField("n", "INT64")]
jobs = 0


def file(hour, values, names=("hour_start", "n"), more=None):
    columns = [pa.array([hour] * len(values), pa.timestamp("us")), pa.array(values, pa.int64())]
    if more is not None:
        columns.append(pa.array(more, pa.string()))
    path = root / "lake" / "part.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    if names[0] != "hour_start":
        columns = columns[::-1]
    pq.write_table(pa.table(columns, names=list(names)), path)


def load(decorator, schema=SCHEMA, job_id=None, options=()):
    global jobs
    jobs += 1
    config = bigquery.LoadJobConfig(
        schema=schema,
        source_format="PARQUET",
        write_disposition="WRITE_TRUNCATE",
        create_disposition="CREATE_NEVER",
        schema_update_options=list(options),
    )
    job = client.load_table_from_uri(
        "gs://lake/part.parquet",
        f"tidemill.agg.by_hour${decorator}",
        job_id=job_id or f"load-{jobs}",
        job_config=config,
        retry=None,
    )
    return job.result(retry=None)


def rows():
    found = client.query("SELECT hour_start, n FROM agg.by_hour ORDER BY 1, 2").result()
    return [(row[0].hour, row[1]) for row in found]


def refused(told, *args, **options):
    before = rows()
    try:
        load(*args, **options)
    except Exception as error:
        assert told in str(error), f"{told!r} is not in {error}"
    else:
        raise AssertionError(f"not refused: {told}")
    assert rows() == before, "a refused load changed the table"


client.create_dataset("agg")
table = bigquery.Table("tidemill.agg.by_hour", SCHEMA)
table.time_partitioning = bigquery.TimePartitioning("HOUR", "hour_start")
table.labels = {"owner": "tidemill"}
client.create_table(table)

file(FIVE, [1, 2])
assert load("2026112005").output_rows == 2
file(SIX, [9])
load("2026112006")
file(FIVE, [3])
assert load("2026112005").output_rows == 1
assert rows() == [(5, 3), (6, 9)], rows()

refused("different partitions", "2026112006")
refused("is no hour", "20261120")
file(FIVE, [4], names=("n", "hour_start"))
refused("the file has columns", "2026112005")
refused("Provided Schema", "2026112005", schema=SCHEMA[::-1])
file(FIVE, [4])
required = [SCHEMA[0], bigquery.SchemaField("n", "INT64", mode="REQUIRED")]
refused("has changed mode", "2026112005", schema=required)

file(FIVE, [])
load("2026112005")
assert rows() == [(5, 3), (6, 9)], "a load without rows changed the table"
client.query("DELETE FROM agg.by_hour WHERE hour_start = DATETIME '2026-11-20 05:00:00'").result()
assert rows() == [(6, 9)]

file(FIVE, [5])
load("2026112005", job_id="once")
for used in ["once", "taken-by-a-query"]:
    client.query("SELECT 1", job_id="taken-by-a-query", retry=None) if used != "once" else None
    file(FIVE, [6])
    try:
        load("2026112005", job_id=used)
    except Conflict:
        pass
    else:
        raise AssertionError("a used job id was taken again")
    assert rows() == [(5, 5), (6, 9)], rows()
assert client.get_job("taken-by-a-query").job_type == "query"
try:
    client.get_job("never")
except NotFound:
    pass

grown = [*SCHEMA, bigquery.SchemaField("wiki", "STRING")]
file(FIVE, [7], ("hour_start", "n", "wiki"), ["dewiki"])
refused("cannot add field", "2026112005", schema=grown)
load("2026112005", schema=grown, options=["ALLOW_FIELD_ADDITION"])
assert [field.name for field in client.get_table("agg.by_hour").schema] == ["hour_start", "n", "wiki"]
assert rows() == [(5, 7), (6, 9)]
print("the emulator keeps the rules")
