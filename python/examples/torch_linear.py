"""Presses a torch Linear to 3 bits: collects H from its inputs by a hook, solves, writes the weight back,
and compares the error of the outputs on other inputs by rounding, GPTQ and ADMM-Q.

    python torch_linear.py

press() is all that a pipeline needs that now calls GPTQ for each of its layers.
"""

import copy

import torch

import coldpress


class GramHook:
    """Sums x x^T over everything that a Linear reads, until it is removed."""

    def __init__(self, linear):
        self.h = torch.zeros(linear.in_features, linear.in_features, dtype=torch.float32)
        self._handle = linear.register_forward_pre_hook(self._add)

    def _add(self, _, inputs):
        x = inputs[0].detach().reshape(-1, self.h.shape[0]).to("cpu", torch.float32)
        self.h += x.T @ x

    def remove(self):
        self._handle.remove()


@torch.no_grad()
def press(linear, h, **options):
    """Replaces the weight of `linear` by the best that the method finds for inputs with Gram `h`."""
    w = linear.weight.detach().to("cpu", torch.float32).numpy()
    solution = coldpress.solve(w, h.numpy(), **options)
    linear.weight.copy_(torch.from_numpy(solution.weight))  # to its device and type
    return solution


@torch.no_grad()
def main():
    torch.manual_seed(0)
    inputs, outputs = 256, 192
    mix = torch.randn(inputs, inputs) * torch.logspace(0, -2, inputs)  # inputs are never independent
    linear = torch.nn.Linear(inputs, outputs)
    model = torch.nn.Sequential(torch.nn.LayerNorm(inputs), linear)

    hook = GramHook(linear)
    model(torch.randn(2048, inputs) @ mix.T)  # calibration
    hook.remove()

    unseen = torch.randn(512, inputs) @ mix.T
    wanted = model(unseen)
    print("method   layer error  output error  bits/weight")
    for method in ("rtn", "gptq", "admm-q"):
        pressed = copy.deepcopy(model)
        solution = press(pressed[1], hook.h, bits=3, group=128, method=method)
        centred = wanted - linear.bias
        error = ((pressed(unseen) - wanted).square().sum() / centred.square().sum()).item()
        print(f"{method:8} {solution.error:11.5f} {error:13.5f} {solution.bits_per_weight:12.3f}")


if __name__ == "__main__":
    main()
