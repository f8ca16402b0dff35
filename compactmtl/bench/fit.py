"""Least squares with rates that are not negative, and how well they predict what was left out."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
FOLDS = 5


def fit(amounts: Array, times: Array) -> Array:
    """Return the rates, none negative, with the least sum of squared *relative* errors.

    Args:
        amounts: (measurements, terms).
        times: (measurements,), positive.

    Returns:
        (terms,) time per unit of each term.

    Source: Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
    """
    scaled = amounts / times[:, None]
    scale = np.sqrt((scaled**2).mean(axis=0))
    scale[scale == 0] = 1.0  # a term that never occurs
    scaled /= scale
    target = np.ones(len(times))
    rates, used = np.zeros(scaled.shape[1]), np.zeros(scaled.shape[1], dtype=bool)
    tolerance = 1e-9 * len(times)
    for _ in range(10 * len(rates)):
        gradient = scaled.T @ (target - scaled @ rates)
        gradient[used] = -np.inf
        if gradient.max() <= tolerance:
            break
        used[gradient.argmax()] = True
        while True:
            trial = np.zeros_like(rates)
            trial[used] = np.linalg.lstsq(scaled[:, used], target, rcond=None)[0]
            falling = used & (trial <= 0)
            if not falling.any():
                break
            step = (rates[falling] / (rates[falling] - trial[falling])).min()
            rates = np.maximum(rates + step * (trial - rates), 0.0)
            used &= rates > 1e-15
        rates = trial
    return np.asarray(rates / scale)


def left_out_errors(amounts: Array, times: Array) -> Array:
    """Return the absolute relative error at each measurement, by a fit that did not see it."""
    fold = np.arange(len(times)) % FOLDS
    predicted = np.empty_like(times)
    for number in range(FOLDS):
        rates = fit(amounts[fold != number], times[fold != number])
        predicted[fold == number] = amounts[fold == number] @ rates
    return np.abs(predicted / times - 1)
