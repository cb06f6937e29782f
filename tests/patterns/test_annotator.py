"""The annotator against a real HTTP server on this machine that speaks the protocol, and misbehaves as servers do."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from annotator_server import Reply, Server, said

from whyray.errors import AnnotatorError, SettingError
from whyray.patterns.annotator import ATTEMPTS, KEY, Annotator, Budget, BudgetSpent, NoAnswer, Part, Refused, ask


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    open_ones: list[Server] = []

    def start(*replies: Reply | Callable[[dict[str, Any]], Reply]) -> Server:
        open_ones.append(Server(list(replies)))
        return open_ones[-1]

    yield start
    for server in open_ones:
        server.close()


def asked(
    server: Server, *parts: Part, budget: Budget | None = None, waits: list[float] | None = None, **more: Any
) -> Any:
    annotator = Annotator(server.url, "some-model", **more)
    sleep = (waits if waits is not None else []).append
    return ask(annotator, parts or [Part("?")], budget or Budget(100, 100_000), lambda o: "name" in o, sleep)


def test_a_question_has_the_shape_of_the_protocol(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "secret-7")
    server = serve(said('Sure. {"name": "tube"} I hope this helps.'))
    assert asked(server, Part("what?"), Part("case", b"PNG"), pictures=True) == {"name": "tube"}
    (question,) = server.asked
    assert server.paths == ["/v1/chat/completions"] and question["model"] == "some-model"
    assert server.headers[0]["Authorization"] == "Bearer secret-7"
    (message,) = question["messages"]
    assert message["role"] == "user" and [c["type"] for c in message["content"]] == ["text", "text", "image_url"]
    head, _, data = message["content"][2]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64" and base64.b64decode(data) == b"PNG"


def test_no_picture_leaves_without_consent(serve: Callable[..., Server]) -> None:
    server = serve(said('{"name": "tube"}'))
    budget = Budget(10, 10_000)
    with pytest.raises(SettingError, match="--send-images"):
        asked(server, Part("case", b"PNG"), budget=budget)
    assert server.asked == [] and budget.used_requests == 0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_and_failing_servers_are_asked_again(serve: Callable[..., Server], status: int) -> None:
    server = serve((status, {"Retry-After": "7"}, b"busy"), (status, {}, b""), said('{"name": "tube"}'))
    waits: list[float] = []
    assert asked(server, waits=waits) == {"name": "tube"}
    assert waits == [7.0, 2.0], "what the server asks for, then our own doubled pause"


@pytest.mark.parametrize(
    "reply",
    [
        (200, {}, b"<html>gateway</html>"),
        (200, {}, b"[]"),
        (200, {}, b"{}"),
        (200, {}, b"\xff\xfe\x00"),
        (200, {}, b"x" * (1 << 20) + b"x"),
        said("I would rather not say."),
        said('{"title": "tube"}'),
        said('{"name": '),
        said("[1, 2]"),
        (200, {}, b"[" * 100_000),
        said('{"name":' * 100_000 + "}"),
    ],
    ids=["html", "list", "empty", "bytes", "endless", "prose", "other key", "cut", "no object", "deep", "deep text"],
)
def test_garbage_is_asked_again_and_given_up_in_the_end(serve: Callable[..., Server], reply: Reply) -> None:
    server = serve(reply, said('{"name": "tube"}'))
    assert asked(server) == {"name": "tube"} and len(server.asked) == 2
    stubborn = serve(reply)
    waits: list[float] = []
    with pytest.raises(NoAnswer, match=f"in {ATTEMPTS} attempts"):
        asked(stubborn, waits=waits)
    assert len(stubborn.asked) == ATTEMPTS and waits == [1, 2, 4, 8]


def test_a_server_that_hangs_is_a_timeout(serve: Callable[..., Server]) -> None:
    def late(_question: dict[str, Any]) -> Reply:
        time.sleep(0.5)
        return said('{"name": "late"}')

    server = serve(late, said('{"name": "tube"}'))
    assert asked(server, timeout=0.1) == {"name": "tube"}


def test_nobody_there_is_given_up(serve: Callable[..., Server]) -> None:
    server = serve(said("{}"))
    server.http.server_close()
    with pytest.raises(NoAnswer, match="no usable answer"):
        asked(server)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 301, 307])
def test_a_refusal_is_final_and_a_redirect_is_not_followed(serve: Callable[..., Server], status: int) -> None:
    elsewhere = serve(said('{"name": "tube"}'))
    server = serve((status, {"Location": elsewhere.url + "/chat/completions"}, b"no"))
    with pytest.raises(Refused, match=f"status {status}; check its address, model and .{KEY}"):
        asked(server)
    assert len(server.asked) == 1 and elsewhere.asked == []


def test_the_budget_of_requests_counts_every_attempt(serve: Callable[..., Server]) -> None:
    server = serve((500, {}, b""))
    budget = Budget(3, 100_000)
    with pytest.raises(BudgetSpent, match="3 of 3 requests"):
        asked(server, budget=budget)
    assert len(server.asked) == 3


def test_the_budget_of_tokens_stops_the_next_question(serve: Callable[..., Server]) -> None:
    server = serve(said('{"name": "tube"}', tokens=400))
    budget = Budget(100, 1000)
    for _ in range(2):
        asked(server, budget=budget)
    assert budget.used_tokens == 800, "what the server counted"
    asked(server, budget=budget)  # 121 were estimated, which fits; 400 were used
    with pytest.raises(BudgetSpent):
        asked(server, budget=budget)
    assert len(server.asked) == 3
    quiet = serve(said('{"name": "tube"}', tokens=None))
    spent = Budget(100, 10_000)
    asked(quiet, Part("x" * 300), Part("", b"PNG"), budget=spent, pictures=True)
    assert spent.used_tokens == 100 + 1000 + 120, "the estimate, where the server does not count"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/v1",
        "file:///etc/passwd",
        "host/v1",
        "https://user:pw@h/v1",
        "https://h/v1?k=1",
        "https://h/v1?",
        "https://h/v1#part",
        "https://@h/v1",
        "https://host:abc/v1",
        "https://host:99999/v1",
        "https://host:0/v1",
        "https://[::1/v1",
        "https://a..b/v1",
        "https://h/v 1",
        "https://h/v1\n",
        "https://h/modèle",
        "",
    ],
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(SettingError, match="give a base address"):
        Annotator(url)


def test_in_the_clear_only_to_this_machine_or_a_private_network() -> None:
    with pytest.raises(SettingError, match="use https"):
        Annotator("http://models.example.org/v1")
    for url in (
        "http://localhost:8000/v1",
        "http://127.0.0.1/v1",
        "http://10.1.2.3/v1",
        "http://[::1]:8000/v1",
        "https://models.example.org/v1/",
    ):
        assert Annotator(url).endpoint.endswith("/v1/chat/completions")


def test_its_errors_are_one_kind() -> None:
    assert all(issubclass(e, AnnotatorError) for e in (BudgetSpent, NoAnswer, Refused))
