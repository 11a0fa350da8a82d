"""What the documents say can be done can be done, and what they point at is there."""

import re
import subprocess
import sys

import pytest

from tests.house.sources import ROOT, files

# Commands that answer at once and change nothing; the others are tried by the tests of what they start.
CHEAP = {"make", "make help", "python -m functions", "python -m local.sign --help"}
HEADINGS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def commands(markdown: str) -> list[str]:
    """Lines of the shell blocks of a document, continuations joined, comments dropped."""
    found = []
    for block in re.findall(r"```(?:sh|bash|shell)\n([\s\S]*?)```", markdown):
        for line in block.replace("\\\n", " ").splitlines():
            plain = line.partition("  #")[0].strip()
            if plain and not plain.startswith("#"):
                found.append(plain)
    return found


def targets(makefile: str) -> set[str]:
    """Verbs of the Makefile that tell what they do."""
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def unknown_verbs(markdown: str, known: set[str]) -> list[str]:
    """`make` verbs a document names that the Makefile does not have."""
    named = re.findall(r"`make ([a-z-]+)[^`]*`", markdown)
    named += [command.split()[1] for command in commands(markdown) if re.match(r"make [a-z]", command)]
    return sorted(set(named) - known)


def broken_links(markdown: str, folder: str) -> list[str]:
    """Relative links to files that are not there."""
    found = []
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", markdown):
        if not re.match(r"[a-z]+:", target) and not (ROOT / folder / target).exists():
            found.append(target)
    return found


def changelog_faults(text: str) -> list[str]:
    """What is not in the shape of Keep a Changelog 1.1."""
    faults = [] if text.startswith("# Changelog\n") else ["title"]
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if not releases or releases[0] != "[Unreleased]":
        faults.append("no Unreleased on top")
    faults += [name for name in releases[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", name)]
    faults += [name for name in re.findall(r"^### (.*)$", text, re.MULTILINE) if name not in HEADINGS]
    return faults


DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in files(suffix=".md")]
README = (ROOT / "README.md").read_text()
VERBS = targets((ROOT / "Makefile").read_text())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_verbs_and_links_of_a_document_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    assert unknown_verbs(text, VERBS) == []
    assert broken_links(text, name.rpartition("/")[0]) == []


def test_the_readme_shows_the_commands() -> None:
    told = commands(README)
    assert {"make demo", "make test"} <= set(told)
    assert sum(command.startswith("curl ") or "| curl " in command for command in told) >= 2


@pytest.mark.parametrize("command", sorted(CHEAP & {*commands(README), "make"}))
def test_cheap_commands_of_the_readme_run(command: str) -> None:
    words = [sys.executable if word == "python" else word for word in command.split()]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.mark.parametrize("command", [line for line in commands(README) if "python -m " in line])
def test_modules_the_readme_runs_exist(command: str) -> None:
    for module in re.findall(r"python -m ([a-z_.]+)", command):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_changelog_keeps_its_shape() -> None:
    assert changelog_faults((ROOT / "CHANGELOG.md").read_text()) == []


def test_decisions_are_numbered_once_and_say_their_status() -> None:
    decisions = [path for path in files("docs/decisions", suffix=".md") if path.name != "README.md"]
    numbers = [path.name[:4] for path in decisions]
    assert len(decisions) > 5
    assert len(numbers) == len(set(numbers))
    assert [path.name for path in decisions if "\nStatus: " not in path.read_text()] == []


def test_the_rules_find_planted_violations() -> None:
    shell = "```sh\nmake fly  # up\n# a comment\ncurl -s \\\n  x\n```\nand `make swim`"
    assert commands(shell) == ["make fly", "curl -s    x"]
    assert unknown_verbs(shell, {"swim"}) == ["fly"]
    assert broken_links("[a](README.md) [b](nowhere.md#x) [c](https://example.com)", "") == ["nowhere.md"]
    assert changelog_faults("# Changelog\n\n## [Unreleased]\n\n### Added\n\n## [0.1.0] - 2026-11-21\n") == []
    assert changelog_faults("# Changes\n## 0.1\n### New\n") == ["title", "no Unreleased on top", "New"]
