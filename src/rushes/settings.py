"""Where settings come from: flags first, then `RUSHES_*` variables, then `rushes.toml`, then these defaults."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rushes.catalog import MODELS
from rushes.catalog import Tier as TierName

__all__ = ["Cost", "Scrape", "Settings", "SettingsError", "Tier", "Veo", "duration_s", "load"]

_DURATION = re.compile(r"(?P<count>\d+) ?(?P<unit>[smhdw])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_MAX_SIZE: Final = 10 << 30
_TOML: Final = "rushes.toml"
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_WEIGHTED: Final = tuple(name for name in MODELS if name != "VEO3")  # that one is an API


class SettingsError(ValueError):
    """A setting that can't be used; the text names it, its value and what would do."""


class Scrape(BaseModel):
    """Targets that are scraped: a `[[scrape]]` of rushes.toml. Times are in seconds."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)  # the label job
    urls: list[HttpUrl] = Field(min_length=1)
    interval: float = Field(15, ge=1, le=3600)
    timeout: float = Field(10, gt=0)
    bearer_token_file: Path | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_time(self) -> Scrape:
        if self.timeout > self.interval:
            raise ValueError(
                f"a timeout of {self.timeout} s is longer than the interval of {self.interval} s"
            )
        return self


class Veo(BaseModel):
    """VEO3, Google's model, by its API: configured by a key, or by a project with Google's default credentials."""

    model_config = ConfigDict(extra="forbid")

    api_key: SecretStr | None = None
    project: str | None = None
    location: str = "us-central1"
    vertex: bool = False  # the key is one of Vertex AI's, not of the Gemini Developer API's
    model: str | None = None  # Google's name of it
    url: str | None = None  # another base URL, such as a proxy's
    poll_s: float = Field(default=10.0, gt=0)
    timeout_s: float = Field(default=900.0, gt=0)

    @field_validator("api_key")
    @classmethod
    def _no_empty_key(cls, value: SecretStr | None) -> SecretStr | None:
        return (
            SecretStr(value.get_secret_value().strip())
            if value and value.get_secret_value().strip()
            else None
        )

    @field_validator("project", "model", "url")
    @classmethod
    def _no_empty_text(cls, value: str | None) -> str | None:
        return value.strip() or None if value else None

    @model_validator(mode="after")
    def _one_way_in(self) -> Veo:
        if self.api_key and self.project:
            raise ValueError("an API key and a project are two ways in; set one of them")
        return self

    @property
    def configured(self) -> bool:
        """Whether there is an account to use."""
        return self.api_key is not None or self.project is not None

    @property
    def on_vertex(self) -> bool:
        """Whether it is Vertex AI, which takes seeds, and not the Gemini Developer API."""
        return self.vertex or self.project is not None


class Cost(BaseModel):
    """What the platform pays and is paid, in US dollars: `[cost]` of rushes.toml. What is not set is not known."""

    model_config = ConfigDict(extra="forbid")

    gpu_usd_per_hour: dict[str, Price] = Field(default_factory=dict)  # by a part of the GPU's name
    cpu_usd_per_hour: Price | None = None  # of a worker that has no GPU
    provider_usd_per_second: Price | None = None  # of video that VEO3's provider made
    credit_usd: Price | None = None  # what a credit is sold for

    def of_gpu(self, name: str) -> float | None:
        """An hour of the GPU of this product name: the price of the longest part of it that has one."""
        parts = [part for part in self.gpu_usd_per_hour if part.lower() in name.lower()]
        return self.gpu_usd_per_hour[max(parts, key=len)] if parts else None


class Tier(BaseModel):
    """A tier's share of the workers and its limits: a `[tiers.premium]` of rushes.toml."""

    model_config = ConfigDict(extra="forbid")

    weight: float | None = Field(None, gt=0, le=1000)  # against the other tiers'
    max_queued: int | None = Field(None, ge=1)  # jobs that may wait before new ones are refused
    max_running: int | None = Field(None, ge=1)  # jobs that may be on workers at once
    time_limit_s: float | None = Field(None, gt=0)  # how long a job may be on a worker


