"""The picture that a video is to begin with: anybody's file, looked at with care, made a plain PNG of the video's size.

What is kept of it are its pixels: not its metadata, nor its name. Only a few are opened at a time, since a small file
can be a large picture.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import threading
import warnings
from contextlib import suppress
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from rushes.studio.gateway.errors import ApiError, bad_value

FILE_LIMIT: Final = 10 << 20
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_LARGEST_SIDE: Final = 8192
_MOST_PIXELS: Final = 24_000_000
_AT_ONCE: Final = threading.BoundedSemaphore(2)
_DATA_URL: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,([A-Za-z0-9+/]+={0,2})")
_FIELD: Final = "input_reference"


def reference(value: object) -> bytes:
    """The file in the field `input_reference`: a form's file, or `{"image_url": "data:..."}`.

    Raises:
        ApiError: it is neither; 400.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and value.keys() == {"image_url"} and isinstance(value["image_url"], str):
        match = _DATA_URL.fullmatch(value["image_url"])
        with suppress(binascii.Error):
            if match is not None:
                return base64.b64decode(match[1], validate=True)
    raise bad_value(
        _FIELD,
        "input_reference must be a file in a form, or {'image_url': 'data:image/png;base64,...'}; "
        "nothing is fetched from elsewhere",
        code="invalid_type",
    )


def fitted(file: bytes, width: int, height: int) -> bytes:
    """The picture as a PNG of that size: scaled until it covers it, and cut at its longer sides.

    Raises:
        ApiError: it is no picture that is taken; 400.
    """
    if len(file) > FILE_LIMIT:
        raise _refused(f"the picture has {len(file)} bytes; at most {FILE_LIMIT} are taken")
    with _AT_ONCE, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what is checked here
        try:
            with Image.open(io.BytesIO(file), formats=_FORMATS) as image:
                _check(image)
                whole = ImageOps.fit(_upright(image), (width, height), Image.Resampling.LANCZOS)
        except ApiError:
            raise
        except Image.DecompressionBombError:
            raise _refused(f"the picture has more than {_MOST_PIXELS // 1_000_000} million pixels") from None
        except UnidentifiedImageError:
            raise _refused(f"the picture is none of {', '.join(_FORMATS)}") from None
        except Exception as error:  # noqa: BLE001 - decoders raise what they like, and it quotes the file
            raise _refused(f"the picture can't be read ({type(error).__name__})") from None
        png = io.BytesIO()
        whole.save(png, "PNG")
    return png.getvalue()


def _check(image: Image.Image) -> None:
    """Before a pixel of it is decoded."""
    width, height = image.size
    if max(width, height) > _LARGEST_SIDE or width * height > _MOST_PIXELS:
        raise _refused(
            f"the picture has {width}x{height} pixels; {_LARGEST_SIDE} a side and "
            f"{_MOST_PIXELS // 1_000_000} million in all are taken"
        )


def _upright(image: Image.Image) -> Image.Image:
    """Its first frame as its camera meant it, on black where it is transparent."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8 instead of scaling
        turned = turned.convert("I").point(lambda grey: grey * (1 / 256)).convert("L")
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    layers = turned.convert("RGBA")
    ground = Image.new("RGBA", layers.size, (0, 0, 0, 255))
    return Image.alpha_composite(ground, layers).convert("RGB")


def _refused(message: str) -> ApiError:
    return bad_value(_FIELD, message, code="invalid_image")
