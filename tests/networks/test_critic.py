"""The critic's loss by its formula, and that it tells two samples apart."""

from __future__ import annotations

import torch

from whyray.networks.critic import Critic, critic_loss


def test_the_loss_is_the_formula() -> None:
    torch.manual_seed(0)
    critic = Critic(3, 2, hidden=8)
    made, real, group, share = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 1, 0]), torch.rand(4, 1)
    got = critic_loss(critic, made, real, group, share, 10.0)
    steep = []
    for i in range(4):
        x = (share[i] * real[i] + (1 - share[i]) * made[i]).requires_grad_()
        critic(x[None], group[i : i + 1])[0].backward()
        assert x.grad is not None
        steep.append((x.grad.norm() - 1) ** 2)
    wanted = critic(made, group).mean() - critic(real, group).mean() + 10 * torch.stack(steep).mean()
    assert torch.allclose(got, wanted, atol=1e-5)


def test_a_linear_critic_of_slope_one_pays_no_penalty() -> None:
    critic = Critic(2, 1, hidden=4)
    critic.body = torch.nn.Sequential(torch.nn.Linear(3, 1, bias=False))
    with torch.no_grad():
        critic.body[0].weight.copy_(torch.tensor([[0.6, 0.8, 5.0]]))  # type: ignore[operator]
    made, real = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = critic_loss(critic, made, real, torch.zeros(2, dtype=torch.int64), torch.rand(2, 1), 10.0)
    assert torch.allclose(loss, torch.tensor(-0.7), atol=1e-5)  # 0 - (0.6 + 0.8) / 2


def test_scores_follow_the_group() -> None:
    torch.manual_seed(0)
    critic, z = Critic(3, 2), torch.randn(1, 3)
    assert not torch.equal(critic(z, torch.tensor([0])), critic(z, torch.tensor([1])))
