"""Writes tables of the emulator to FOLDER/<data set>/<table>/: `export.py ADDRESS FOLDER TABLE…`."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

address, folder, *tables = sys.argv[1:]
client = bigquery.Client(
    "tidemill", AnonymousCredentials(), client_options=ClientOptions(api_endpoint=address)
)
for name in tables:
    rows = client.query(f"SELECT * FROM {name}").result().to_arrow(create_bqstorage_client=False)
    path = Path(folder, *name.split("."), "all.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A reader who looks on sees the whole file or none.
    pq.write_table(rows, Path(folder, "next"))
    Path(folder, "next").rename(path)
