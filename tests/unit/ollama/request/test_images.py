from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.errors import BadRequest
from ollama_proxy.ollama.request.images import check_image, image_part

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(40))).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(20)).decode()
WEBP = base64.b64encode(b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(20)).decode()


@pytest.mark.parametrize(
    ("image", "url"),
    [
        pytest.param(PNG, f"data:image/png;base64,{PNG}", id="png"),
        pytest.param(JPEG, f"data:image/jpeg;base64,{JPEG}", id="jpeg"),
        pytest.param(GIF, f"data:image/gif;base64,{GIF}", id="gif"),
        pytest.param(WEBP, f"data:image/webp;base64,{WEBP}", id="webp"),
        pytest.param(PNG[:10] + "\r\n" + PNG[10:], f"data:image/png;base64,{PNG}", id="line ends are skipped"),
        pytest.param(f"data:image/png;base64,{PNG}", f"data:image/png;base64,{PNG}", id="data URL"),
        pytest.param(f"data:image/jpg;base64,{JPEG}", f"data:image/jpeg;base64,{JPEG}", id="jpg is no type"),
        pytest.param(f"data:;base64,{WEBP}", f"data:image/webp;base64,{WEBP}", id="data URL without type"),
        pytest.param(f"data:image/gif;base64,{PNG}", f"data:image/png;base64,{PNG}", id="the bytes know better"),
        pytest.param("https://x.test/a.png", "https://x.test/a.png", id="https URL"),
        pytest.param("http://x.test/a.png", "http://x.test/a.png", id="http URL"),
    ],
)
def test_becomes_a_content_part(image: str, url: str) -> None:
    assert image_part(check_image(image)) == {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("image", "byte"),
    [
        ("aGk", 0),  # padding is required
        ("aGkaGkx", 4),
        ("a", 0),
        ("!", 0),
        ("aG!k", 2),
        ("file:///x", 4),
        ("a=bc", 1),
        ("aG=k", 2),
        ("aG=", 3),
        ("aGk=aGk=", 4),
        ("aGk=\n!", 5),
        ("aG\nk", 1),
        ("aGk ", 3),
        ("aGk-", 3),
        ("é", 0),
    ],
)
def test_corrupt_base64_is_reported_where_go_reports_it(image: str, byte: int) -> None:
    with pytest.raises(BadRequest) as caught:
        check_image(image)
    assert caught.value.message == f"illegal base64 data at input byte {byte}"


def test_a_data_url_is_checked_too() -> None:
    with pytest.raises(BadRequest, match="illegal base64 data at input byte 0"):
        check_image("data:image/png;base64,aGk")


@pytest.mark.parametrize("url", ["data:", "DATA:image/png,abc", "data:text/plain,hello", "data:image/png;base64"])
def test_a_data_url_that_is_not_base64_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="illegal base64 data at input byte 4"):
        check_image(url)


def test_an_unknown_type_is_refused_in_clear_words() -> None:
    with pytest.raises(BadRequest, match="unsupported image type: only PNG, JPEG, GIF and WEBP"):
        image_part(check_image(base64.b64encode(b"%PDF-1.7 and more").decode()))


@given(st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=4))
def test_whatever_was_encoded_is_taken_with_line_ends_anywhere(data: bytes, breaks: list[int]) -> None:
    text = base64.b64encode(data).decode()
    broken = text
    for place in breaks:
        broken = broken[:place] + "\n" + broken[place:]
    assert check_image(broken) == text
