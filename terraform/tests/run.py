#!/usr/bin/env python3
"""Checks of terraform/ that `terraform test` cannot make by itself. Needs Python 3.11 and Terraform.

    tests/run.py plans       plans every environment with every Kafka and every runtime; rules of policy.py
    tests/run.py mutations   breaks each asserted property once and sees that its test fails
    tests/run.py docs        compares the generated parts of docs/how-to/deploy-gcp.md and the page of each
                             module (--write renews them), and reckons up docs/reference/cost.md
    tests/run.py commands    runs the commands of docs/how-to/deploy-gcp.md that need no account, and what a
                             machine starts with
    tests/run.py all         these four

TERRAFORM names the program (default: terraform), TIDEMILL the binary that `commands` runs. Nothing is
written into terraform/: all works on a copy.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import policy
from readmes import readmes
from startup import startup

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = os.environ.get("TERRAFORM", "terraform")
PAGE = ROOT / "docs" / "how-to" / "deploy-gcp.md"
COST = ROOT / "docs" / "reference" / "cost.md"
OUTPUTS = ROOT / "terraform" / "tests" / "outputs"
ENVS = ("dev", "prod")
ROOTS = ("bootstrap", *(f"envs/{env}" for env in ENVS))
EXAMPLES = sorted(
    str(it.parent.relative_to(ROOT / "terraform")) for it in ROOT.glob("terraform/modules/*/examples/*/main.tf")
)
KAFKAS = ("vm", "managed")
RUNTIMES = ("mig", "worker_pool")
NEEDED = {
    "project_id": "acme-wiki",
    "deployed": "true",
    "image_tag": "v1",
    "on_call_email": "ops@example.org",
    "managed_kafka_without_login": "true",
}
# Everything that a variable can switch on, so that rules see it.
FULL = NEEDED | {
    "store": "true",
    "operators": '["group:ops@example.org"]',
    "publishers": '["group:dev@example.org"]',
    "external_tables": '{"raw.recentchange"={}}',
    "analysts": '["group:analysts@example.org"]',
    "billing_account": "012345-6789AB-CDEF01",
    "location": "EU",
    "kms_key": "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k",
    "lake_kms_key": "projects/p/locations/europe/keyRings/r/cryptoKeys/l",
    "docker_hub": '{username="acme",password_secret_version="projects/p/secrets/hub/versions/1"}',
    "retention_days": "400",
}


class Failed(Exception):
    """A command went wrong; what it wrote."""


def terraform(folder: Path, *arguments: str) -> str:
    command = [TERRAFORM, f"-chdir={folder}", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if ran.returncode != 0:
        raise Failed(ran.stdout + ran.stderr)
    return ran.stdout


def copied(into: Path) -> Path:
    """A copy of terraform/ without what a run left behind."""
    left_behind = shutil.ignore_patterns(".terraform*", "*.tfstate*", "__pycache__", "backend.tf")
    return Path(shutil.copytree(ROOT / "terraform", into / "terraform", ignore=left_behind))


def initialised(into: Path, folders: list[str]) -> Path:
    tree = copied(into)
    for folder in folders:
        terraform(tree / folder, "init", "-backend=false", "-input=false", "-no-color")
    return tree


def planned(tree: Path, env: str, variables: dict[str, str]) -> policy.Plan:
    folder = tree / "envs" / env
    known = set(re.findall(r'^variable "(\w+)"', (folder / "variables.tf").read_text(), re.M))
    given = [f"-var={name}={value}" for name, value in variables.items() if name in known]
    with tempfile.NamedTemporaryFile(suffix=".plan") as file:
        terraform(folder, "plan", "-input=false", "-no-color", "-lock=false", f"-out={file.name}", *given)
        return json.loads(terraform(folder, "show", "-json", file.name)) | {"env": env}


def every_plan(tree: Path) -> dict[tuple[str, str, str], policy.Plan]:
    keys = list(itertools.product(ENVS, KAFKAS, RUNTIMES))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(keys, pool.map(lambda key: planned(tree, key[0], NEEDED | modes(*key[1:])), keys)))


def modes(kafka: str, runtime: str) -> dict[str, str]:
    return {"kafka": kafka, "runtime": runtime}


# --- plans ---------------------------------------------------------------------------------------


def plans(tally: "Tally", tree: Path, found: dict) -> None:
    full = list(itertools.product(KAFKAS, RUNTIMES))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fuller = pool.map(lambda key: planned(tree, "prod", FULL | modes(*key)), full)
        named = {f"plan {' '.join(key)}": plan for key, plan in found.items()}
        named |= {f"full plan prod {' '.join(key)}": plan for key, plan in zip(full, fuller)}
    for name, plan in named.items():
        tally.claim(name, [f"{rule}: {what}" for rule, what in policy.broken(plan)])
    tally.claim("everything is described", list(undescribed()))
    for folder in EXAMPLES:
        tally.claim(f"{folder} is valid", refused(tree / folder, "validate", "-no-color"))
    one_version = re.compile(r'version = "\d+\.\d+\.\d+"')
    floating = [root for root in ROOTS if not one_version.search((tree / root / "versions.tf").read_text())]
    tally.claim("every root names one version of the provider", floating)


def refused(folder: Path, *arguments: str) -> list[str]:
    """What Terraform says against it."""
    try:
        terraform(folder, *arguments)
    except Failed as failed:
        return [str(failed)[-2000:]]
    return []


def undescribed():
    for file in sorted((ROOT / "terraform").rglob("*.tf")):
        if ".terraform" in file.parts:
            continue
        for kind, name, body in re.findall(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', file.read_text(), re.M | re.S):
            if "description" not in body:
                yield f"{file.relative_to(ROOT)}: {kind} {name}"


# --- mutations -----------------------------------------------------------------------------------


def mutations(tally: "Tally", tree: Path, only: str) -> None:
    listed = tomllib.loads((ROOT / "terraform" / "tests" / "mutations.toml").read_text())["mutation"]
    asserted = set(runs()) | {f"policy {check.__name__}" for check in policy.RULES}
    killed = {mutation["fails"] for mutation in listed}
    tally.claim("every asserted property has a mutation", sorted(asserted - killed))
    tally.claim("every mutation names a test", sorted(killed - asserted))
    if not only:
        for folder in sorted({run.split(" ")[0] for run in runs()}):
            tally.claim(f"tests of {folder}", refused(tree / folder, "test", "-no-color"))
    listed = [mutation for mutation in listed if re.search(only, f"{mutation['fails']}: {mutation['breaks']}")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutation, wrong in zip(listed, pool.map(lambda one: survived(tree, one), listed)):
            tally.claim(f"mutation: {mutation['breaks']}", wrong)


def runs():
    for file in sorted((ROOT / "terraform").rglob("*.tftest.hcl")):
        folder = file.parent.parent if file.parent.name == "tests" else file.parent
        for name in re.findall(r'^run "(\w+)"', file.read_text(), re.M):
            yield f"{folder.relative_to(ROOT / 'terraform')} {name}"


def leave_only(folder: Path, name: str) -> None:
    """Takes every other run out of a folder's tests: a run is seconds, and each test has a dozen or two."""
    for file in [*folder.glob("*.tftest.hcl"), *folder.glob("tests/*.tftest.hcl")]:
        other = rf'^run "(?!{name}")\w+" \{{\n.*?^\}}\n'
        file.write_text(re.sub(other, "", file.read_text(), flags=re.M | re.S))


