"""Multinomial logistic regression in NumPy: a convex fit of a few seconds needs no machine-learning library."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Objective = Callable[[Floats], tuple[float, Floats]]


def softmax(logits: Floats) -> Floats:
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Floats = exponent / exponent.sum(-1, keepdims=True)
    return probabilities


def fit(x: Floats, y: npt.NDArray[np.int64], weight: Floats, classes: int, l2: float) -> tuple[Floats, Floats]:
    """(weights (inputs, classes), biases) on inputs of any scale; `weight` per row, `l2` for standardised inputs."""
    mean, scale = x.mean(0), x.std(0) + 1e-3
    z = np.hstack([(x - mean) / scale, np.ones((len(x), 1), np.float32)]).astype(np.float32)
    truth = np.eye(classes, dtype=np.float32)[y]
    share = (weight / weight.sum())[:, None].astype(np.float32)
    penalty = np.full((z.shape[1], 1), l2, np.float32)
    penalty[-1] = 0

    def objective(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(-1, classes)
        p = softmax(z @ w)
        loss = -float((share[:, 0] * np.log(np.maximum((p * truth).sum(1), 1e-12))).sum())
        gradient = z.T @ ((p - truth) * share) + penalty * w
        return loss + 0.5 * float((penalty * w * w).sum()), gradient.ravel()

    w = minimise(objective, np.zeros(z.shape[1] * classes, np.float32)).reshape(-1, classes)
    inner = (w[:-1] / scale[:, None]).astype(np.float32)
    return inner, (w[-1] - mean @ inner).astype(np.float32)


def minimise(objective: Objective, x: Floats, steps: int = 120, memory: int = 12) -> Floats:
    """L-BFGS with a backtracking line search."""
    value, gradient = objective(x)
    pairs: list[tuple[Floats, Floats]] = []
    for _ in range(steps):
        direction = -_times_inverse_hessian(gradient, pairs)
        slope = float(gradient @ direction)
        step = 1.0 if pairs else 1.0 / max(1.0, float(np.abs(gradient).sum()))
        for _ in range(20):
            new = x + step * direction
            new_value, new_gradient = objective(new)
            if new_value <= value + 1e-4 * step * slope:
                break
            step /= 2
        else:
            break
        if (new - x) @ (new_gradient - gradient) > 1e-12:
            pairs = [*pairs, (new - x, new_gradient - gradient)][-memory:]
        done = value - new_value < 1e-6 * max(1.0, abs(value))
        x, value, gradient = new, new_value, new_gradient
        if done:
            break
    return x


def _times_inverse_hessian(gradient: Floats, pairs: list[tuple[Floats, Floats]]) -> Floats:
    q, kept = gradient.copy(), []
    for s, y in reversed(pairs):
        a = float(s @ q) / float(s @ y)
        q -= a * y
        kept.append(a)
    if pairs:
        s, y = pairs[-1]
        q *= float(s @ y) / float(y @ y)
    for (s, y), a in zip(pairs, reversed(kept), strict=True):
        q += (a - float(y @ q) / float(s @ y)) * s
    return q
