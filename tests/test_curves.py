from __future__ import annotations

import numpy as np
import pytest

from palimpsest.core.curves import binned, fit_curves

LAGS = np.arange(0.0, 60.0, 2.0)


def test_an_exponential_is_recovered_and_preferred() -> None:
    noise = 0.002 * np.random.default_rng(0).standard_normal(len(LAGS))
    exponential, power = fit_curves(LAGS, 0.8 * (1 - np.exp(-LAGS / 10)) + noise)
    assert exponential.height == pytest.approx(0.8, rel=0.01)
    assert exponential.half_life == pytest.approx(10 * np.log(2), rel=0.03)
    assert exponential.aicc < power.aicc


def test_a_power_law_is_recovered_and_preferred() -> None:
    exact = 1.2 * (1 - (1 + LAGS / 4) ** -0.7)
    exponential, power = fit_curves(LAGS, exact)
    assert power.rss < 1e-7
    assert power.half_life == pytest.approx(4 * (2 ** (1 / 0.7) - 1), rel=1e-3)
    assert power.exponent == pytest.approx(0.7, rel=1e-3)
    assert power.aicc < exponential.aicc


def test_getting_better_is_a_negative_height() -> None:
    exponential, _ = fit_curves(LAGS, -0.5 * (1 - np.exp(-LAGS / 5)))
    assert exponential.height == pytest.approx(-0.5, rel=0.01)


def test_a_straight_line_has_no_half_life() -> None:
    exponential, power = fit_curves(LAGS, 0.01 * LAGS)
    assert np.isnan(exponential.half_life) and np.isnan(power.half_life)


def test_too_few_lags_are_not_fitted() -> None:
    assert fit_curves(LAGS[:5], LAGS[:5]) == []
    assert fit_curves(np.full(20, np.nan), np.ones(20)) == []


def test_lags_below_zero_change_nothing() -> None:
    losses = 0.8 * (1 - np.exp(-LAGS / 10))
    back = np.array([-200.0, -0.5, np.nan])
    with_them = fit_curves(np.append(LAGS, back), np.append(losses, [5.0, 1.0, 1.0]))
    without = fit_curves(LAGS, losses)
    assert [(one.height, one.half_life, one.rss) for one in with_them] == [
        (one.height, one.half_life, one.rss) for one in without
    ]
    assert fit_curves(-LAGS, losses) == []


def test_equal_lags_are_averaged() -> None:
    lags, means = binned(np.array([3.0, 1.0, 3.0, np.nan]), np.array([2.0, 1.0, 4.0, 9.0]))
    assert lags.tolist() == [1, 3] and means.tolist() == [1, 3]
