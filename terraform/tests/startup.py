"""What machines start with, tried on this one: units, disks, the answer for health, the end on Cloud Run."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]


class Tally(Protocol):
    """What held, and what did not."""

    def claim(self, name: str, wrong: list[str]) -> None: ...


def startup(tally: Tally) -> None:
    """What the image is started with, on a VM and on Cloud Run, and how a VM answers for it."""
    module = ROOT / "terraform" / "modules" / "daemon"
    unit, pool = (module / "daemon.yaml.tftpl").read_text(), (module / "worker_pool.tf").read_text()
    on_vm = re.search(r"\$\{image\} (.*)", unit)[1].replace("${env}", "gcp").split()
    on_run = json.loads(re.search(r"args += (\[.*\])", pool)[1].replace("var.env", '"gcp"'))
    tally.claim("VM and Cloud Run start the same", [] if on_vm == on_run else [f"{on_vm}, {on_run}"])
    # The flags before --help are read before it.
    ran = subprocess.run([os.environ.get("TIDEMILL", "tidemill"), *on_vm, "--help"], capture_output=True, text=True)
    tally.claim(f"tidemill {' '.join(on_vm)}", [ran.stderr] if ran.returncode else [])
    image(tally, unit, pool)
    drains(tally, json.loads(re.search(r"command += (\[.*\])", pool)[1]))
    script = re.search(r"path: /etc/tidemill-health\n.*?content: \|\n(.*?)^\S", unit, re.M | re.S)[1]
    for code, answer in ((0, "HTTP/1.1 200 OK\r\n"), (3, "HTTP/1.1 503 ")):
        health(tally, script, code, answer)
    units(tally)
    disks(tally)


def image(tally: Tally, unit: str, pool: str) -> None:
    """The image is built from what the context has, and its user owns what is mounted."""
    stage = re.search(r"^FROM \S+ AS tidemill\n(.*?)(?=^FROM |\Z)", (ROOT / "Dockerfile").read_text(), re.M | re.S)[1]
    home, user = re.search(r"^WORKDIR (.*)$", stage, re.M)[1], re.search(r"^USER (.*)$", stage, re.M)[1]
    mounted = [place for place in (unit, pool) if f"{home}/.tidemill" not in place]
    tally.claim("state is where the image looks for it", mounted)
    uid = re.search(rf"useradd .*--uid (\d+) {user}$", stage, re.M)[1]
    owned = f"chown {uid}:{uid} /mnt/disks/state/tidemill"
    theirs = uid != "0" and owned in unit
    tally.claim("the image's user, who is not root, owns the state", [] if theirs else [user, uid])
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copies = [line.split()[:-1] for line in re.findall(r"^COPY (?!--from)(.*)", stage, re.M)]
    sources = [name for names in copies for name in names if name[0] != "-"]
    missing = [name for name in sources if name in ignored or not list(ROOT.glob(name))]
    tally.claim("what the image copies is in its context", missing if sources else ["it copies nothing"])


def drains(tally: Tally, command: list[str]) -> None:
    """Cloud Run stops with SIGTERM, and SIGINT is what drains."""
    with tempfile.TemporaryDirectory() as scratch:
        daemon = Path(scratch) / "tidemill"
        daemon.write_text(DRAINING)
        daemon.chmod(0o755)
        environment = {"PATH": f"{scratch}:{os.environ['PATH']}"}
        for asked, told, code in (("wait", "up\ndrained\n", 7), ("end", "up\n", 3)):
            ran = subprocess.Popen(
                [*command, asked], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            said = ran.stdout.readline()
            if asked == "wait":
                ran.terminate()
            code_told = ran.wait(timeout=30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ran.pid, signal.SIGKILL)  # What the shell left behind holds the pipe open.
            said += ran.stdout.read()
            right = said == told and code_told == code
            tally.claim(f"Cloud Run: {asked}", [] if right else [f"{said!r}, exit {code_told}"])


DRAINING = """#!/usr/bin/env python3
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("up", flush=True)
if sys.argv[1] == "end":
    sys.exit(3)
