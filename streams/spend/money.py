"""Picodollars as texts: exact for machines, readable for people. Pure, integers only."""

PICOS = 10**12  # picodollars a dollar
_CENT = PICOS // 100


def usd(picos: int) -> str:
    """The exact amount in US dollars with 2 to 12 decimals: `81.25`, `100.00`, `0.000000000001`, `-1.50`."""
    dollars, rest = divmod(abs(picos), PICOS)
    decimals = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{'-' if picos < 0 else ''}{dollars}.{decimals}"


def shown(picos: int) -> str:
    """For people: `$1,234.56`, `-$3.00`; an amount below a cent keeps two digits, `$0.0012`.

    Rounded half to even.
    """
    amount, sign = abs(picos), "-" if picos < 0 else ""
    step = _CENT
    if amount < _CENT:
        while step > 1 and amount < 10 * step:
            step //= 10
    amount = _rounded(amount, step)
    dollars, rest = divmod(amount, PICOS)
    decimals = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{sign if amount else ''}${dollars:,}.{decimals}"


def percent(part: int, whole: int) -> str:
    """`part` of `whole` in percent, rounded down to two decimals: `81.25`.

    Raises:
        ValueError: the whole is not above zero.
    """
    if whole <= 0:
        raise ValueError("a percentage needs a whole above zero")
    hundredths = part * 10_000 // whole
    return f"{'-' if hundredths < 0 else ''}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"


def _rounded(amount: int, step: int) -> int:
    whole, rest = divmod(amount, step)
    up = 2 * rest > step or (2 * rest == step and whole % 2 == 1)
    return (whole + up) * step
