"""The image's recipe and the scripts, as far as they can be read without building or running them."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
TARGETS = ("cpu", "cuda")
HADOLINT = shutil.which("hadolint", path=sysconfig.get_path("scripts"))


def instructions(word: str, text: str = DOCKERFILE) -> list[str]:
    return re.findall(rf"^{word}\s+(.+)$", text, flags=re.MULTILINE)


def stage(name: str) -> str:
    return next(
        part
        for part in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)
        if part.startswith("FROM") and part.splitlines()[0].endswith(f" AS {name}")
    )


@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no build for this platform")
def test_a_linter_of_dockerfiles_has_nothing_to_say() -> None:
    linted = subprocess.run([str(HADOLINT), str(DEPLOY / "Dockerfile")], text=True, capture_output=True, check=False)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


def test_one_base_pinned_to_a_release() -> None:
    (image,) = (line for line in instructions("ARG") if line.startswith("PYTHON_IMAGE="))
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-bookworm", image)
    stages = {line.rpartition(" ")[2] for line in instructions("FROM")}
    for line in instructions("FROM"):
        assert line.split()[0] in {"${PYTHON_IMAGE}"} | stages


@pytest.mark.parametrize("target", TARGETS)
def test_target_runs_rookery_as_a_numbered_user(target: str) -> None:
    # A number: Kubernetes' runAsNonRoot cannot judge a name.
    assert instructions("USER", stage(target)) == ["10001:10001"]
    assert instructions("ENTRYPOINT", stage(target)) == ['["rookery"]']
    (health,) = instructions("HEALTHCHECK", stage(target))
    assert health.partition(" CMD ")[2] == '["rookery", "version"]'


def test_nothing_is_root_after_the_user() -> None:
    for target in TARGETS:
        assert "RUN" not in stage(target).partition("\nUSER ")[2]


def test_every_library_is_held_by_the_constraints() -> None:
    installs = re.findall(r"pip install [^;&\n]*", DOCKERFILE)
    assert len(installs) == 6
    for line in installs:
        assert "--constraint" in line or line.split()[-1].endswith(".whl"), line


def test_context_holds_what_is_copied() -> None:
    allowed = {line[1:] for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert copied == allowed


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_script_parses_and_stops_at_errors(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert re.search(r"^set -E?euo pipefail", script.read_text(), flags=re.MULTILINE)
