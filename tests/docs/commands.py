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
    quote = ""
    characters = iter(text)
    before = "\n"
    for each in characters:
        if quote:
            quote = "" if each == quote else quote
        elif each in "'\"":
            quote = each
        elif each == "#" and before.isspace():  # a comment: its quotes are none
            for each in characters:
                if each == "\n":
                    break
        if each == "\\" and quote != "'":
            next(characters, "")
        before = each
    loops = re.match(r"(until|while|for)\b", text) and not re.search(r"^done", text, re.M)
    return bool(quote) or bool(loops)


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
SYSTEMD = "needs systemd and root; the units are verified by tests"
LONG = "takes many minutes"
# document → pattern of whole commands → why
LEFT_OUT: dict[str, dict[str, str]] = {
    "README.md": {
        "make run": "installs; tests/local_run starts it, and the instance of these tests is one",
        "make test": "the suite itself",
    },
    "docs/containers.md": {r"(docker|make secrets|mkdir|sudo|printf|git|curl)\b.*": COMPOSE},
    "docs/operations.md": {
        "make install": "tests/local_run does it, in a copy",
        r"cp deploy/systemd/.* && systemctl daemon-reload": SYSTEMD,
        "systemctl .*": SYSTEMD,
    },
    "docs/performance.md": {"make bench-.*": LONG, r"python -m benchmarks\..*": LONG},
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
