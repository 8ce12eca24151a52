"""ops.commands.log: a log that is watched tells each request once."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.ops.commands.log import News
from ollama_proxy.ops.status.request_states import MOST_OF_LOG


class Log:
    """A log with requests that end a second apart; their ids are their numbers. Notes how many each page has."""

    def __init__(self, *ended: int) -> None:
        self.ended = list(ended)
        self.pages: list[int] = []

    def page(self, limit: int, before: float | None) -> dict[str, Any]:
        older = [one for one in sorted(self.ended, reverse=True) if before is None or one < before]
        found = older[:limit]
        self.pages.append(limit)
        requests = [{"id": str(one), "ended_at": f"{one:09}"} for one in found]
        return {"requests": requests, "next": float(found[-1]) if len(found) == limit else None}


def told(news: News) -> list[int]:
    return [int(one["id"]) for one in news.look()]


def test_the_first_look_tells_as_many_as_are_asked_for_and_the_next_what_is_new() -> None:
    log = Log(*range(300))
    news = News(log.page, 20)
    assert told(news) == list(range(280, 300))
    assert told(news) == []
    log.ended += [300, 301]
    assert told(news) == [300, 301]
    assert told(news) == []
    assert log.pages == [News.AT_LEAST] * 4


@pytest.mark.parametrize("new", [News.AT_LEAST, News.AT_LEAST + 1, News.AT_LEAST + 2 * MOST_OF_LOG + 7])
@pytest.mark.parametrize("old", [0, 5, 2000])
def test_none_is_lost_of_many(old: int, new: int) -> None:
    log = Log(*range(old))
    news = News(log.page, 20)
    assert told(news) == list(range(old))[-20:]
    log.ended += range(old, old + new)
    assert told(news) == list(range(old, old + new))
    assert told(news) == []


def test_a_request_that_is_written_late_is_told() -> None:
    log = Log(*range(0, 200, 2))
    news = News(log.page, 20)
    told(news)
    log.ended += [200, 177]
    assert told(news) == [177, 200]
    assert told(news) == []


def test_a_look_is_bounded_and_keeps_no_more_than_it_saw() -> None:
    log = Log(*range(10))
    news = News(log.page, 20)
    told(news)
    log.ended = list(range(1000, 101_000))
    most = News.AT_LEAST + News.MOST_PAGES * MOST_OF_LOG
    assert told(news) == list(range(101_000 - most, 101_000))
    assert len(log.pages) == 2 + News.MOST_PAGES
    assert told(news) == []
    assert len(news._known) == News.AT_LEAST


def test_older_ones_are_not_news_where_newer_ones_are_removed() -> None:
    log = Log(*range(300))
    news = News(log.page, 20)
    told(news)
    log.ended = list(range(250))
    assert told(news) == []
    log.ended = []
    assert told(news) == []
    log.ended = [400]
    assert told(news) == [400]


def test_what_a_look_could_not_tell_is_told_by_the_next() -> None:
    log = Log(1)
    news = News(log.page, 20)
    assert told(news) == [1]
    log.ended += range(2, 200)
    real = news._page
    news._page = lambda _, before: log.page(100, None) if before is None else {}
    with pytest.raises(KeyError):
        news.look()
    news._page = real
    assert told(news) == list(range(2, 200))