class Settings(BaseSettings):
    """All settings of `rushes up` and of the processes that it starts."""

    model_config = SettingsConfigDict(
        env_prefix="RUSHES_", env_nested_delimiter="__", toml_file=_TOML, extra="forbid"
    )

    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("rushes")))
    config_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_config_dir("rushes")))
    host: str = "127.0.0.1"
    port: int = Field(8400, ge=0, le=65535)
    gateway_port: int = Field(8401, ge=0, le=65535)
    otlp_http_port: int = Field(4318, ge=0, le=65535)
    otlp_grpc_port: int = Field(4317, ge=0, le=65535)
    token: SecretStr | None = None
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = "INFO"

    # Control room
    retention: int = 7 * 86_400  # seconds, written as 7d, 36h
    max_size: ByteSize | None = None  # 0 for no limit; default 10 GiB in the data folder, none elsewhere
    store: str | None = None  # clickhouse://user@host:port/database?cluster=NAME; default: the data folder
    store_password: SecretStr | None = Field(None, exclude=True)  # children have it from where we have it
    store_password_file: Path | None = None
    scrape: list[Scrape] = Field(default_factory=list)
    media: str | None = None  # where the player finds videos; default: the studio's folder

    # Studio
    studio: bool = True
    workers: int = Field(1, ge=1, le=64)
    device: str = "auto"
    weights: dict[str, Path | None] = Field(default_factory=dict)
    jobs: str | None = None
    storage: str | None = None
    scratch: Path | None = None  # what passes between a video's workers; on several machines, a folder of all
    blocklist: Path | None = None
    price: int = Field(1, ge=0)  # credits a second of video
    prices: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)  # and for single models
    veo: Veo = Veo()
    cost: Cost = Cost()
    max_queue_depth: int = Field(1000, ge=1)
    keep_prompts: int | None = (
        None  # seconds after a video's end, written as 30d; default: as long as the video
    )
    webhooks_private: bool = False  # whether webhooks may go to addresses that are not public
    webhooks_retry_s: float = Field(
        5, gt=0
    )  # the first pause after a failed delivery; they double, up to 8 h
    webhooks_give_up_s: float = Field(
        72 * 3600, ge=0, allow_inf_nan=False
    )  # how long after a video's end its webhook is still sent
    tiers: dict[TierName, Tier] = Field(default_factory=dict)
    realtime_workers: int = Field(0, ge=0, le=64)  # generate workers that take realtime jobs only
    warm_patience_s: float = Field(
        20, ge=0, allow_inf_nan=False
    )  # how much younger a job may go first whose model is in memory
    max_retries: int = Field(2, ge=0, le=20)  # of a job that may go well another time
    model_memory_gib: float | None = Field(
        None, gt=0, allow_inf_nan=False
    )  # for models in a worker's memory; default: all are kept
    worker_lease_s: float = Field(15, ge=3)  # how long a worker may be silent before it counts as dead
    upsize: Literal["off", "nearest", "lanczos"] = (
        "lanczos"  # clips of less than 256 pixels a side, in their files
    )
    otlp_endpoint: str | None = None
    torch_threads: int | None = Field(None, ge=1)
    checkpoint_every: int = Field(10, ge=0)  # the loop is saved after every n-th denoising step; 0: never
    hung_after_s: float = Field(900, gt=0)  # seconds without a sign of work before a worker counts as hung
    sample_every: int = Field(5, ge=0)  # sub-modules are measured on every n-th denoising step; 0: never

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there are no .env files here
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - nor secret files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, variables, rushes.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("data_dir", "config_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if "?" in str(value):
            raise ValueError("the databases in it are opened by URL, so its path can't hold a question mark")
        return value.expanduser().absolute()

    @field_validator("scratch")
    @classmethod
    def _absolute_if_any(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @field_validator("retention", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> int:
        if value == cls.model_fields["retention"].default:
            return int(cls.model_fields["retention"].default)
        return duration_s(str(value))

    @field_validator("keep_prompts", mode="before")
    @classmethod
    def _seconds_if_any(cls, value: object) -> int | None:
        return None if value is None else duration_s(str(value))

    @field_serializer("retention", "keep_prompts")
    def _with_unit(self, value: int | None) -> str | None:
        return None if value is None else f"{value}s"

    @field_validator("token")
    @classmethod
    def _no_empty_token(cls, value: SecretStr | None) -> SecretStr | None:
        """An empty RUSHES_TOKEN is none: it must not pass for a token, nor open what one would guard."""
        return (
            SecretStr(value.get_secret_value().strip())
            if value and value.get_secret_value().strip()
            else None
        )

    @field_validator("weights")
    @classmethod
    def _upper(cls, value: dict[str, Path | None]) -> dict[str, Path | None]:
        for name in value:
            if name.upper() not in _WEIGHTED:
                raise ValueError(
                    f"there is no model {name!r} that takes weights; there are {', '.join(_WEIGHTED)}"
                )
        return {name.upper(): folder and folder.expanduser().absolute() for name, folder in value.items()}

    @field_validator("prices")
    @classmethod
    def _of_models(cls, value: dict[str, int]) -> dict[str, int]:
        """By the models' own names: a variable such as RUSHES_PRICES__LTX2 comes in small letters."""
        for name in value:
            if name.upper() not in MODELS:
                raise ValueError(f"there is no model {name!r}; there are {', '.join(MODELS)}")
        return {name.upper(): price for name, price in value.items()}

    @field_validator("tiers")
    @classmethod
    def _no_weight_for_realtime(cls, value: dict[TierName, Tier]) -> dict[TierName, Tier]:
        if (realtime := value.get("realtime")) and realtime.weight is not None:
            raise ValueError("realtime goes before all other tiers, so that a weight means nothing to it")
        return value

    @model_validator(mode="after")
    def _loopback_or_token(self) -> Settings:
        if not _is_loopback(self.host) and self.token is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines and no token is set; "
                "set RUSHES_TOKEN, or keep to 127.0.0.1"
            )
        return self

    @property
    def telemetry_dir(self) -> Path:
        """The folder of the embedded store."""
        return self.data_dir / "telemetry"

    @property
    def max_bytes(self) -> int | None:
        """What the store's tables may take together; None for no limit."""
        if self.max_size is None:  # a database of somebody's own may be as large as they made it
            return _MAX_SIZE if self.store is None else None
        return int(self.max_size) or None

    @property
    def telemetry_endpoint(self) -> str | None:
        """Where the studio's processes send telemetry: what is set, or what OpenTelemetry's variables say, or the
        control room on this machine.
        """
        if self.otlp_endpoint or any(
            n.startswith("OTEL_EXPORTER_OTLP") and n.endswith("ENDPOINT") for n in os.environ
        ):
            return self.otlp_endpoint
        return f"http://127.0.0.1:{self.otlp_http_port}"

    @property
    def jobs_url(self) -> str:
        """The database of jobs, keys and the queue."""
        return self.jobs or f"sqlite:///{self.data_dir / 'studio.db'}"

    @property
    def storage_url(self) -> str:
        """Where videos are stored: a folder or an object store's URL."""
        return self.storage or str(self.data_dir / "videos")

    @property
    def media_url(self) -> str:
        """Where the control room's player finds videos."""
        return self.media or self.storage_url

    @property
    def workers_dir(self) -> Path:
        """The workers' lock files."""
        return self.data_dir / "workers"

    @property
    def models_dir(self) -> Path:
        """The small checkpoints, built on first use."""
        return self.data_dir / "models"

    @property
    def scratch_dir(self) -> Path:
        """What passes between the workers of a job; removed at its end, however it ended."""
        return self.scratch or self.data_dir / "scratch"

    @property
    def local_file(self) -> Path:
        """What `rushes up` tells scripts about itself."""
        return self.data_dir / "local.json"


def duration_s(text: str) -> int:
    """The seconds of a time written as 7d, 36h, 90m or 30s. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or int(found["count"]) == 0:
        raise ValueError("must be a number with a unit, such as 7d, 36h or 90m")
    return int(found["count"]) * _UNITS_S[found["unit"]]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _may_be_quoted(where: tuple[int | str, ...]) -> bool:
    """Whether a setting's value may stand in an error: not a secret's, nor that of what holds one."""
    if not where or where[0] in {"token", "store", "store_password"}:
        return False
    return where not in {("veo",), ("veo", "api_key")}


def load(**flags: Any) -> Settings:
    """The settings, with flags that were given (not None) above everything else.

    Raises:
        SettingsError: a value does not do, wherever it came from.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg'].removeprefix('Value error, ')}"
            + (f" (got {e['input']!r})" if _may_be_quoted(e["loc"]) else "")
            for e in error.errors()
        )
        raise SettingsError(problems) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{_TOML} in {Path.cwd()} is no TOML: {error}") from None
