"""Open-Sora 2.x, whose package is on no registry: a network with its classes' names, paths and habits.

Its blocks never call their attention modules, only the parts of them; its network keeps `forward` in the instance;
it has no scheduler, so that a step is a pass. What the stand-in computes is small, and not Open-Sora's.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recording import Recorded
from rushes.instrument import Family, Rule, instrument, uninstrument

DEPTH, SINGLE, STEPS = 3, 4, 3


class SelfAttention(nn.Module):  # type: ignore[misc]  # torch is not followed
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Any) -> Any:
        raise AssertionError("the blocks never call it")


def _mlp(dim: int) -> Any:
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))


def _attend(qkv: Any) -> Any:
    return nn.functional.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))


class DoubleStreamBlock(nn.Module):  # type: ignore[misc]  # likewise
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.img_attn, self.txt_attn = SelfAttention(dim), SelfAttention(dim)
        self.img_mlp, self.txt_mlp = _mlp(dim), _mlp(dim)

    def forward(self, img: Any, txt: Any) -> tuple[Any, Any]:
        both = _attend(torch.cat((self.txt_attn.qkv(txt), self.img_attn.qkv(img)), 1))
        from_txt, from_img = both[:, : txt.shape[1]], both[:, txt.shape[1] :]
        img = img + self.img_attn.proj(from_img)
        img = img + self.img_mlp(img)
        txt = txt + self.txt_attn.proj(from_txt)
        return img, txt + self.txt_mlp(txt)


class SingleStreamBlock(nn.Module):  # type: ignore[misc]  # likewise
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(dim, 7 * dim), nn.Linear(5 * dim, dim)
        self.mlp_act = nn.GELU()

    def forward(self, x: Any) -> Any:
        qkv, mlp = self.linear1(x).split([3 * x.shape[-1], 4 * x.shape[-1]], dim=-1)
        return x + self.linear2(torch.cat((_attend(qkv), self.mlp_act(mlp)), -1))


class MMDiTModel(nn.Module):  # type: ignore[misc]  # likewise
    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.img_in = nn.Linear(dim, dim)
        self.double_blocks = nn.ModuleList(DoubleStreamBlock(dim) for _ in range(DEPTH))
        self.single_blocks = nn.ModuleList(SingleStreamBlock(dim) for _ in range(SINGLE))
        self.forward = self.forward_ckpt  # Open-Sora chooses one of two

    def forward_ckpt(self, img: Any, txt: Any) -> Any:
        img = self.img_in(img)
        for block in self.double_blocks:
            img, txt = block(img, txt)
        x = torch.cat((txt, img), 1)
        for block in self.single_blocks:
            x = block(x)
        return x[:, txt.shape[1] :]


class Service:
    """Open-Sora has no pipeline object: whoever serves it has one like this."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.transformer = MMDiTModel().eval()

    def __call__(self, img: Any, txt: Any) -> Any:
        with torch.no_grad():
            for _ in range(STEPS):
                img = img - 0.1 * self.transformer(img, txt)
        return img


INPUTS = {"img": torch.ones(1, 12, 16), "txt": torch.ones(1, 4, 16)}


def test_open_sora_2(recorded: Recorded) -> None:
    service = Service()
    plain = service(**INPUTS)
    before = vars(service.transformer)["forward"]
    instrument(service, sample_every=1)
    assert torch.equal(service(**INPUTS), plain)
    uninstrument(service)
    assert vars(service.transformer)["forward"] == before
    for module in service.transformer.modules():
        assert module is service.transformer or "forward" not in vars(module)
    for index in range(1, STEPS + 1):
        found: Any = recorded.span(f"step_{index}").attributes
        assert found["rushes.executed.joint_attn"] == DEPTH + SINGLE
        assert found["rushes.executed.ffn"] == 2 * DEPTH
        assert found["rushes.passes"] == 1
        parts = [found[f"rushes.ns.{kind}"] for kind in ("joint_attn", "ffn", "other")]
        assert sum(parts) == found["rushes.ns.total"]
        assert min(parts) > 0
    root: Any = recorded.span("video_generation_request").attributes
    assert root["model"] == "OPENSORA"


@pytest.mark.parametrize("inner", [(), ("double_blocks.*.img_attn.*",)])
def test_what_lies_around_is_what_is_left(inner: tuple[str, ...], recorded: Recorded) -> None:
    """A block around its parts, and parts around theirs, make up the block's own time."""
    service = Service()
    rules = (
        Rule("double_blocks.*", "joint_attn", around=True),
        Rule("double_blocks.*.img_mlp", "ffn", around=True),
        Rule("double_blocks.*.img_mlp.*", "audio"),
        *(Rule(path, "cross_attn") for path in inner),
    )
    instrument(service, sample_every=1, families=[Family(("MMDiTModel",), rules)])
    service(**INPUTS)
    uninstrument(service)
    found: Any = recorded.span("step_2").attributes
    executed = {k.removeprefix("rushes.executed."): v for k, v in found.items() if "executed" in k}
    counts = {"joint_attn": DEPTH, "ffn": DEPTH, "audio": 3 * DEPTH}
    assert executed == (counts | {"cross_attn": 2 * DEPTH} if inner else counts)
    parts = [v for k, v in found.items() if k.startswith("rushes.ns.") and k != "rushes.ns.total"]
    assert sum(parts) == found["rushes.ns.total"]
    assert min(parts) > 0
