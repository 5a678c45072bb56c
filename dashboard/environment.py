"""Typed readers for environment variables that never raise, so that importing settings cannot fail.

An invalid value is replaced by its default and recorded in `env.problems`. The system checks
(dashboard/checks.py) report each problem in one line. A problem never shows the value of a variable
that can hold a secret.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
FALSE = frozenset({"0", "false", "no", "off", "n", "f"})
QUOTES = "\"'"
BLANKS = " \t\r\n\v\f\ufeff\u00a0"  # copied text can contain byte order marks, no-break spaces
SHOWN = 40  # maximum number of characters shown of a value that is not a secret
MOST_BYTES = 65_536  # maximum size of a secret's file, since it could be endless (/dev/zero)
LARGEST = 1_000_000_000
LONGEST_SECONDS = 315_360_000.0  # ten years; longer durations overflow dates
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")

UNREADABLE = "css.E017"  # the value does not have the variable's type
OUT_OF_BOUNDS = "css.E010"
NO_FILE = "css.E018"

T = TypeVar("T")
# Aliases for use in `Environment`, whose methods are named after the types and shadow them.
Text = str
Texts = list[str]
Whole = int
Real = float
Switch = bool


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """Invalid setting.

    Attributes:
        name: name of the variable.
        text: description of the problem, as a sentence that begins with the name.
        hint: what to set instead.
        id: id of the system check.
    """

    name: str
    text: str
    hint: str
    id: str


def clean(value: str) -> str:
    """Strip blanks and one pair of quotes, which `docker --env-file` does not remove."""
    value = value.strip(BLANKS)
    if len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES:
        inner = value[1:-1]
        if value[0] not in inner:  # keep the quotes of `"a", "b"`: two quoted values
            return inner.strip(BLANKS)
    return value


class Environment:
    """Typed access to the variables of a mapping. An empty value means the default.

    Args:
        environ: the variables; evaluated on each read.
    """

    def __init__(self, environ: Mapping[Text, Text]) -> None:
        self._environ = environ
        self._problems: dict[tuple[Text, Text], SettingProblem] = {}

    @property
    def problems(self) -> tuple[SettingProblem, ...]:
        """Problems recorded so far, without duplicates."""
        return tuple(self._problems.values())

    def note(self, name: Text, text: Text, hint: Text, id: Text) -> None:
        """Record an invalid variable; see `SettingProblem` for the arguments."""
        self._problems[name, id] = SettingProblem(name, text, hint, id)

    def str(
        self,
        name: Text,
        default: Text = "",
        *,
        pattern: re.Pattern[Text] | None = None,
    ) -> Text:
        """Read a string.

        Args:
            name: name of the variable.
            default: value if the variable is unset, empty or invalid.
            pattern: regular expression that the whole value must match.
        """
        text = self._text(name)
        if text and pattern is not None and not pattern.fullmatch(text):
            self._unreadable(name, text, "contains characters that are not allowed", repr(default))
            return default
        return text or default

    def choice(self, name: Text, default: Text, words: Iterable[Text]) -> Text:
        """Read one of `words`, ignoring case; return it in the case used in `words`."""
        text, known = self._text(name), {word.casefold(): word for word in words}
        if not text:
            return default
        if (found := known.get(text.casefold())) is None:
            wanted = ", ".join(known.values())
            self._unreadable(name, text, f"is not one of {wanted}", default)
            return default
        return found

    def bool(self, name: Text, default: Switch = False) -> Switch:
        """Read a boolean."""
        text = self._text(name).lower()
        if text in TRUE or text in FALSE:
            return text in TRUE
        if text:
            self._unreadable(name, text, "is not a boolean", "1 or 0")
        return default

    def int(
        self,
        name: Text,
        default: Whole,
        *,
        at_least: Whole = 0,
        at_most: Whole = LARGEST,
    ) -> Whole:
        """Read an integer between two bounds, both inclusive."""
        return self._number(name, default, _WHOLE, int, at_least, at_most, above=False)

    def float(
        self,
        name: Text,
        default: Real,
        *,
        above_zero: Switch = False,
        at_most: Real = LONGEST_SECONDS,
    ) -> Real:
        """Read a number between 0 and `at_most`; `above_zero` excludes 0."""
        return self._number(name, default, _NUMBER, float, 0.0, at_most, above=above_zero)

    def list(
        self,
        name: Text,
        default: Iterable[Text] = (),
        *,
        blanks: Switch = True,
    ) -> Texts:
        """Read a list; ignore empty items, and blanks and quotes around items.

        Args:
            name: name of the variable.
            default: value if the variable is unset or empty.
            blanks: whether blanks separate items, in addition to commas.
        """
        pieces = re.split(r"[,\s]" if blanks else ",", self._text(name))
        return [item for piece in pieces if (item := clean(piece))] or list(default)

    def secret(self, name: Text, default: Text = "") -> Text:
        """Read a secret from the file named by `name`_FILE, or else from `name`.

        Only surrounding blanks and line ends are stripped from the file's text.
        """
        path = self._text(f"{name}_FILE")
        if not path:
            return self._text(name) or default
        try:
            with Path(path).open("rb") as handle:
                raw = handle.read(MOST_BYTES + 1)
            if len(raw) > MOST_BYTES:
                raise ValueError
            text = raw.decode("utf-8-sig")
        except OSError as error:
            problem = f"cannot be read ({error.strerror or type(error).__name__})"
        except ValueError:
            problem = f"is not UTF-8 text of at most {MOST_BYTES} bytes"
        else:
            return text.strip(BLANKS) or default
        # omit the path: users might have put the secret itself into the _FILE variable
        self.note(
            f"{name}_FILE",
            f"{name}_FILE names a file that {problem}.",
            f"Correct the path in {name}_FILE or the file's owner and mode, or leave it unset.",
            NO_FILE,
        )
        return default

    def _text(self, name: Text) -> Text:
        value = self._environ.get(name, "")
        try:
            value.encode()
        except UnicodeEncodeError:  # Python decodes bytes that are not UTF-8 as surrogates
            self.note(name, f"{name} is not UTF-8 text.", f"Write {name} in UTF-8.", UNREADABLE)
            return ""
        return clean(value)

    def _number(
        self,
        name: Text,
        default: T,
        pattern: re.Pattern[Text],
        kind: Callable[[Text], T],
        least: Real,
        most: Real,
        *,
        above: Switch,
    ) -> T:
        text = self._text(name)
        if not text:
            return default
        if not pattern.fullmatch(text):
            whole = "whole number" if kind is int else "number"
            self._unreadable(name, text, f"is not a {whole}", str(default))
            return default
        number = kind(text)
        value = float(number)  # type: ignore[arg-type]
        if not math.isfinite(value) or value > most:
            problem = f"is above {most:g}"
        elif value < least or (above and value == least):
            problem = "is not greater than 0" if above or least == 1 else f"is below {least:g}"
        else:
            return number
        self.note(
            name,
            f"{name}={text[:SHOWN]} {problem}.",
            f"Set {name} to a number within its bounds, for example {default}, or leave it unset.",
            OUT_OF_BOUNDS,
        )
        return default

    def _unreadable(self, name: Text, text: Text, problem: Text, example: Text) -> None:
        self.note(
            name,
            f"{name}={text[:SHOWN]!r} {problem}.",
            f"Set {name} to {example}, or leave it unset for the default.",
            UNREADABLE,
        )


# Variables that other projects can leave in a shell, and that Celery prefers to our settings.
FOREIGN = ("BROKER_URL", "RESULT_BACKEND", "CONFIG_MODULE", "LOADER", "SKIP_CHECKS")
CHECKOUT = Path(__file__).resolve().parent.parent

CLOUDS_FILE_NAMES = tuple(
    f"{stem}.{suffix}" for stem in ("clouds", "secure") for suffix in ("yaml", "yml", "json")
)


def clouds_search_path() -> list[Path]:
    """Return the folders to search for clouds.yaml: those of openstacksdk, and the checkout.

    The list duplicates openstacksdk's because its import takes two seconds; a test compares them.
    """
    import platformdirs

    user = platformdirs.PlatformDirs("openstack", "OpenStack", multipath=True)
    folders = [user.user_config_dir, str(Path("~/.config/openstack").expanduser())]
    folders += [*user.site_config_dir.split(os.pathsep), "/etc/openstack"]
    return [Path.cwd(), CHECKOUT, *map(Path, folders)]


def remove_foreign_variables(environ: MutableMapping[str, str]) -> Texts:
    """Remove variables of other projects: Celery's variables and a foreign settings module.

    Celery uses variables such as CELERY_BROKER_URL regardless of REDIS_URL, and its command line
    uses those in `FOREIGN`. Options on that command line still apply.

    Returns:
        The names of the Celery variables that were removed.
    """
    found = [name for name in environ if name.startswith("CELERY_") or name in FOREIGN]
    for name in found:
        del environ[name]
    package = environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0]
    if not (package.isidentifier() and (CHECKOUT / package).is_dir()):
        environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
    return sorted(found)


removed_variables = remove_foreign_variables(os.environ)
env = Environment(os.environ)
secret = env.secret
