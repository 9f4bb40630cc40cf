"""What Google's own client finds at the emulator.

usage: client.py ADDRESS ROOT; fails at the first thing that is not as the service does it.
"""

import pathlib
import sys

import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

address, root = sys.argv[1], pathlib.Path(sys.argv[2])
client = storage.Client(
    project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": address}
)


def refused(kind, call, *args, **kwargs):
    """`call` must fail with `kind`."""
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{call} was not refused with {kind.__name__}")


# Buckets.
bucket = client.create_bucket("py-bucket", location="EU")
assert client.get_bucket("py-bucket").location == "EU"
refused(exceptions.Conflict, client.create_bucket, "py-bucket")
refused(exceptions.NotFound, client.get_bucket, "py-nowhere")
assert "py-bucket" in [found.name for found in client.list_buckets()]

# An upload in one request, its metadata, and the file that other programs read.
blob = bucket.blob("t/dt=2026-11-20/a b.txt")
blob.metadata = {"run": "r1"}
blob.upload_from_string("one", content_type="text/plain", if_generation_match=0)
assert (root / "py-bucket/t/dt=2026-11-20/a b.txt").read_text() == "one"
found = bucket.get_blob(blob.name)
assert (found.size, found.content_type, found.metadata) == (3, "text/plain", {"run": "r1"})
assert found.generation == blob.generation and found.metageneration == 1
assert found.crc32c == blob.crc32c and found.md5_hash == blob.md5_hash
assert blob.download_as_bytes() == b"one"
assert blob.download_as_bytes(start=1, end=1) == b"n"
assert blob.download_as_bytes(checksum="crc32c") == b"one"

# Conditions of writes, reads, patches and deletes.
refused(
    exceptions.PreconditionFailed,
    bucket.blob(blob.name).upload_from_string,
    "two",
    if_generation_match=0,
)
first = blob.generation
blob.upload_from_string("two", if_generation_match=first)
assert blob.generation > first
refused(exceptions.PreconditionFailed, blob.upload_from_string, "three", if_generation_match=first)
refused(exceptions.PreconditionFailed, blob.reload, if_generation_match=first)
blob.metadata = {"run": "r2"}
blob.patch(if_metageneration_match=1)
assert bucket.get_blob(blob.name).metageneration == 2
refused(exceptions.PreconditionFailed, blob.patch, if_metageneration_match=1)
refused(exceptions.PreconditionFailed, blob.delete, if_generation_match=first)

# Copies, rewrites, moves and compositions are refused by the same conditions.
bucket.copy_blob(blob, bucket, "copy", if_generation_match=0)
refused(
    exceptions.PreconditionFailed, bucket.copy_blob, blob, bucket, "copy", if_generation_match=0
)
refused(
    exceptions.PreconditionFailed, bucket.copy_blob, blob, bucket, "c2", if_source_generation_match=1
)
rewritten = bucket.blob("rewritten")
token, done, total = rewritten.rewrite(blob, if_generation_match=0)
assert (token, done, total) == (None, 3, 3) and rewritten.metadata == {"run": "r2"}
refused(exceptions.PreconditionFailed, rewritten.rewrite, blob, if_generation_match=0)
moved = bucket.move_blob(bucket.blob("copy"), "moved", if_generation_match=0)
assert moved.download_as_bytes() == b"two" and not bucket.blob("copy").exists()
refused(
    exceptions.PreconditionFailed, bucket.move_blob, rewritten, "moved", if_generation_match=0
)
assert rewritten.exists()
composed = bucket.blob("composed")
composed.compose([moved, rewritten], if_generation_match=0)
assert composed.download_as_bytes() == b"twotwo" and composed.component_count == 2
refused(exceptions.PreconditionFailed, composed.compose, [moved], if_generation_match=0)

# Resumable uploads, of known and unknown size, in several requests.
big = bytes(range(256)) * 4096
resumable = bucket.blob("big", chunk_size=256 * 1024)
resumable.upload_from_string(big, if_generation_match=0)
assert resumable.download_as_bytes() == big and resumable.size == len(big)
with bucket.blob("streamed", chunk_size=256 * 1024).open("wb") as stream:
    stream.write(big)
    stream.write(b"end")
assert bucket.blob("streamed").download_as_bytes() == big + b"end"
refused(exceptions.PreconditionFailed, resumable.upload_from_string, big, if_generation_match=0)

# Listing.
names = [found.name for found in bucket.list_blobs()]
assert names == sorted(names) and len(names) == 6, names
listing = bucket.list_blobs(delimiter="/", page_size=2)
assert [found.name for found in listing] == ["big", "composed", "moved", "rewritten", "streamed"]
assert listing.prefixes == {"t/"}
assert [found.name for found in bucket.list_blobs(prefix="t/")] == [blob.name]
assert [found.name for found in bucket.list_blobs(start_offset="m", end_offset="s")] == [
    "moved",
    "rewritten",
]

# Versions.
bucket.versioning_enabled = True
bucket.patch()
moved.upload_from_string("newer")
older = bucket.blob("moved", generation=min(b.generation for b in bucket.list_blobs(prefix="moved", versions=True)))
assert older.download_as_bytes() == b"two" and bucket.blob("moved").download_as_bytes() == b"newer"
moved.delete()
assert older.download_as_bytes() == b"two"

# Faults: the client tries again what is safe to repeat, and an answer that is lost is a 412.
rule = {"fault": "before", "status": 503, "method": "GET", "prefix": "py-bucket/big", "next": 2}
requests.put(f"{address}/_emulator/faults", json=[rule]).raise_for_status()
assert bucket.blob("big").exists()
assert requests.get(f"{address}/_emulator/faults").json()[0]["hits"] == 2
rule = {"fault": "after", "status": 503, "method": "POST", "prefix": "py-bucket/", "next": 1}
requests.put(f"{address}/_emulator/faults", json=[rule]).raise_for_status()
refused(
    exceptions.PreconditionFailed,
    bucket.blob("lost").upload_from_string,
    "x",
    if_generation_match=0,
)
assert bucket.blob("lost").download_as_bytes() == b"x"

refused(exceptions.Conflict, bucket.delete)
print("as the service does it")
