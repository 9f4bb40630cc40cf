"""bqemulator with the rules of the real service that our loads rest on.

Asked of bqemulator 1.4.0 and put right here: a load into `table$partition` is refused, a used job id
is run again, rows outside the partition are taken, and so are columns of another mode or order.
`POST /faults` makes the next calls that are about something fail or hang, before or after they take
effect, or take effect `late_ms` later and never answer; or it keeps a job running until `POST /release`
or until it is cancelled. `POST /clear` ends the faults that are about something, waits for what is late,
and tells how many had nothing to hit.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import threading
from datetime import datetime
from pathlib import Path

# Standard output is for our address alone; bqemulator logs there from its first import on.
address_pipe = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))  # From WARNING on.

from bqemulator.api.routes import jobs as job_routes
from bqemulator.api.routes.tables import _field_to_rest, _parse_schema_fields
from bqemulator.catalog.etag import generate_etag
from bqemulator.catalog.models import JobMeta, TableSchema
from bqemulator.config import PersistenceMode, Settings
from bqemulator.jobs import executor
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.storage.type_map import bq_schema_to_duckdb_columns
from bqemulator import server as emulator

# A decorator's form, and what one of its steps is called in SQL, by the kind of partitioning.
DECORATORS = {
    "HOUR": ("%Y%m%d%H", 10, "hour"),
    "DAY": ("%Y%m%d", 8, "day"),
    "MONTH": ("%Y%m", 6, "month"),
    "YEAR": ("%Y", 4, "year"),
}
# One type, two names.
SAME = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


class LoadError(Exception):
    """Ends the job as failed, as the real service does."""


plain_load = executor.execute_load_job


async def load(project, job_id, config, ctx):
    """A load into a decorated table is done here, any other as before."""
    load_config = config.get("load", {})
    destination = load_config.get("destinationTable", {})
    table, at, decorator = destination.get("tableId", "").partition("$")
    if not at:
        return await plain_load(project, job_id, config, ctx)
    begun = ctx.clock.now()
    async with ctx.engine.write_lock():
        rows, size = load_partition(project, table, decorator, load_config, ctx)
    statistics = {"inputFiles": "1", "inputFileBytes": str(size), "outputRows": str(rows)}
    return JobMeta(
        project_id=project,
        job_id=job_id,
        job_type="LOAD",
        state="DONE",
        configuration=config,
        statistics={"load": {**statistics, "outputBytes": str(size)}},
        creation_time=begun,
        start_time=begun,
        end_time=ctx.clock.now(),
        etag=generate_etag(project, job_id, str(begun)),
    )


def load_partition(project, table, decorator, config, ctx):
    destination = config["destinationTable"]
    names = (destination.get("projectId", project), destination["datasetId"], table)
    meta = ctx.catalog.get_table(*names)
    if meta is None:
        raise LoadError(f"Not found: Table {names[0]}:{names[1]}.{names[2]}")
    disposition = config.get("writeDisposition")
    if config.get("sourceFormat") != "PARQUET" or disposition not in ("WRITE_TRUNCATE", "WRITE_APPEND"):
        raise LoadError("only PARQUET with WRITE_TRUNCATE or WRITE_APPEND is emulated for a partition")
    [uri] = config.get("sourceUris", [])
    path = executor._resolve_uri(uri, ctx)
    if not Path(path).is_file():
        raise LoadError(f"Not found: URI {uri}")
    lies_within = partition_filter(meta.time_partitioning, decorator)
    wanted = [field.model_copy() for field in _parse_schema_fields(config["schema"]["fields"])]
    added = compare(list(meta.schema_.fields), wanted, config.get("schemaUpdateOptions") or [])
    run = ctx.engine.execute
    # An object is replaced under its name; DuckDB would go on with what it remembers of the file.
    run("SET enable_external_file_cache = false")
    in_file = [row[0] for row in run("DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [path]).fetchall()]
    if in_file != [field.name for field in wanted]:
        raise LoadError(f"the file has columns {in_file}, and the schema says otherwise")
    source = "FROM read_parquet(?, hive_partitioning = false)"
    [rows] = run(f"SELECT count(*) {source}", [path]).fetchone()
    [outside] = run(f"SELECT count(*) {source} WHERE NOT coalesce({lies_within}, false)", [path]).fetchone()
    if outside:
        raise LoadError(f"{outside} rows belong to different partitions than ${decorator}")
    if rows == 0:
        # Whether the real service empties the partition is written nowhere: nobody may rely on it.
        return 0, Path(path).stat().st_size
    target = quoted_table_ref(*names)
    run("BEGIN TRANSACTION")
    try:
        for name, kind in bq_schema_to_duckdb_columns([_field_to_rest(field) for field in added]):
            run(f'ALTER TABLE {target} ADD COLUMN "{name}" {kind}')
        if disposition == "WRITE_TRUNCATE":
            run(f"DELETE FROM {target} WHERE {lies_within}")
        columns = ", ".join(f'"{name}"' for name in in_file)
        run(f"INSERT INTO {target} ({columns}) SELECT {columns} {source}", [path])
        run("COMMIT")
    except Exception:
        run("ROLLBACK")
        raise
    [count] = run(f"SELECT count(*) FROM {target}").fetchone()
    schema = TableSchema(fields=(*meta.schema_.fields, *added))
    ctx.catalog.update_table(meta.model_copy(update={"num_rows": count, "schema_": schema}))
    return rows, Path(path).stat().st_size


def partition_filter(partitioning, decorator):
    if partitioning is None or not partitioning.field:
        raise LoadError("the table is not partitioned by a column")
    form, length, step = DECORATORS[partitioning.type]
    if len(decorator) != length:
        raise LoadError(f"${decorator} is no {step} of a table partitioned by {step}")
    start = datetime.strptime(decorator, form)
    return f"date_trunc('{step}', \"{partitioning.field}\") = TIMESTAMP '{start}'"


def compare(have, wanted, options):
    """The columns that the load adds; refused where anything else differs."""
    if len(wanted) < len(have):
        raise LoadError("Provided Schema does not match Table: a field is missing in new schema")
    for old, new in zip(have, wanted):
        if old.name != new.name:
            raise LoadError(f"Provided Schema does not match Table: field {old.name} is {new.name} there")
        if SAME.get(old.type, old.type) != SAME.get(new.type, new.type):
            raise LoadError(f"Field {old.name} has changed type from {old.type} to {new.type}")
        if old.mode != new.mode:
            raise LoadError(f"Field {old.name} has changed mode from {old.mode} to {new.mode}")
    added = wanted[len(have) :]
    if added and "ALLOW_FIELD_ADDITION" not in options:
        raise LoadError(f"Provided Schema does not match Table: cannot add field {added[0].name}")
    if any(field.mode != "NULLABLE" for field in added):
        raise LoadError("an added field must be NULLABLE")
    return added


CALLS = [
    ("jobs.insert", "POST", r"/projects/([^/]+)/jobs"),
    ("jobs.get", "GET", r"/projects/([^/]+)/jobs/([^/]+)"),
    ("jobs.cancel", "POST", r"/projects/([^/]+)/jobs/([^/]+)/cancel"),
    ("jobs.list", "GET", r"/projects/([^/]+)/jobs"),
    ("tables.get", "GET", r"/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)"),
    ("tables.insert", "POST", r"/projects/([^/]+)/datasets/([^/]+)/tables"),
    ("tables.patch", "PATCH", r"/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)"),
    ("datasets.get", "GET", r"/projects/([^/]+)/datasets/([^/]+)"),
    ("datasets.insert", "POST", r"/projects/([^/]+)/datasets"),
    ("queries", "POST", r"/projects/([^/]+)/queries"),
    ("queries.results", "GET", r"/projects/([^/]+)/queries/([^/]+)"),
]


class Rules:
    """Stands before the emulator: job ids are used once, and faults come when asked for."""

    def __init__(self, app, ctx):
        self.app = app
        self.ctx = ctx
        # Jobs are begun one after the other, so that one id never runs twice.
        self.turn = asyncio.Lock()
        self.faults = []
        self.held = {}
        self.late = []
        self.hung = asyncio.Condition()
        self.hangs = set()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if scope["path"] == "/faults":
            self.faults.extend(json.loads(body))
            return await answer(send, 200, {})
        if scope["path"] == "/clear":
            about = body.decode()
            left = sum(fault["about"] == about for fault in self.faults)
            self.faults = [fault for fault in self.faults if fault["about"] != about]
            await asyncio.gather(*(task for its, task in self.late if its == about))
            self.late = [(its, task) for its, task in self.late if its != about]
            await self.note_hang(about)
            return await answer(send, 200, {"left": left})
        if scope["path"] == "/hung":
            async with self.hung:
                await self.hung.wait_for(lambda: body.decode() in self.hangs)
                self.hangs.remove(body.decode())
            return await answer(send, 200, {})
        if scope["path"] == "/release":
            return await self.release(body.decode(), send)
        call, found = named(scope)
        fault = self.take(call, scope["path"].encode() + body)
        kind = fault and fault["fault"]
        if kind == "hang before":
            return await self.hang(fault["about"])
        if kind == "before":
            return await refuse(send, 503, "backendError", "a fault that was asked for")
        if kind == "denied":
            return await refuse(send, 403, "accessDenied", "no permission bigquery.tables.updateData")
        if kind == "late":
            late = self.work_late(fault, call, found, scope, body)
            self.late.append((fault["about"], asyncio.create_task(late)))
            return await asyncio.Event().wait()
        sink = discard if kind in ("after", "hang after") else send
        await self.work(call, found, scope, body, sink, kind == "hold")
        if kind == "hang after":
            await self.hang(fault["about"])
        if kind == "after":
            await refuse(send, 503, "backendError", "the answer is lost, as was asked for")

    async def work(self, call, found, scope, body, send, hold=False):
        if call == "jobs.insert":
            async with self.turn:
                await self.insert(scope, body, send, found[1], hold)
        elif call == "jobs.cancel" and found[2] in self.held:
            await self.cancel(scope, send, found[2])
        else:
            await self.app(scope, whole(body), send)

    async def work_late(self, fault, call, found, scope, body):
        await asyncio.sleep(fault["late_ms"] / 1000)
        await self.work(call, found, scope, body, discard)

    async def hang(self, about):
        """Never answers: for the caller, the end of its process."""
        await self.note_hang(about)
        await asyncio.Event().wait()

    async def note_hang(self, about):
        async with self.hung:
            self.hangs.add(about)
            self.hung.notify_all()

    def take(self, call, told):
        for fault in self.faults:
            if fault["call"] in (call, "any") and call and fault["about"].encode() in told:
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    async def insert(self, scope, body, send, project, hold):
        job = json.loads(body)
        job_id = job.get("jobReference", {}).get("jobId")
        if job_id and self.ctx.catalog.get_job(project, job_id) is not None:
            message = f"Already Exists: Job {project}:{job_id}"
            return await refuse(send, 409, "duplicate", message)
        if not hold:
            return await self.begin(scope, body, send, project, job)
        self.note(project, job_id, job["configuration"], "RUNNING", None)
        self.held[job_id] = (scope, body)
        await answer(send, 200, {**job, "status": {"state": "RUNNING"}})

    async def begin(self, scope, body, send, project, job):
        await self.app(scope, whole(body), send)
        done = self.ctx.catalog.get_job(project, job.get("jobReference", {}).get("jobId", ""))
        if done is not None:
            # The emulator forgets a query's labels.
            configuration = {**job["configuration"], **done.configuration}
            self.ctx.catalog.upsert_job(done.model_copy(update={"configuration": configuration}))

    async def cancel(self, scope, send, job_id):
        _, body = self.held.pop(job_id)
        project = re.fullmatch(r".*/projects/([^/]+)/.*", scope["path"])[1]
        stopped = {"reason": "stopped", "message": "Job execution was cancelled: User requested cancellation"}
        self.note(project, job_id, json.loads(body)["configuration"], "DONE", stopped)
        await self.app(scope, whole(b""), send)

    async def release(self, about, send):
        """Runs the jobs that were held, with what they find now."""
        async with self.turn:
            for job_id in [held for held, (_, body) in self.held.items() if about.encode() in body]:
                scope, body = self.held.pop(job_id)
                project = json.loads(body)["jobReference"]["projectId"]
                await self.begin(scope, body, discard, project, json.loads(body))
        await answer(send, 200, {})

    def note(self, project, job_id, configuration, state, error):
        now = self.ctx.clock.now()
        kind = "LOAD" if "load" in configuration else "QUERY"
        job = JobMeta(
            project_id=project,
            job_id=job_id,
            job_type=kind,
            state=state,
            configuration=configuration,
            statistics={},
            error_result=error,
            creation_time=now,
            etag=generate_etag(project, job_id, str(now)),
        )
        self.ctx.catalog.upsert_job(job)


def named(scope):
    path = scope["path"].removeprefix("/bigquery/v2")
    for call, method, pattern in CALLS:
        found = re.fullmatch(pattern, path)
        if found and scope["method"] == method:
            return call, found
    return None, None


def whole(body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def discard(_message):
    pass


async def refuse(send, code, reason, message):
    told = {"message": message, "domain": "global", "reason": reason}
    await answer(send, code, {"error": {"code": code, "message": message, "errors": [told]}})


async def answer(send, code, body):
    body = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve(settings):
    plain_app = emulator.create_app
    emulator.create_app = lambda ctx: Rules(plain_app(ctx), ctx)
    job_routes.execute_load_job = load
    running = emulator.EmulatorServer(settings)
    await running.start()
    print(f"http://{settings.rest_host}:{running.rest_port}", file=address_pipe, flush=True)
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch():
        sys.stdin.buffer.read()  # Whoever started us holds the other end.
        loop.call_soon_threadsafe(gone.set)

    threading.Thread(target=watch, daemon=True).start()
    await gone.wait()
    # A call that was made to hang would be waited for for ever.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(running.stop(), 1)
    os._exit(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", default="tidemill")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--gcs-root", required=True, type=Path, help="gs://bucket/name is ROOT/bucket/name")
    args = parser.parse_args()
    settings = Settings(
        rest_host=args.host,
        rest_port=args.port,
        grpc_host=args.host,
        grpc_port=0,
        persistence_mode=PersistenceMode.EPHEMERAL,
        default_project_id=args.project,
        gcs_local_root=args.gcs_root,
        log_level="warning",
    )
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
