"""Runs torch's optimizers on the problem of rules.py. This command writes torch_traces.npz:

    python tests/references/torch_traces.py
"""

import warnings

import numpy as np
from rules import CASES, TRACES, problem


def trace(case: str) -> np.ndarray:
    """Return theta after each step of torch's rule in this case, (STEPS, P), float64."""
    import torch

    _, _, name, arguments = CASES[case]
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps its running product in the default dtype
    try:
        theta0, gradients, rates = problem()
        theta = torch.nn.Parameter(torch.tensor(theta0))
        optimizer = getattr(torch.optim, name)([theta], lr=1.0, **arguments)
        thetas = []
        for gradient, rate in zip(gradients, rates):
            theta.grad = torch.tensor(gradient)
            optimizer.param_groups[0]["lr"] = float(rate)
            optimizer.step()
            thetas.append(theta.detach().numpy().copy())
        return np.array(thetas)
    finally:
        torch.set_default_dtype(default)


if __name__ == "__main__":
    import torch

    warnings.simplefilter("ignore")
    theta0, gradients, rates = problem()
    np.savez_compressed(TRACES, theta0=theta0, gradients=gradients, rates=rates, torch=torch.__version__,
                        **{case: trace(case) for case in CASES})
    print(f"{TRACES.name}: {len(CASES)} traces by torch {torch.__version__}")
