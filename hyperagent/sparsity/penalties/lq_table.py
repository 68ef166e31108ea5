"""The lq prox of long vectors on a CPU: short Taylor polynomials, looked up by bits.

In units of its threshold the lq prox is one function of x = v / tau >= 1 for all weights and
steps, and so is its share r(x) of v. A logarithm and a power per element cost ten times a
memory access, so for long vectors r is expanded at the centres of 2048 intervals per octave
(4096 in float64), and the first bits of the number x are the number of its interval.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

HIGHEST_Q = 0.7
"""Beyond, r bends too much near the threshold for these intervals."""

_LAYOUT = {
    # integer of the same size, bits of the mantissa, bias of the exponent, bits of a table
    torch.float32: (torch.int32, 23, 127, 11),
    torch.float64: (torch.int64, 52, 1023, 12),
}


def lookup(v: Tensor, tau: float, table: tuple[Tensor, ...]) -> Tensor:
    """prox / v for v > tau, some number in (0, 1] elsewhere.

    Relative errors are below 1e-6 in float32 and 5e-11 in float64; the objective is flat at
    its minimum, so it is right to the last digit.
    """
    integer, mantissa, bias, bits = _LAYOUT[v.dtype]
    octaves = (len(table[0]) - 1) >> bits
    x = torch.mul(v, 1 / tau).clamp_(1.0, 2.0**octaves)
    index = x.view(integer).bitwise_right_shift(mantissa - bits).sub_(bias << bits)
    index = index.long()  # looked up faster than 32-bit numbers
    out = table[-1].index_select(0, index)
    for coefficients in table[-2::-1]:
        torch.addcmul(coefficients.index_select(0, index), out, x, out=out)
    return out


@lru_cache(maxsize=16)
def table(
    q: float, dtype: torch.dtype, ratio: Callable[[Tensor, float], Tensor]
) -> tuple[Tensor, ...]:
    """Coefficients of 1, x, x^2 for every interval; in float32 of 1 and x.

    ``ratio(x, q)`` is r(x) to full precision. h(x) = x r(x) inverts ``z + most z^(q - 1)``,
    which gives the derivatives.
    """
    bits = _LAYOUT[dtype][3]
    # After the last octave r is 1 to rounding.
    octaves = int((24 if dtype == torch.float32 else 53) / (2 - q)) + 1
    edges = (2 ** torch.arange(octaves, dtype=torch.float64)).repeat_interleave(1 << bits)
    width = edges / (1 << bits)
    centre = edges + width * (torch.arange(len(edges)) % (1 << bits) + 0.5)
    z = centre * ratio(centre, q)
    lowest = 2 * (1 - q) / (2 - q)
    p = (1 - lowest) * lowest ** (1 - q) * z ** (q - 1)
    one = 1 + (q - 1) * p / z
    two = (q - 1) * (q - 2) * p / z**2
    a = z / centre
    b = (1 / one - a) / centre
    c = (-two / one**3 - 2 * b) / centre / 2
    if dtype == torch.float32:
        # The tangent, moved by half of its largest error, so that both signs occur.
        powers = [a + c * (width / 2) ** 2 / 2 - b * centre, b]
    else:
        powers = [a - centre * (b - centre * c), b - 2 * c * centre, c]
    ends = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return tuple(torch.cat([x, ends[i : i + 1]]).to(dtype) for i, x in enumerate(powers))
