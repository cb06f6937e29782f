"""A multimodal model behind an OpenAI-compatible address that the user names: questions out, JSON answers in.

Nothing is sent anywhere unless an address was given, and no picture unless that was allowed as well.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import AnnotatorError, SettingError, printable

KEY = "WHYRAY_ANNOTATOR_KEY"  # environment variable: a key on the command line would be read by others
MOST_BYTES = 1 << 20  # of an answer
ATTEMPTS = 5
LONGEST_WAIT = 60.0
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
IMAGE_TOKENS = 1000  # estimate of one picture, until the server says what it counted
ANSWER_TOKENS = 120


class BudgetSpent(AnnotatorError):
    """The next question would exceed the budget; what was answered is kept."""


class NoAnswer(AnnotatorError):
    """The annotator gave no usable answer to one question, after all attempts."""


class Refused(AnnotatorError):
    """The address, the key or the model was refused: asking again would not help."""


@dataclass(frozen=True)
class Annotator:
    """Which model, where, and what may be sent.

    url       base address, such as https://host/v1; "/chat/completions" is added.
    pictures  True only where the user allowed pictures to be sent.
    timeout   seconds for one answer; ``wait``: seconds before the second attempt, doubled for each further one.
    """

    url: str
    model: str = "default"
    pictures: bool = False
    timeout: float = 60.0
    wait: float = 1.0

    def __post_init__(self) -> None:
        if not _base_address(self.url):
            raise SettingError(f"the annotator {printable(self.url)!r:.80} came; give a base address: https://host/v1")
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not _near(parts.hostname or ""):
            raise SettingError(f"http://{parts.hostname} would send case facts in the clear; use https")

    @property
    def endpoint(self) -> str:
        """Where questions go."""
        return self.url.rstrip("/") + "/chat/completions"


@dataclass
class Budget:
    """Requests and tokens that may be used, and those that were. Every attempt counts, failed ones too."""

    requests: int
    tokens: int
    used_requests: int = 0
    used_tokens: int = 0

    def reserve(self, tokens: int) -> None:
        """Count a request that may cost so many tokens. Raises BudgetSpent where it would exceed the budget."""
        if self.used_requests + 1 > self.requests or self.used_tokens + tokens > self.tokens:
            raise BudgetSpent(
                f"the budget is spent ({self.used_requests} of {self.requests} requests, {self.used_tokens} of "
                f"{self.tokens} tokens); names so far are kept, raise --most-requests or --most-tokens to go on"
            )
        self.used_requests += 1
        self.used_tokens += tokens

    def settle(self, reserved: int, counted: int) -> None:
        """Put what the server counted in the place of the estimate."""
        self.used_tokens += counted - reserved


@dataclass(frozen=True)
class Part:
    """A piece of a question: words, and a PNG where there is one."""

    text: str
    png: bytes | None = field(default=None, repr=False)


def ask(
    annotator: Annotator,
    parts: Sequence[Part],
    budget: Budget,
    usable: Callable[[Mapping[str, Any]], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, Any]:
    """The JSON object that answers a question, once ``usable`` says so.

    Busy or failing servers, timeouts and answers of another shape are asked again, up to five times in all.
    Raises NoAnswer after that, Refused for what asking again cannot change, BudgetSpent before the budget is exceeded.
    """
    body, estimate = _body(annotator, parts)
    trouble = ""
    for attempt in range(ATTEMPTS):
        budget.reserve(estimate)
        pause = min(LONGEST_WAIT, annotator.wait * 2**attempt)
        try:
            answer = _post(annotator, body)
        except urllib.error.HTTPError as error:
            with error:
                trouble = f"status {error.code}"
                if error.code not in AGAIN:
                    raise Refused(f"the annotator answered {trouble}; check its address, model and ${KEY}") from None
                pause = min(LONGEST_WAIT, max(pause, _seconds(error.headers.get("Retry-After"))))
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            trouble = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
        else:
            budget.settle(estimate, _tokens(answer, estimate))
            said = _object(answer)
            if said is not None and usable(said):
                return said
            trouble = "an answer of another shape"
        if attempt + 1 < ATTEMPTS:
            sleep(pause)
    raise NoAnswer(f"the annotator gave no usable answer in {ATTEMPTS} attempts (last: {trouble}); try again later")


def _body(annotator: Annotator, parts: Sequence[Part]) -> tuple[bytes, int]:
    """(the request, the tokens it may cost). Raises SettingError for a picture that may not be sent."""
    content: list[dict[str, Any]] = []
    for part in parts:
        if part.text:
            content.append({"type": "text", "text": part.text})
        if part.png is not None:
            if not annotator.pictures:
                raise SettingError("a picture was about to be sent without consent; allow it with --send-images")
            data = "data:image/png;base64," + base64.b64encode(part.png).decode()
            content.append({"type": "image_url", "image_url": {"url": data}})
    question = {
        "model": annotator.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS,
    }
    words = sum(len(part.text) for part in parts) // 3  # a token is three characters or more, as a rule
    pictures = sum(part.png is not None for part in parts)
    return json.dumps(question).encode(), words + IMAGE_TOKENS * pictures + ANSWER_TOKENS


def _post(annotator: Annotator, body: bytes) -> Any:
    """What the server answers, as JSON. A redirect is not followed: the key and the case are for this address only."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key := os.environ.get(KEY, ""):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(annotator.endpoint, body, headers, method="POST")  # the scheme was checked
    with urllib.request.build_opener(_Stay).open(request, timeout=annotator.timeout) as answer:
        data = answer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError("too much")
    return json.loads(data)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


def _object(answer: Any) -> Mapping[str, Any] | None:
    """The JSON object in the first choice's text: all of it, or between its first { and last }."""
    try:
        text = str(answer["choices"][0]["message"]["content"])
        said = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _tokens(answer: Any, estimate: int) -> int:
    """What the server counted, else the estimate."""
    try:
        counted = answer["usage"]["total_tokens"]
    except (KeyError, TypeError):
        return estimate
    return counted if type(counted) is int and counted >= 0 else estimate


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0


def _base_address(url: str) -> bool:
    """Whether an address can be asked: a scheme, a host, a port where there is one, a path, and nothing else."""
    try:
        parts = urlsplit(url)
        named = bool((parts.hostname or "").encode("idna")) and parts.port != 0  # each is read here, or cannot be
    except ValueError:
        return False
    plain = url.isprintable() and parts.path.isascii() and "@" not in parts.netloc and not set(url) & set(" ?#")
    return named and plain and parts.scheme in ("http", "https")


def _near(host: str) -> bool:
    """Whether a host is this machine or an address of a private network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost"
