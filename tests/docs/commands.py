"""The commands in README and docs: read from the documents, and how each is run by a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md")))
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.M | re.S)
SHELL = ("sh", "bash", "shell", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Attributes:
        page: path of the document.
        line: of its first line.
        language: after the fence.
        text: what is in it.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its commands, each with the lines that it goes on over, without comments at the end."""
        whole, found = "", []
        for line in self.text.splitlines():
            if not whole and (not line.strip() or line.lstrip().startswith("#")):
                continue
            whole += line + "\n"
            if not line.endswith("\\") and not _is_open(whole):
                found.append(re.sub(r"\s+#\s.*", "", whole.strip()))
                whole = ""
        assert not whole, f"{self.page}:{self.line} ends within a command"
        return found


def _is_open(text: str) -> bool:
    """Whether a quote or a loop goes on over the end of the line."""
    bare = re.sub(r"'[^']*'", "", text)
    loops = re.match(r"(until|while|for)\b", text) and not re.search(r"^done", text, re.M)
    return "'" in bare or bool(loops)


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = (ROOT / page).read_text()
    return [
        Block(page, text[: m.start()].count("\n") + 2, m[2], m[3]) for m in _BLOCK.finditer(text)
    ]


def commands(page: str) -> list[str]:
    """All commands of a document, in the order written."""
    return [each for b in blocks(page) if b.language in SHELL for each in b.commands]


# --- what does not run here, and why; each has to be in its document still

COMPOSE = "needs a container engine"
LONG = "takes many minutes"
# document → pattern of whole commands → why
LEFT_OUT: dict[str, dict[str, str]] = {
    "README.md": {
        "make run": "installs; tests/embedded starts it, and the instance of these tests is one",
        "make test": "the suite itself",
        "DATA_DIR=~/css-log-backup make run": "the instance of these tests has that folder",
    },
    "docs/operations.md": {
        "make secrets": COMPOSE,
        "mkdir -p docker/clouds && cp .*": COMPOSE,
        r"(\w+=\S+ )?docker compose .*": COMPOSE,
    },
    "docs/performance.md": {"make bench-history .*": LONG, r"python -m benchmarks\..*": LONG},
    "docs/reliability.md": {
        "make chaos .*": LONG,
        r"\.venv/bin/python -m chaos\.tables .*": "reads what the chaos runs write",
    },
    "docs/sign-in.md": {"docker compose .*": COMPOSE},
}
# documents that another test runs, whole and in order
ELSEWHERE = {"docs/api.md": "tests/docs/test_api_examples.py"}


def left_out(page: str, command: str) -> bool:
    """Whether a command is in the list of those that do not run here."""
    return any(re.fullmatch(pattern, command, re.S) for pattern in LEFT_OUT.get(page, {}))