def survived(tree: Path, mutation: dict) -> list[str]:
    where, name = mutation["fails"].split(" ")
    with tempfile.TemporaryDirectory() as scratch:
        mutant = Path(shutil.copytree(tree, Path(scratch) / "terraform", symlinks=True))
        file = mutant / mutation["file"]
        text = file.read_text()
        if text.count(mutation["find"]) != 1:
            return [f"{mutation['find']!r} stands {text.count(mutation['find'])} times in {mutation['file']}"]
        file.write_text(text.replace(mutation["find"], mutation["replace"]))
        try:
            if where == "policy":
                variables = FULL | modes(mutation.get("kafka", "vm"), mutation.get("runtime", "mig"))
                broken = {rule for rule, _ in policy.broken(planned(mutant, "prod", variables))}
                return [] if name in broken else [f"the plan keeps {name}; broken: {sorted(broken)}"]
            leave_only(mutant / where, name)
            told = terraform(mutant / where, "test", "-no-color")
        except Failed as failed:
            told = str(failed)
            if f'run "{name}"... fail' in told:
                return []
        return [f"{where}: {name} did not fail", told[-2000:]]


# --- docs ----------------------------------------------------------------------------------------


def docs(tally: "Tally", tree: Path, found: dict, write: bool) -> None:
    text = PAGE.read_text()
    full = {(env, *modes("vm", "mig")): planned(tree, env, FULL | modes("vm", "mig")) for env in ENVS}
    for name, table in (generated(found) | {"deletion": deletion(found | full)}).items():
        part = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.S)
        assert part.search(text), f"{PAGE} has no part `{name}`"
        renewed = part.sub(lambda it: f"{it[1]}{table}{it[2]}", text)
        stale = [] if renewed == text or write else [f"renew it: terraform/tests/run.py docs --write\n{table}"]
        tally.claim(f"docs/how-to/deploy-gcp.md: {name}", stale)
        text = renewed
    for env in ENVS:
        recorded = OUTPUTS / f"{env}.json"
        # Tidemill's own tests import them: one environment in a region, one in a multi-region.
        plan = planned(tree, env, NEEDED | modes("vm", "mig") | {"location": "EU"})
        outputs = json.dumps(plan["planned_values"]["outputs"], indent=1, sort_keys=True) + "\n"
        if write:
            OUTPUTS.mkdir(exist_ok=True)
            recorded.write_text(outputs)
        stale = [] if recorded.read_text() == outputs else ["renew it: terraform/tests/run.py docs --write"]
        tally.claim(f"recorded outputs of {env}", stale)
    if write:
        PAGE.write_text(text)
    for page, text in readmes(ROOT / "terraform"):
        if write:
            page.write_text(text)
        stale = [] if page.exists() and page.read_text() == text else ["renew it: terraform/tests/run.py docs --write"]
        tally.claim(str(page.relative_to(ROOT)), stale)


