"""Names in an ONNX graph: public inputs, outputs and dimensions, and no trace of the machine."""

import re
from collections.abc import Iterable, Mapping, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, ValueInfoProto

AXIS_NAMES = {0: "batch", 2: "height", 3: "width"}
"""Names of an image's dynamic dimensions; others are called ``<input>_dim<axis>``."""


def rename_interface(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Give the graph's inputs and outputs these names, in order, in place.

    A value inside the graph that happens to have one of the names (a task called ``relu``) gets an
    underscore behind its own.
    """
    graph = model.graph
    new = dict(zip([value.name for value in graph.input], inputs, strict=True))
    new |= dict(zip([value.name for value in graph.output], outputs, strict=True))
    taken = set(_values(graph)) | set(new.values())
    for name in _values(graph):
        if name not in new and name in {*inputs, *outputs}:
            other = f"{name}_"
            while other in taken:
                other += "_"
            taken.add(other)
            new[name] = other
    _rename(graph, {old: name for old, name in new.items() if old != name})


def rename_dimensions(model: ModelProto) -> None:
    """Call dynamic dimensions ``batch``, ``height`` and ``width`` in place of torch's symbols.

    A dimension computed from another is written as such: ``height//2``.
    """
    texts: dict[str, str] = {}
    symbols: dict[str, str] = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, dim in enumerate(dims):
            text = dim.dim_param
            if not text or text in texts:
                continue
            is_known = axis == 0 or (len(dims) == 4 and axis in AXIS_NAMES)
            name = AXIS_NAMES[axis] if is_known else f"{value.name}_dim{axis}"
            if name in texts.values():  # a second input with a batch or size of its own
                name = f"{value.name}_{name}"
            texts[text] = name
            # "s5" is a symbol itself; "32*s5" says that the dimension is a multiple.
            if match := re.fullmatch(r"(?:(\d+)\*)?(s\d+)", text):
                symbols[match[2]] = f"({name}//{match[1]})" if match[1] else name
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = _readable(dim.dim_param, texts, symbols)


def shape_of(value: ValueInfoProto) -> list[int | str]:
    """Return a value's dimensions: sizes, and text for dynamic ones."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def strip_traces(model: ModelProto) -> None:
    """Remove source lines and module traces, which hold paths of the machine that exported."""
    for graph in _graphs(model.graph):
        del graph.metadata_props[:]
        graph.doc_string = ""
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in (*graph.input, *graph.output, *graph.value_info):
            del value.metadata_props[:]
            value.doc_string = ""


def _readable(text: str, texts: Mapping[str, str], symbols: Mapping[str, str]) -> str:
    if text in texts:
        return texts[text]
    result = re.sub(r"\bs\d+\b", lambda match: symbols.get(match[0], match[0]), text)
    return result[1:-1] if re.fullmatch(r"\([^()]*\)", result) else result


def _values(graph: GraphProto) -> Iterable[str]:
    """Yield the name of everything the graph defines, subgraphs included."""
    for inner in _graphs(graph):
        yield from (value.name for value in inner.input)
        yield from (tensor.name for tensor in inner.initializer)
        for node in inner.node:
            yield from node.output


def _graphs(graph: GraphProto) -> Iterable[GraphProto]:
    """Yield a graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for subgraph in _subgraphs(node.attribute):
            yield from _graphs(subgraph)


def _subgraphs(attributes: Iterable[AttributeProto]) -> Iterable[GraphProto]:
    for attribute in attributes:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _rename(graph: GraphProto, new: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
        for subgraph in _subgraphs(node.attribute):
            _rename(subgraph, new)
