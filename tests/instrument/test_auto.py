"""RUSHES_AUTO=1 in real processes: scripts that nobody touched, and Python starts that nothing may break."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from rushes.studio.models import small
from stock_collector import collecting

PTH = Path(__file__).parents[2] / "src" / "rushes_auto.pth"

SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
from diffusers import LattePipeline
pipe = LattePipeline.from_pretrained(sys.argv[1])
pipe.set_progress_bar_config(disable=True)
pipe("a cat", video_length=16, height=32, width=32, num_inference_steps=3, clean_caption=False)
print(sorted({name.split(".")[0] for name in sys.modules} & {"rushes", "_rushes_auto", "opentelemetry"}))
"""


def _python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUSHES_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_script_is_instrumented_by_one_variable_and_a_stock_collector_gets_the_tree(
    checkpoints: Path,
) -> None:
    folder = str(small.build("OPENSORA", checkpoints))
    with collecting() as collector:
        done = _python(
            "-c",
            SCRIPT,
            folder,
            RUSHES_AUTO="1",
            RUSHES_REPORT="1",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_SERVICE_NAME="somebodys-script",
        )
    assert done.returncode == 0, done.stderr
    assert "'rushes'" in done.stdout
    assert "Where the time of Latte went" in done.stderr
    assert collector.services == {"somebodys-script"}
    assert {
        ("video_generation_request", None),
        ("prompt_processing", "video_generation_request"),
        ("text_encoder.t5xxl", "prompt_processing"),
        ("dit_inference", "video_generation_request"),
        ("denoising_loop", "dit_inference"),
        ("step_1", "denoising_loop"),
        ("step_3", "denoising_loop"),
        ("spatial_attn", "step_2"),
        ("temporal_attn", "step_2"),
        ("vae_decode", "video_generation_request"),
    } <= collector.tree()
    assert len({span.trace_id for span in collector.spans}) == 1
    assert "dit_inference_step_duration_ms" in collector.metrics


def test_without_the_variable_nothing_of_it_is_imported(checkpoints: Path) -> None:
    folder = str(small.build("OPENSORA", checkpoints))
    done = _python("-c", SCRIPT, folder, RUSHES_REPORT="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert "Where the time" not in done.stderr


def test_a_program_without_diffusers_pays_next_to_nothing() -> None:
    done = _python(
        "-c", "import sys; print('_rushes_auto' in sys.modules, 'rushes' in sys.modules)", RUSHES_AUTO="1"
    )
    assert (done.stdout, done.stderr) == ("True False\n", "")


def test_this_environment_has_it() -> None:
    installed = Path(sysconfig.get_paths()["purelib"], PTH.name)
    assert installed.read_text() == PTH.read_text(), "install again: make setup"
    assert len(PTH.read_text().splitlines()) == 1


@pytest.mark.parametrize("broken", ["rushes", "_rushes_auto"])
def test_whatever_is_broken_python_starts_and_one_line_says_so(tmp_path: Path, broken: str) -> None:
    (tmp_path / "diffusers.py").write_text("")
    (tmp_path / f"{broken}.py").write_text("raise RuntimeError('half installed')")
    code = f"exec({PTH.read_text()!r}); import diffusers; print('runs')"
    # Without site, as the environment's own .pth would have imported the module that works.
    paths = os.pathsep.join((str(tmp_path), str(PTH.parent)))
    done = _python("-S", "-c", code, RUSHES_AUTO="true", PYTHONPATH=paths)
    assert done.stdout == "runs\n"
    assert done.stderr == "rushes: RUSHES_AUTO has no effect: RuntimeError: half installed\n"


def test_a_pipeline_that_can_not_be_instrumented_is_made_all_the_same(checkpoints: Path) -> None:
    folder = str(small.build("OPENSORA", checkpoints))
    break_it = "from importlib import import_module\nauto = import_module('rushes.instrument.auto')\n"
    break_it += "auto.instrument = lambda pipe: 1 / 0\n"
    done = _python("-c", break_it + SCRIPT, folder, RUSHES_AUTO="1")
    assert done.returncode == 0, done.stderr
    assert "'rushes'" in done.stdout
    assert "rushes: LattePipeline is not instrumented: ZeroDivisionError: division by zero\n" in done.stderr


def test_opentelemetrys_loader_finds_the_instrumentor() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="rushes")
    instrumentor = found.load()()
    assert instrumentor.instrumentation_dependencies() == ("diffusers >= 0.35",)
    assert callable(instrumentor.instrument)


@pytest.mark.parametrize("said", ["", "0", "1"])
def test_opentelemetrys_own_tool_instruments_a_script(said: str, checkpoints: Path) -> None:
    """With its own providers and exporters; RUSHES_AUTO turns ours off, or does nothing a second time."""
    folder = str(small.build("OPENSORA", checkpoints))
    with collecting() as collector:
        done = _python(
            str(Path(sys.executable).with_name("opentelemetry-instrument")),
            sys.executable,
            "-c",
            SCRIPT,
            folder,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_LOGS_EXPORTER="none",
            OTEL_SERVICE_NAME="somebodys-script",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="httpx,requests",
            **({"RUSHES_AUTO": said} if said else {}),
        )
    assert done.returncode == 0, done.stderr
    names = [span.name for span in collector.spans]
    if said == "0":
        assert names == []
        return
    assert collector.services == {"somebodys-script"}
    assert names.count("video_generation_request") == 1
    assert {
        ("step_3", "denoising_loop"),
        ("spatial_attn", "step_2"),
        ("vae_decode", "video_generation_request"),
    } <= collector.tree()
    assert "dit_inference_step_duration_ms" in collector.metrics