def costs(tally: "Tally") -> None:
    """Each line of a bill is its arithmetic, and each bill the sum of its lines."""
    for title, bill in re.findall(r"^## ([^\n]*)\n((?:(?!^## ).*\n)*)", COST.read_text(), re.M):
        rows = re.findall(r"^\| (.*?) \| (.*?) ?\| (?:\*\*)?\$([\d.]+)(?:\*\*)? \|$", bill, re.M)
        if not rows:
            continue
        wrong = []
        for name, arithmetic, told in rows[:-1]:
            reckoned = re.sub(r"[^\d.+*() ]", "", arithmetic.replace("×", "*"))
            if arithmetic != "as above" and f"{eval(reckoned):.2f}" != told:
                wrong.append(f"{name}: {arithmetic} is {eval(reckoned):.2f}, not {told}")
        total = sum(float(told) for _, _, told in rows[:-1])
        if f"{total:.2f}" != rows[-1][2]:
            wrong.append(f"the sum is {total:.2f}, not {rows[-1][2]}")
        tally.claim(f"docs/reference/cost.md: {title}", wrong)


def generated(found: dict) -> dict[str, str]:
    keys = list(found)
    modules = {key: Counter(module(change) for change in created(plan)) for key, plan in found.items()}
    names = sorted(set().union(*modules.values()))
    head = [["module", *(f"{env}, {kafka}, {runtime.replace('_', ' ')}" for env, kafka, runtime in keys)]]
    rows = [[name, *(str(modules[key][name] or "–") for key in keys)] for name in names]
    total = [["**all**", *(f"**{modules[key].total()}**" for key in keys)]]
    default = found["prod", "vm", "mig"]
    kinds = Counter((module(change), change["type"]) for change in created(default))
    resources = [[name, f"`{kind}`", str(count)] for (name, kind), count in sorted(kinds.items())]
    access = [
        [grant["member"].replace("serviceAccount:", "").split("@")[0], f"`{grant['role']}`", grant["on"]]
        for grant in default["planned_values"]["outputs"]["access"]["value"]
    ]
    return {
        "plans": table(head + rows + total),
        "resources": table([["module", "resource", "count"], *resources]),
        "access": table([["who", "may", "on"], *sorted(access)]),
    }