signal.sigwait([signal.SIGINT])
print("drained", flush=True)
sys.exit(7)
"""


def health(tally: Tally, script: str, code: int, answer: str) -> None:
    """The answer arrives whole: the script reads the request to its end, or the connection is reset."""
    request = b"GET / HTTP/1.1\r\nHost: 10.20.0.2:8080\r\nUser-Agent: GoogleHC/1.0\r\nConnection: close\r\n\r\n"
    with tempfile.TemporaryDirectory() as scratch, socket.create_server(("127.0.0.1", 0)) as server:
        systemctl = Path(scratch) / "systemctl"
        systemctl.write_text(f"#!/bin/sh\nexit {code}\n")
        systemctl.chmod(0o755)
        environment = {"PATH": f"{scratch}:{os.environ['PATH']}"}
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(request)
            with server.accept()[0] as accepted:
                subprocess.run(["bash", "-c", script], stdin=accepted, stdout=accepted, env=environment, check=True)
            try:
                told = b"".join(iter(lambda: client.recv(4096), b"")).decode()
            except ConnectionResetError:
                told = "the connection was reset"
        tally.claim(f"health: {answer.strip()}", [] if told.startswith(answer) else [told])


def units(tally: Tally) -> None:
    """systemd accepts every unit of cloud-init, where there is a systemd to ask."""
    if not shutil.which("systemd-analyze"):
        print("skipped the check of systemd units, for want of systemd-analyze", flush=True)
        return
    for template in sorted((ROOT / "terraform" / "modules").glob("*/*.yaml.tftpl")):
        text = re.sub(r"\$\{\w+\}", "8080", template.read_text())
        found = re.findall(r"path: /etc/systemd/system/(\S+)\n.*\n    content: \|\n((?:      .*\n|\n)*)", text)
        with tempfile.TemporaryDirectory() as scratch:
            for name, body in found:
                # Programs of the VM are not all on this machine.
                body = re.sub(r"(?m)^ +", "", body).replace("/usr/bin/docker-credential-gcr", "/bin/true")
                (Path(scratch) / name).write_text(body.replace("/usr/bin/docker", "/bin/true"))
            names = [str(Path(scratch) / name) for name, _ in found if "@" not in name]
            ran = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True)
        ours = [line for line in ran.stderr.splitlines() if any(name in line for name, _ in found)]
        tally.claim(f"units of {template.parent.name}", ours if found else ["no unit found"])


def disks(tally: Tally) -> None:
    """A new disk is formatted, a used one never again, and a larger one is filled."""
    needed = ("blkid", "mkfs.ext4", "resize2fs", "dumpe2fs")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [name for name in needed if not shutil.which(name, path=path)]:
        print(f"skipped what is done to disks, for want of {missing[0]}", flush=True)
        return
    for template in sorted((ROOT / "terraform" / "modules").glob("*/*.yaml.tftpl")):
        lines = re.findall(r"ExecStartPre=-?/bin/sh -c '((?:blkid|resize2fs) .*)'", template.read_text())
        with tempfile.NamedTemporaryFile() as disk:
            seen = []
            for megabytes in (16, 32):
                os.truncate(disk.name, megabytes * 1024 * 1024)
                for line in lines:
                    command = re.sub(r"/dev/disk/by-id/\S+", disk.name, line)
                    subprocess.run(["sh", "-c", command], env={"PATH": path}, capture_output=True, check=True)
                told = subprocess.run(
                    ["dumpe2fs", "-h", disk.name], env={"PATH": path}, capture_output=True, text=True, check=True
                )
                fields = dict(re.findall(r"^(Filesystem UUID|Block count|Block size): +(\S+)", told.stdout, re.M))
                seen.append((fields["Filesystem UUID"], int(fields["Block count"]) * int(fields["Block size"])))
        same, filled = seen[0][0] == seen[1][0], seen[1][1] == 32 * 1024 * 1024
        tally.claim(f"disk of {template.parent.name}", [] if same and filled else [str(seen)])
