"""The attentions that training uses because they are faster compute what the libraries' own compute."""

from __future__ import annotations

import pytest
import torch

from training import mochi, opensora


def test_text_shared_by_all_frames() -> None:
    torch.manual_seed(1)
    transformer = opensora.make_transformer().eval()
    asked = {
        "hidden_states": torch.randn(2, opensora.CHANNELS, opensora.FRAMES, 8, 8),
        "timestep": torch.tensor([999, 400]),
        "encoder_hidden_states": torch.randn(2, 12, opensora.TEXT_WIDTH),
        "encoder_attention_mask": (torch.rand(2, 1, 12) < 0.4).float() * -1e4,
        "return_dict": False,
    }
    with torch.no_grad():
        # The library wants the mask once for each frame.
        each = asked | {
            "encoder_attention_mask": asked["encoder_attention_mask"].repeat_interleave(16, dim=0)
        }
        usual = transformer(**each)[0]
        for block in transformer.transformer_blocks:
            block.attn2.processor = opensora.SharedText(opensora.FRAMES)
        shared = transformer(**asked)[0]
    torch.testing.assert_close(shared, usual, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # the library asks for one that changes nothing
def test_joint_attention_of_a_batch() -> None:
    torch.manual_seed(2)
    transformer = mochi.make_transformer().eval()
    mask = torch.arange(10)[None] < torch.tensor([[3], [10]])
    asked = {
        "hidden_states": torch.randn(2, mochi.CHANNELS, mochi.LATENT_FRAMES, 8, 8),
        "encoder_hidden_states": torch.randn(2, 10, mochi.TEXT_WIDTH),
        "timestep": torch.tensor([10.0, 700.0]),
        "encoder_attention_mask": mask,
        "return_dict": False,
    }
    with torch.no_grad():
        usual = transformer(**asked)[0]
        for block in transformer.transformer_blocks:
            block.attn1.processor = mochi.Joint()
        joint = transformer(**asked)[0]
    torch.testing.assert_close(joint, usual, rtol=1e-4, atol=1e-5)
