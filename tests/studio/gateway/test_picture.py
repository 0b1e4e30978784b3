"""Pictures to begin a video with: what is kept of them, and what is refused before it can do harm."""

from __future__ import annotations

import base64
import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from rushes.studio.gateway.errors import ApiError
from rushes.studio.gateway.picture import fitted
from rushes.studio.jobs import cut_log, forget_prompts
from studio.gateway.parts import Gateway

GOOD = {"prompt": "a ball", "model": "LTX2"}
RED, BLUE = (250, 5, 5), (5, 5, 250)


def _file(kind: str = "PNG", size: tuple[int, int] = (200, 100), mode: str = "RGB", **options: Any) -> bytes:
    """Red above, blue below."""
    image = Image.new("RGB", size, RED)
    ImageDraw.Draw(image).rectangle((0, size[1] // 2, *size), fill=BLUE)
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def _opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def _claims(width: int, height: int) -> bytes:
    """A PNG whose header tells of many pixels and whose data, a few bytes, of as many zeros as one likes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _post(gateway: Gateway, file: bytes, **fields: str) -> Any:
    return gateway.client().post("/v1/videos", data=GOOD | fields, files={"input_reference": ("a.png", file)})


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's files are not the test's to read
def test_it_is_kept_encrypted_with_the_job_and_goes_with_it(gateway: Gateway, tmp_path: Path) -> None:
    video_id = _post(gateway, _file(), size="64x32").json()["id"]
    png = gateway.store.picture(video_id)
    assert png is not None
    image = _opened(png)
    assert (image.format, image.size, image.mode) == ("PNG", (64, 32), "RGB")
    assert (image.getpixel((32, 2)), image.getpixel((32, 29))) == (RED, BLUE)
    assert png[-40:] not in b"".join(path.read_bytes() for path in tmp_path.glob("studio.db*"))
    gateway.store.cancel(video_id)
    assert gateway.client().delete(f"/v1/videos/{video_id}").json()["deleted"]
    assert gateway.store.picture(video_id) is None


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's files are not the test's to read
@pytest.mark.parametrize("way", ["deleted", "forgotten"])
def test_what_is_gone_is_gone_from_the_disk(gateway: Gateway, tmp_path: Path, way: str) -> None:
    video_id = _post(gateway, _file()).json()["id"]
    engine = gateway.store.engine
    with engine.connect() as conn:
        query = sa.text("SELECT encrypted FROM job_pictures WHERE job_id = :id")
        kept = bytes(conn.execute(query, {"id": video_id}).scalar_one())

    def on_disk() -> bool:
        return any(kept[20:80] in path.read_bytes() for path in tmp_path.glob("studio.db*"))

    assert on_disk()
    gateway.store.cancel(video_id)
    if way == "deleted":
        gateway.store.delete(video_id)
    else:
        assert forget_prompts(engine, ended_before_ns=time.time_ns()) == 1
    assert gateway.store.picture(video_id) is None
    assert cut_log(engine)
    assert not on_disk()


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_the_official_client_sends_one(gateway: Gateway, address: str) -> None:
    with openai.OpenAI(base_url=address, api_key=gateway.secret, max_retries=0) as client:
        as_file = client.videos.create(
            prompt="x", model="LTX2", input_reference=("a.jpg", _file("JPEG"), "image/jpeg")
        )
    png = gateway.store.picture(as_file.id)
    assert png is not None
    assert _opened(png).size == (64, 48)


def test_json_carries_one_in_a_data_url(gateway: Gateway) -> None:
    url = f"data:image/webp;base64,{base64.b64encode(_file('WEBP', lossless=True)).decode()}"
    reply = gateway.client().post("/v1/videos", json=GOOD | {"input_reference": {"image_url": url}})
    png = gateway.store.picture(reply.json()["id"])
    assert png is not None
    assert _opened(png).size == (64, 48)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1", "LA"])
def test_every_kind_of_pixel_becomes_plain_colour(mode: str) -> None:
    assert _opened(fitted(_file(mode=mode), 64, 48)).mode == "RGB"


def test_sixteen_bits_become_eight() -> None:
    file = io.BytesIO()
    Image.new("I;16", (64, 64), 0x8000).save(file, "PNG")
    assert _opened(fitted(file.getvalue(), 16, 16)).getpixel((8, 8)) == (128, 128, 128)


def test_what_is_longer_is_cut_and_nothing_is_stretched() -> None:
    image = Image.new("RGB", (300, 100), RED)
    ImageDraw.Draw(image).rectangle((100, 0, 199, 99), fill=BLUE)
    file = io.BytesIO()
    image.save(file, "PNG")
    square = _opened(fitted(file.getvalue(), 50, 50))
    assert {square.getpixel((x, 25)) for x in (3, 25, 46)} == {BLUE}


def test_it_stands_upright_and_its_metadata_is_gone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees
    exif[0x010E] = "ibiscanary"
    png = fitted(_file("JPEG", size=(200, 100), exif=exif, comment=b"ibiscanary", quality=95), 50, 100)
    assert b"ibiscanary" not in png
    image = _opened(png)
    assert image.getexif() == {}
    left, right = image.getpixel((2, 50)), image.getpixel((47, 50))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[2] > 200  # below became left
    assert right[0] > 200


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (b"", "is none of PNG, JPEG, WEBP"),
        (b"no picture", "is none of PNG, JPEG, WEBP"),
        (_file("GIF"), "is none of PNG, JPEG, WEBP"),
        (_file("TIFF"), "is none of PNG, JPEG, WEBP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of PNG, JPEG, WEBP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is none of PNG, JPEG, WEBP"),
        (_file()[:-30], "can't be read"),
        (_file("JPEG")[:300], "can't be read"),
        (_claims(50_000, 50_000), "more than 24 million pixels"),
        (_claims(8_000, 8_000), "8000x8000 pixels; 8192 a side and 24 million in all"),
        (_claims(9_000, 1), "9000x1 pixels"),
        (b"x" * (10 << 20) + b"x", "10485761 bytes; at most 10485760"),
    ],
    ids=range(12),
)
def test_what_is_no_picture_is_refused(gateway: Gateway, file: bytes, told: str) -> None:
    response = _post(gateway, file)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "input_reference", "invalid_image")
    assert told in error["message"]
    assert gateway.store.waiting() == 0


def test_a_body_beyond_all_limits_is_refused(gateway: Gateway) -> None:
    assert _post(gateway, b"x" * (12 << 20)).status_code == 413


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/a.png",
        {"image_url": "https://example.com/a.png"},
        {"image_url": "http://169.254.169.254/latest"},
        {"image_url": "file:///etc/passwd"},
        {"image_url": "data:image/svg+xml;base64,AAAA"},
        {"image_url": "data:image/png;base64,AA"},
        {"image_url": "data:image/png;base64,====", "x": 1},
        {"image_url": 5},
        {"file_id": "file-1"},
        [1],
        True,
    ],
)
def test_nothing_is_fetched_from_elsewhere(gateway: Gateway, reference: Any) -> None:
    response = gateway.client().post("/v1/videos", json=GOOD | {"input_reference": reference})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "input_reference", "invalid_type")


def test_a_model_that_can_not_says_which_can(gateway: Gateway) -> None:
    error = _post(gateway, _file(), model="MOCHI1").json()["error"]
    assert error["message"] == "MOCHI1 can't begin a video with a picture; models that can: LTX2"
    models = gateway.client().get("/v1/models").json()["data"]
    assert {model["id"]: model["takes_input_reference"] for model in models} == {
        "LTX2": True,
        "MOCHI1": False,
    }


def test_a_repeat_knows_its_picture(gateway: Gateway) -> None:
    def post(file: bytes) -> Any:
        files = {"input_reference": ("a.png", file)}
        return gateway.client().post(
            "/v1/videos", data=GOOD, files=files, headers={"idempotency-key": "order"}
        )

    first = post(_file())
    assert post(_file()).json()["id"] == first.json()["id"]
    assert post(_file(size=(100, 100))).status_code == 422


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP"]),
    at=st.integers(0, 2000),
    damage=st.binary(min_size=1, max_size=12),
    cut=st.integers(0, 400),
)
def test_damaged_files_are_refused_or_read(kind: str, at: int, damage: bytes, cut: int) -> None:
    whole = _file(kind)
    at %= len(whole)
    try:
        png = fitted((whole[:at] + damage + whole[at + len(damage) :])[: len(whole) - cut], 32, 32)
    except ApiError:
        return
    assert _opened(png).size == (32, 32)
