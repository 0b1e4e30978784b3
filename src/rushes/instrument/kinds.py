"""The words of the module map: which module of which model is attention, feed-forward or sound.

`attn1` is spatial attention in one model, temporal in the next and joint in a third, so a module's kind comes from
its model's class *and* its path; nothing is guessed from a name alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

__all__ = ["KINDS", "OTHER", "Family", "Kind", "Rule"]

Kind = Literal["spatial_attn", "temporal_attn", "joint_attn", "cross_attn", "ffn", "audio"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
OTHER: Final = (
    "other"  # what no module of a known kind accounts for: embeddings, norms, guidance, the scheduler
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Modules whose dotted path matches `path` are of this kind.

    `*` stands for one part of a path or some of its characters, `**` for any number of parts:
    `transformer_blocks.*.attn1`, `**.motion_modules.*.transformer_blocks.*.attn1`.

    With `around`, the modules inside that other rules match are measured too, and this one's time is what is left:
    for blocks that call their attention's parts one by one, so that no module is the attention.

    Raises:
        ValueError: there is no such kind.
    """

    path: str
    kind: Kind
    around: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no kind {self.kind!r} of module; there are {', '.join(KINDS)}")

    def matches(self, path: str) -> bool:
        """Whether a module's path, from the model's root, is meant."""
        return _pattern(self.path).fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Family:
    """How the modules of some model classes are called.

    Attributes:
        classes: class names of the denoiser (`type(pipe.transformer).__name__`).
        rules: the first that matches a path decides; a module that matches is measured whole, unless it says `around`.
        model: value of the label `model`, unless `instrument(model=...)` gives one; default the pipeline's name.
    """

    classes: tuple[str, ...]
    rules: tuple[Rule, ...]
    model: str | None = None

    def rule_of(self, path: str) -> Rule | None:
        """The first rule that matches a module's path, or None."""
        return next((rule for rule in self.rules if rule.matches(path)), None)

    def kind_of(self, path: str) -> Kind | None:
        """The kind of the module at a path, or None where no rule matches."""
        rule = self.rule_of(path)
        return None if rule is None else rule.kind


def family_of(class_name: str, families: Iterable[Family]) -> Family | None:
    """The first family that knows a denoiser's class."""
    return next((family for family in families if class_name in family.classes), None)


@lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    text = ""
    for token in re.split(r"(\*\*\.|\*)", path):
        text += {"**.": r"(?:[^.]+\.)*", "*": r"[^.]*"}.get(token, re.escape(token))
    return re.compile(text)
