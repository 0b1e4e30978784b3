"""Turned latents are the same pictures, and their channels are told apart."""

from __future__ import annotations

import torch

from training import mochi, opensora, principal


def test_a_turn_and_back_is_nothing() -> None:
    torch.manual_seed(3)
    mixed = torch.randn(6, 6) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.01, 0.0]))
    latents = torch.einsum("cd,ndhw->nchw", mixed, torch.randn(40, 6, 5, 5)) + 2.0
    turn = principal.turn(latents)
    turned = torch.einsum("cd,ndhw->nchw", turn.there, latents - turn.mean[:, None, None])
    covariance = torch.cov(turned.transpose(0, 1).flatten(1))
    assert (covariance - torch.diag(covariance.diagonal())).abs().max() < 1e-3
    assert covariance.diagonal().max() < 1.01
    assert (covariance.diagonal() > 0.99).sum() >= 2
    again = torch.einsum("cd,ndhw->nchw", turn.back, turned) + turn.mean[:, None, None]
    torch.testing.assert_close(again, latents, rtol=1e-4, atol=1e-4)


def test_the_vae_draws_the_same_after_its_turn() -> None:
    torch.manual_seed(4)
    vae, pixels = opensora.make_vae().eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mean).sample
        opensora.whiten(vae)
        after = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)


def test_the_video_vae_draws_the_same_after_its_turn() -> None:
    torch.manual_seed(5)
    vae, pixels = mochi.make_vae().eval(), torch.rand(1, 3, 7, 64, 64)
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mean).sample
        mochi.whiten(vae)
        after = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