def deletion(found: dict) -> str:
    rows = {}
    for (env, _, _), plan in found.items():
        for change in created(plan):
            says = change["change"]["after"].get("deletion_policy")
            if says:
                rows.setdefault((module(change), change["type"]), {}).setdefault(env, set()).add(says)
    lines = [
        [name, f"`{kind}`", *(", ".join(sorted(envs.get(env, {"–"}))) for env in ENVS)]
        for (name, kind), envs in sorted(rows.items())
    ]
    return table([["module", "resource", "dev", "prod"], *lines])


def created(plan: policy.Plan) -> list[dict]:
    return [change for change in plan["resource_changes"] if change["mode"] == "managed"]


def module(change: dict) -> str:
    """`module.tidemill.module.kafka_vm[0]` is `kafka-vm`."""
    return re.sub(r"\[.*", "", change["module_address"].split("module.")[-1]).replace("_", "-")


def table(rows: list[list[str]]) -> str:
    head, *rest = rows
    lines = [head, ["---"] * len(head), *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# --- commands ------------------------------------------------------------------------------------

TRIED = ("# Tried.", "# Tried with a stand-in for the provider.")
NOT_TRIED = "# Not tried: needs an account."


def commands(tally: "Tally") -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    marked = [block for block in blocks if block.startswith((*TRIED, NOT_TRIED))]
    tally.claim("every block says whether it was tried", [block for block in blocks if block not in marked])
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch)
        copied(project)
        for folder in ("dags", "jobs", "topics"):
            shutil.copytree(ROOT / folder, project / folder)
        shutil.copy(ROOT / "tidemill.toml", project)
        binaries = project / "bin"
        binaries.mkdir()
        for name, program in (("terraform", TERRAFORM), ("tidemill", os.environ.get("TIDEMILL", "tidemill"))):
            (binaries / name).symlink_to(shutil.which(program) or program)
        environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "TF_IN_AUTOMATION": "1"}
        for block in marked:
            if block.startswith(NOT_TRIED):
                continue
            ran = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block],
                cwd=project, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            )
            title = block.splitlines()[1]
            tally.claim(f"command: {title}", [ran.stdout[-1500:] + ran.stderr[-1500:]] if ran.returncode else [])


# --- the rest ------------------------------------------------------------------------------------


class Tally:
    """What held, and what did not."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def claim(self, name: str, wrong: list[str]) -> None:
        if wrong:
            self.failed += 1
            print(f"FAILED  {name}\n        " + "\n        ".join(wrong), flush=True)
        else:
            self.passed += 1
            print(f"passed  {name}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plans", "mutations", "docs", "commands", "all"])
    parser.add_argument("--write", action="store_true", help="renew what is generated")
    parser.add_argument("--only", default="", help="mutations whose test or title fits this expression")
    arguments = parser.parse_args()
    chosen = lambda what: arguments.what in (what, "all")
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [f"envs/{env}" for env in ENVS]
        if chosen("plans"):
            folders += EXAMPLES
        if chosen("mutations"):
            folders += sorted({run.split(" ")[0] for run in runs()} - set(folders))
        tree = initialised(Path(scratch), folders)
        found = every_plan(tree) if chosen("plans") or chosen("docs") else {}
        if chosen("plans"):
            plans(tally, tree, found)
        if chosen("mutations"):
            mutations(tally, tree, arguments.only)
        if chosen("docs"):
            docs(tally, tree, found, arguments.write)
            costs(tally)
    if chosen("commands"):
        startup(tally)
        commands(tally)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
