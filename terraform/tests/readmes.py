"""The page of each module, made from its files: what it is for, an example, its inputs and its outputs."""

import re
from collections.abc import Iterator
from pathlib import Path


def readmes(terraform: Path) -> Iterator[tuple[Path, str]]:
    """The place of each page, and what it must say."""
    for main in sorted([*terraform.glob("modules/*/main.tf"), terraform / "bootstrap" / "main.tf"]):
        yield main.parent / "README.md", readme(main.parent)


def readme(module: Path) -> str:
    reason = re.match(r"(?:#.*\n)+", (module / "main.tf").read_text())[0]
    parts = [f"# {module.name}", re.sub(r"(?m)^# ?", "", reason).strip()]
    example = module / "examples" / "basic" / "main.tf"
    if example.exists():
        parts += ["## Example", f"```hcl\n{example.read_text()}```"]
    parts += ["## Inputs", table(["name", "type", "default", "description"], inputs(module))]
    parts += ["## Outputs", table(["name", "description"], outputs(module))]
    return "\n\n".join(parts) + "\n"


def inputs(module: Path) -> Iterator[list[str]]:
    for name, body in blocks(module / "variables.tf", "variable"):
        default = re.search(r"^  default += (.*)$", body, re.M)
        kind = re.search(r"^  type += (.*)$", body, re.M)[1]
        yield [f"`{name}`", f"`{kind}`", f"`{default[1]}`" if default else "required", described(body)]


def outputs(module: Path) -> Iterator[list[str]]:
    for name, body in blocks(module / "outputs.tf", "output"):
        yield [f"`{name}`", described(body)]


def blocks(file: Path, kind: str) -> list[tuple[str, str]]:
    return re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', file.read_text(), re.M | re.S)


def described(body: str) -> str:
    return re.search(r'^  description = "(.*)"$', body, re.M)[1].replace('\\"', '"')


def table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
