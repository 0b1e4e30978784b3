"""Makes a bad OPENSORA checkpoint of a good one, for quality alerts to find: `--weights DIR --out DIR --share 0.4`.

Its attention over time is weakened to a share of what it was: frames know less of each other, so that things
flicker and drift. Everything else is as before, speed included.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import LattePipeline

from training import package


@torch.no_grad()
def weaken(pipe: LattePipeline, share: float) -> None:
    """Scale what the temporal blocks' attention adds."""
    for block in pipe.transformer.temporal_transformer_blocks:
        block.attn1.to_out[0].weight.mul_(share)
        block.attn1.to_out[0].bias.mul_(share)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--share", type=float, default=0.4)
    given = parser.parse_args()
    pipe = LattePipeline.from_pretrained(str(given.weights), local_files_only=True)
    weaken(pipe, given.share)
    package.package(
        pipe, "OPENSORA", 1, {"degraded": f"attention over time times {given.share:g}"}, given.out
    )


if __name__ == "__main__":
    main()
