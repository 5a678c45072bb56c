"""Commands that are operations of the HTTP API, run by whoever has a shell.

An operation's filters become options, so that page, API and command select the same rows and
refuse the same values.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.core.management.base import CommandError
from django.http import Http404, QueryDict

from backups.api.declare import QUERIES
from backups.api.problems import Invalid, NotNow
from backups.api.queries import CURSOR, LIMIT, MOST, USUAL_LIMIT, refuse_unknown
from backups.api.token import ApiRequest
from backups.serialize import Json
from backups.services.batches.making import BatchProblem
from backups.services.runs.requests import CannotCancel
from dashboard.accounts.access import RoleRequired
from dashboard.accounts.models import User
from dashboard.commands import DatabaseCommand, Exit, shell_user, usage_error
from dashboard.commands.arguments import number
from dashboard.commands.output import Column, document, json_line, table, width_of
from dashboard.tokens.models import ApiToken, Scope

_PLACES = {LIMIT["name"], CURSOR["name"], "older", "newer"}
_PREFIX = "filter_"  # Django's own options have names such as “version”


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: `view` takes the request and answers with a page."""

    help: str
    view: Callable[[ApiRequest], Json]
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Summary:
    """A document about everything that matches: `view` takes the request."""

    help: str
    view: Callable[[ApiRequest], Json]


@dataclass(frozen=True, slots=True)
class OfOne:
    """What is shown of one object, or done with it: `view` takes the request and its number.

    Attributes:
        done: what is said instead of the document, "" for the document.
    """

    help: str
    view: Callable[[ApiRequest, int], Json]
    done: str = ""


Operation = Listing | Summary | OfOne


class ResourceCommand(DatabaseCommand):
    """A command whose actions are operations.

    Attributes:
        resource: what an object is called, such as “run”.
        operations: by action; without an action if the only one is "".
    """

    resource: ClassVar[str]
    operations: ClassVar[Mapping[str, Operation]]

    def add_arguments(self, parser: ArgumentParser) -> None:
        if "" in self.operations:
            self._add(parser, self.operations[""])
            return
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, operation in self.operations.items():
            options: dict[str, Any] = {"help": operation.help, "description": operation.help}
            self._add(actions.add_parser(name, allow_abbrev=False, **options), operation)

    def _add(self, parser: ArgumentParser, operation: Operation) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
        if isinstance(operation, OfOne):
            parser.add_argument("key", metavar=self.resource.upper(), type=self.parse_key)
            return
        for parameter in _filters(operation.view):
            add_filter(parser, parameter)
        if isinstance(operation, Listing):
            parser.add_argument(
                "--limit",
                type=number,
                default=USUAL_LIMIT,
                help=f"maximum number of rows (default {USUAL_LIMIT})",
            )

    def parse_key(self, text: str) -> Any:
        """Parse what identifies an object. Raises ArgumentTypeError."""
        return number(text)

    def number_of(self, key: Any) -> int:
        """The number of an object. Raises CommandError."""
        found: int = key
        return found

    def handle(self, *args: Any, **options: Any) -> None:
        operation = self.operations[options.get("action", "")]
        try:
            self._run(operation, options)
        except Invalid as error:
            raise usage_of(error) from None
        except Http404:
            raise usage_error(f"no {self.resource} {options['key']}") from None
        except RoleRequired as error:
            raise usage_error(str(error)) from None
        except (NotNow, CannotCancel, BatchProblem) as error:
            raise CommandError(str(error), returncode=Exit.NOT_WELL) from None

    def _run(self, operation: Operation, options: dict[str, Any]) -> None:
        request = request_of(options)
        if isinstance(operation, Listing):
            self._list(operation, request, options["limit"], as_lines=options["json"])
            return
        if isinstance(operation, Summary):
            refuse_unknown(request, (each["name"] for each in _filters(operation.view)))
            found, done = operation.view(request), ""
        else:
            found = operation.view(request, self.number_of(options["key"]))
            done = operation.done
        if options["json"]:
            self.stdout.write(json_line(found))
        else:
            for line in [f"{done}: {options['key']}"] if done else document(found):
                self.stdout.write(line)

    def _list(self, listing: Listing, request: ApiRequest, limit: int, *, as_lines: bool) -> None:
        refuse_unknown(request, (each["name"] for each in _filters(listing.view)))
        width, shown, more = width_of(self.stdout), 0, False
        for page in _pages(listing.view, request, limit):
            rows: list[Json] = page["items"]  # type: ignore[assignment]
            if as_lines:
                lines = list(map(json_line, rows))
            else:  # the headings once
                lines = list(table(listing.columns, rows, width))[bool(shown) :]
            for line in lines:
                self.stdout.write(line)
            shown, more = shown + len(rows), page["next"] is not None
        if more:
            self.stderr.write(f"There are more than these {shown}: see --limit.")


def usage_of(error: Invalid) -> CommandError:
    """The error for values that the API would refuse."""
    found = [f"{name}: {text}" if name else text for name, text in error.errors]
    return usage_error("; ".join(found))


def request_of(options: Mapping[str, Any] | None = None) -> ApiRequest:
    """A request as of an account that may do everything, and that is stored nowhere.

    Args:
        options: of the command line; the filters among them are its query.
    """
    request = ApiRequest()
    request.method = "GET"
    request.user = User(username=shell_user(), is_superuser=True)
    request.auth = ApiToken(scope=Scope.MANAGE)  # not limited to projects
    query = QueryDict(mutable=True)
    for name, value in (options or {}).items():
        if name.startswith(_PREFIX) and value is not None:
            given = value if isinstance(value, list) else [value]
            query.setlist(name.removeprefix(_PREFIX), given)
    request.GET = query  # type: ignore[assignment]
    return request


def _pages(view: Callable[[ApiRequest], Json], request: ApiRequest, limit: int) -> Iterator[Json]:
    """The pages of a list, with `limit` rows in all."""
    left = limit
    while left > 0:
        query = request.GET.copy()
        query["limit"] = str(min(left, MOST))
        request.GET = query  # type: ignore[assignment]
        page = view(request)
        yield page
        if not page["next"]:
            return
        left -= len(page["items"])  # type: ignore[arg-type]
        request.GET = QueryDict(urlsplit(str(page["next"])).query)


def _filters(view: Callable[..., Any]) -> list[dict[str, Any]]:
    return [each for each in QUERIES.get(view, ()) if each["name"] not in _PLACES]


def add_filter(parser: ArgumentParser, parameter: Mapping[str, Any]) -> None:
    """Add an option for a filter. Its value is validated as the page and the API do."""
    name, schema = parameter["name"], parameter["schema"]
    several = schema["type"] == "array"
    words = (schema["items"] if several else schema).get("enum", ())
    text = parameter["description"]
    text += f": {', '.join(words)}" if words else ""
    text += " (can be repeated)" if several else ""
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        dest=f"{_PREFIX}{name}",
        action="append" if several else "store",
        metavar="VALUE",
        help=text.replace("%", "%%"),
    )
