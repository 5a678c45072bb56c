"""A list is read to its end, whatever the server makes of the paging parameters."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest

from backups.css_api.errors import ApiError
from backups.css_api.pages import IncompleteList, read_list
from backups.css_api.parse import ListPage
from backups.css_api.types import Answer


class Endpoint:
    """A list of numbers behind the paging parameters of one kind of server."""

    def __init__(
        self,
        size: int,
        *,
        names: tuple[str, ...] = ("start", "offset"),
        total: bool = True,
        most: int = 1000,
        last_start: int = 10**9,
        honours_limit: bool = True,
        before: Callable[[Endpoint], None] = lambda endpoint: None,
    ) -> None:
        self.items = [f"c{n}" for n in range(size)]
        self.names = names
        self.total = total
        self.most = most
        self.last_start = last_start
        self.honours_limit = honours_limit
        self.before = before
        self.asked: list[str] = []

    def __call__(self, query: str) -> ListPage[str]:
        self.before(self)
        self.asked.append(query)
        given = dict(parse_qsl(query))
        start = next((int(given[name]) for name in self.names if name in given), 1)
        if start > self.last_start:
            raise ApiError(Answer("GET", "/", 400))
        limit = min(int(given["limit"]), self.most) if self.honours_limit else 10
        rows = tuple(self.items[start - 1 : start - 1 + limit])
        return ListPage(rows, len(self.items) if self.total else None)


def read(endpoint: Endpoint) -> list[str]:
    return read_list(endpoint, key=lambda row: row)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 1999, 2000, 2345])
@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("names", [("start", "offset"), ("start",), ("offset",)])
def test_a_list_of_any_length_is_read_whole(size: int, total: bool, names: tuple[str, ...]) -> None:
    endpoint = Endpoint(size, total=total, names=names)
    assert read(endpoint) == endpoint.items


def test_a_short_list_takes_one_request() -> None:
    for total in (True, False):
        endpoint = Endpoint(7, total=total)
        read(endpoint)
        assert endpoint.asked == ["limit=100"]


def test_start_stays_in_the_documented_range_up_to_1999_rows() -> None:
    endpoint = Endpoint(1999, last_start=1000)
    assert read(endpoint) == endpoint.items
    assert len(endpoint.asked) == 11


def test_past_the_documented_range_a_refusal_is_an_error_and_not_a_short_list() -> None:
    with pytest.raises(ApiError):
        read(Endpoint(2500, last_start=1000))


def test_start_and_offset_are_never_sent_together() -> None:
    endpoint = Endpoint(250, names=("offset",))
    read(endpoint)
    assert not [query for query in endpoint.asked if "start=" in query and "offset=" in query]
    assert endpoint.asked[1] == "start=101&limit=100"
    assert endpoint.asked[2] == "offset=101&limit=100"


@pytest.mark.parametrize("total", [True, False])
def test_a_server_that_always_gives_the_same_full_page_is_an_error(total: bool) -> None:
    endpoint = Endpoint(250, names=(), total=total)
    with pytest.raises(IncompleteList):
        read(endpoint)
    assert len(endpoint.asked) == 3


def test_a_server_that_gives_fewer_rows_than_asked_is_followed_to_the_end() -> None:
    for endpoint in (Endpoint(250, most=20), Endpoint(35, total=False, honours_limit=False)):
        assert read(endpoint) == endpoint.items


def test_a_total_that_is_never_reached_is_an_error() -> None:
    endpoint = Endpoint(150)
    short = Endpoint(120)

    def fetch(query: str) -> ListPage[str]:
        return ListPage(short(query).rows, endpoint(query).total)

    with pytest.raises(IncompleteList, match="totalSize is 150, but only 120"):
        read_list(fetch, key=lambda row: row)


def test_ten_rows_without_a_total_and_no_next_page_are_the_whole_list() -> None:
    endpoint = Endpoint(10, total=False, last_start=1)
    assert read(endpoint) == endpoint.items


def test_a_list_that_changes_while_it_is_read_is_read_again() -> None:
    def remove_one(endpoint: Endpoint) -> None:
        if len(endpoint.asked) == 1:
            endpoint.items.pop(0)

    endpoint = Endpoint(150, before=remove_one)
    assert read(endpoint) == endpoint.items


def test_a_list_that_never_stands_still_is_an_error() -> None:
    with pytest.raises(IncompleteList, match="changed"):
        read(Endpoint(150, before=lambda endpoint: endpoint.items.pop(0)))  # type: ignore[arg-type]


def test_rows_that_come_twice_count_once() -> None:
    def fetch(query: str) -> ListPage[str]:
        return ListPage(("a", "b", "a"), 2)

    assert read_list(fetch, key=lambda row: row) == ["a", "b"]


def test_reading_stops_when_it_is_enough() -> None:
    endpoint = Endpoint(500)
    rows = read_list(endpoint, key=lambda row: row, enough=lambda rows: len(rows) >= 150)
    assert (len(rows), len(endpoint.asked)) == (200, 2)
