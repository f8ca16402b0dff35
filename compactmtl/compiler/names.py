"""Names of inputs and outputs: the user's, checked against the network's own."""

from collections.abc import Sequence

from compactmtl.errors import UsageError

RESERVED = "source"
"""In ``inputs.npz``: where the stored inputs come from."""


def choose_names(what: str, given: Sequence[str] | None, found: Sequence[str]) -> list[str]:
    """Return the names to use, in the network's order.

    A network that names its inputs or outputs itself keeps that naming: the same names in another
    order are the same names, never an exchange.

    Args:
        what: "input" or "output".
        given: The user's names; None: the network's own.
        found: The network's own names, in its order.

    Raises:
        UsageError: Another number of names, a name twice, empty or reserved, or a name that the
            network gives to another one.
    """
    given = found if given is None else given
    listed = ", ".join(given)
    if len(given) != len(found):
        raise UsageError(
            f"{len(given)} {what} names given ({listed}), the network has {len(found)} "
            f"{what}s ({', '.join(found)})"
        )
    if len(set(given)) < len(given) or not all(name.strip() == name != "" for name in given):
        raise UsageError(f"{what} names must be different and not empty, got `{listed}`")
    if what == "input" and RESERVED in given:
        raise UsageError(f"no input can be called `{RESERVED}`: inputs.npz has its own use for it")
    if set(given) == set(found):
        return list(found)
    for name, own in zip(given, found, strict=True):
        if name != own and name in found:
            raise UsageError(
                f"{what} name `{name}` is given to the network's `{own}`, but the network has "
                f"another {what} called `{name}`",
                hint=f"the network's {what}s, in order: {', '.join(found)}",
            )
    return list(given)
