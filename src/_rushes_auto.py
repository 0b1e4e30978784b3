"""RUSHES_AUTO=1: every diffusers pipeline of any script is instrumented, and the script is not touched.

`rushes_auto.pth`, which Python reads at every start, imports this module if the variable is set, and does nothing
else. The module stands outside the package and imports nothing: at that moment not every folder of packages is known
yet, and a program that never imports diffusers is to pay nothing.
"""

import sys


class _UntilDiffusers:
    """Finds no module; the first look for diffusers calls Rushes' instrumentor."""

    done = False

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> None:
        """None, always: the others find the module."""
        if fullname == "diffusers" and not self.done:
            self.done = True
            try:
                from rushes.instrument import RushesInstrumentor  # noqa: PLC0415 - not before it is needed

                RushesInstrumentor().instrument()
            except Exception as error:  # noqa: BLE001 - the script runs, whatever is wrong with its instruments
                text = f"rushes: RUSHES_AUTO has no effect: {type(error).__name__}: {error}\n"
                sys.stderr.write(text)


sys.meta_path.insert(0, _UntilDiffusers())
