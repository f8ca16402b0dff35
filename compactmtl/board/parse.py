"""From an ONNX file to a network of TensorRT, or to the full list of what it refuses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compactmtl.board.advice import advise
from compactmtl.board.bindings import Bindings
from compactmtl.board.errors import BuildError
from compactmtl.board.logger import process_logger
from compactmtl.board.onnx_file import OnnxFile


@dataclass(frozen=True)
class Refusal:
    """A node that the parser refuses.

    Attributes:
        node: Its name in the file.
        operator: Its operator.
        code: TensorRT's error code.
        reason: TensorRT's own words.
        advice: Ours.
    """

    node: str
    operator: str
    code: str
    reason: str
    advice: str


class RefusedNodesError(BuildError):
    """The parser refuses nodes.

    Attributes:
        refusals: All of them.
    """

    def __init__(self, message: str, *, hint: str, refusals: tuple[Refusal, ...]) -> None:
        super().__init__(message, hint=hint)
        self.refusals = refusals


def parse(bindings: Bindings, network: Any, source: OnnxFile) -> None:
    """Fill a network from an ONNX file; external weights are found beside it.

    Raises:
        RefusedNodesError: The parser refuses the file; every node is listed.
    """
    parser = bindings.module.OnnxParser(network, process_logger(bindings))
    if parser.parse_from_file(str(source.path)):
        return
    refusals = tuple(_refusal(parser.get_error(i), source) for i in range(parser.num_errors))
    num = f"{len(refusals)} node{'s' * (len(refusals) != 1)}"
    raise RefusedNodesError(
        f"{bindings.name} refuses {num} of `{source.path.name}`: {_listed(refusals)}",
        hint="; ".join(dict.fromkeys(each.advice for each in refusals if each.advice)),
        refusals=refusals,
    )


def _listed(refusals: Sequence[Refusal]) -> str:
    """Name every node, those that are refused for the same reason together."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in refusals:
        groups.setdefault((each.operator, each.code, each.reason), []).append(f"`{each.node}`")
    return "; ".join(
        f"{operator or 'file'} {', '.join(nodes)} ({code}: {reason})"
        for (operator, code, reason), nodes in groups.items()
    )


def _refusal(error: Any, source: OnnxFile) -> Refusal:
    operator, node, code = error.node_operator() or "", error.node_name() or "", error.code().name
    if error.node() < 0 and (importer := re.fullmatch(r"import(\w+)", error.func())):
        # Some errors come without a node; the function that failed is called after its operator.
        operator = importer[1]
        node = ", or ".join(source.nodes.get(operator, []))
    return Refusal(
        node=node or f"number {error.node()}",
        operator=operator,
        code=code,
        reason=" ".join(error.desc().split())[:200],
        advice=advise(operator, code),
    )
