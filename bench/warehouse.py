"""See bench/warehouse."""

import http.client
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

root, release, hours = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rate = int(sys.argv[4])
# Cloud Storage, standard storage in a region, class A and B a 1,000, as listed in November 2026; a
# multi-region's class A is $0.01.
PRICE_A, PRICE_B = 0.005, 0.0004
calls = Counter()


def kind(method, path, headers):
    """What the call is billed as."""
    if method == "DELETE":
        return "free"
    if method in ("PUT", "POST"):
        return "A copy" if "x-goog-copy-source" in headers else "A put"
    return "A list" if "list-type=" in path else "B get"


class Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def call(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        calls[kind(self.command, self.path, self.headers)] += 1
        store = http.client.HTTPConnection(self.server.store)
        store.request(self.command, self.path, body, dict(self.headers))
        answer = store.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        if answer.getheader("content-length") is None:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        store.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = call

    def log_message(self, *_):
        pass


def serve(*command):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def share(sorted_values, part):
    return sorted_values[min(int(len(sorted_values) * part), len(sorted_values) - 1)]


with tempfile.TemporaryDirectory() as folder:
    buckets, project = Path(folder, "buckets"), Path(folder, "project")
    storage, address = serve(release / "gcs-emulator", buckets, "--listen", "127.0.0.1:0", "--bucket", "lake", "--until-stdin-closes")
    bigquery, endpoint = serve(root / "emulators/bigquery/serve", "--gcs-root", buckets)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    proxy.store = address.removeprefix("http://")
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    project.mkdir()
    for part in ("topics", "jobs", "dags"):
        subprocess.run(["cp", "-r", root / part, project], check=True)
    project.joinpath("tidemill.toml").write_text(
        f"""project = "bench"
[lake]
url = "gs://lake/bench"
endpoint = "http://127.0.0.1:{proxy.server_port}"
[warehouse]
kind = "bigquery"
project = "bench"
location = "US"
endpoint = "{endpoint}"
[feeds.recentchange_collect.simulate]
model = "recentchange"
seed = 7
rate = {rate}
from = "2026-10-01T00:00:00Z"
hours = {hours}
"""
    )
    up = subprocess.Popen([release / "tidemill", "-C", project, "up"], stdout=subprocess.DEVNULL, stderr=open(Path(folder, "up.log"), "w"))
    state, began = project / ".tidemill/state.db", time.monotonic()
    loaded = 0
    while loaded < hours and time.monotonic() - began < 900 and up.poll() is None:
        time.sleep(1)
        try:
            with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as db:
                [loaded] = db.execute("SELECT count(DISTINCT key) FROM loads WHERE state = 'loaded' AND table_name = 'agg.recentchange_by_hour'").fetchone()
        except sqlite3.OperationalError:
            pass  # It is not made yet.
    up.send_signal(signal.SIGINT)
    up.wait()
    db = sqlite3.connect(state)
    waited = db.execute(
        "SELECT (l.ended_us - c.created_us) / 1e6 FROM loads l JOIN closings c ON c.key = l.key AND c.n = l.closing"
        " WHERE c.table_name = 'raw.recentchange' AND l.table_name = 'agg.recentchange_by_hour' AND l.state = 'loaded'"
    ).fetchall()
    [rows] = db.execute("SELECT sum(rows) FROM closings WHERE table_name = 'raw.recentchange' AND n = 1").fetchone()
    waited = sorted(one for [one] in waited)
    print(f"{len(waited)} of {hours} hours loaded, {rows} rows in closings")
    if waited:
        print(f"closing to partition loaded: p50 {share(waited, 0.5):.2f} s, p99 {share(waited, 0.99):.2f} s")
    logs = project.glob(".tidemill/attempts/wikimedia.land-*/log")
    took = sorted(int(ms) for log in logs for ms in re.findall(r"committed offsets.* duration_ms=(\d+)", log.read_text()))
    print(f"{len(took)} commits: p50 {share(took, 0.5)} ms, p99 {share(took, 0.99)} ms")
    millions = rows / 1e6
    for name, count in sorted(calls.items()):
        print(f"{name}: {count}, {count / millions:.0f} a million rows")
    class_a = sum(count for name, count in calls.items() if name.startswith("A"))
    class_b = sum(count for name, count in calls.items() if name.startswith("B"))
    print(f"class A: ${class_a / millions / 1000 * PRICE_A:.4f} a million rows, class B: ${class_b / millions / 1000 * PRICE_B:.4f}")
    proxy.shutdown()
    for process in (storage, bigquery):
        process.stdin.close()
        process.wait()
