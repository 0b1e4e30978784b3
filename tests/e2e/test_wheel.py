"""The wheel: built without Node at hand, the same pages from it, and light without extras."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


def _run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    out: str = done.stdout
    return out


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    # Without Node on the PATH: npm has to come from the build requirement.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    _run(sys.executable, "-m", "build", "--outdir", str(out), str(ROOT), env=env)
    (built,) = out.glob("*.whl")
    return built


def test_everything_a_page_needs_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "rushes"
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.name != ".package-lock.json":
            assert f"rushes/{path.relative_to(package)}" in names
    assert "rushes/web/static/vendor/uplot/uPlot.esm.js" in names
    assert "rushes/py.typed" in names
    assert {"rushes_auto.pth", "_rushes_auto.py"} <= names


def test_the_sdk_alone_pulls_neither_torch_nor_a_database(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel))
    installed = _run(python, "-m", "pip", "list", "--format", "freeze").lower()
    for heavy in ("torch", "diffusers", "chdb", "sqlalchemy", "starlette", "pyarrow", "numpy", "grpcio"):
        assert f"\n{heavy}==" not in f"\n{installed}"
    rushes = str(tmp_path / "venv" / "bin" / "rushes")
    assert "video_generation_success_total" in _run(rushes, "catalog")
    refused = subprocess.run([rushes, "up"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert 'pip install "rushes[' in refused.stderr
    script = (
        "import rushes; rushes.configure(log_level=None);"
        "rushes.instruments.api_requests_total.add(1, route='/', method='GET', status='200')"
    )
    _run(python, "-W", "error", "-c", script)
    auto = _run(python, "-c", "import sys; print('_rushes_auto' in sys.modules)", env={"RUSHES_AUTO": "1"})
    assert auto == "True\n"


def test_up_from_the_wheel_serves_the_same_pages(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel))
    # The dependencies of the environment that runs the tests; rushes itself comes from the wheel alone.
    site = sysconfig.get_paths()["purelib"]
    purelib = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    (purelib / "dependencies.pth").write_text(f"{site}\n")
    where = _run(python, "-c", "import rushes; print(rushes.__file__)", cwd=tmp_path)
    assert str(tmp_path) in where
    env = {
        **os.environ,
        "RUSHES_DATA_DIR": str(tmp_path / "data"),
        "RUSHES_CONFIG_DIR": str(tmp_path / "config"),
    }
    ports = ("--port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")
    from platform_process import eventually
    from rushes.launch import local

    process = subprocess.Popen(
        [str(tmp_path / "venv" / "bin" / "rushes"), "up", "--no-studio", *ports], env=env, cwd=tmp_path
    )
    try:

        def look() -> local.Local | None:
            assert process.poll() is None
            try:
                return local.read(tmp_path / "data" / "local.json")
            except local.NotRunning:
                return None

        ui = eventually(look, what="local.json").ui
        for page in (
            "/",
            "/videos",
            "/traces",
            "/static/vendor/uplot/uPlot.esm.js",
            "/static/vendor/uplot/uPlot.min.css",
        ):
            assert httpx.get(f"{ui}{page}").status_code == 200, page
    finally:
        process.terminate()
        assert process.wait(60) == 0
