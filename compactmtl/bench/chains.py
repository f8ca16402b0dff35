"""Chains of equal layers: what they are made of, and the work of each."""

from dataclasses import dataclass

from compactmtl.board.bench.chains import Layer, Layers
from compactmtl.compiler.kernels import Work, addition, gather, kernel, reorder, work


@dataclass(frozen=True)
class Convolution:
    """A square convolution, or a linear layer where ``side`` is 0; a ``ConvShape`` too."""

    rows: int
    columns: int
    size: int = 1
    groups: int = 1
    side: int = 1
    pooled: bool = False

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.size**2

    @property
    def positions(self) -> int:
        """Output positions."""
        return max(1, self.side**2)

    @property
    def in_positions(self) -> int:
        """Input positions."""
        return self.positions

    def turned(self) -> "Convolution":
        """Return it with inputs and outputs swapped."""
        return Convolution(self.columns, self.rows, self.size, self.groups, self.side)


@dataclass(frozen=True)
class Chain:
    """``length`` layers, each the one before turned around; the last may read through a gather.

    Attributes:
        layer: The first layer.
        length: Number of layers.
        gathered: Input channels that each layer but the first gathers of those that are there; 0
            for no gathers.
        added: Whether each layer's input is added to its output; for layers that keep the number
            of channels, in the plain layout.
    """

    layer: Convolution
    length: int
    gathered: int = 0
    added: bool = False

    def to_board(self) -> Layers:
        """Return it as what is timed, here or on a board."""
        layers = tuple(
            Layer(each.rows, each.columns, each.size, each.groups, each.side)
            for each in self.layers()
        )
        return Layers(layers, self.added)

    def layers(self) -> list[Convolution]:
        """Return the layers as they run."""
        layers = []
        for index in range(self.length):
            layer = self.layer if index % 2 == 0 else self.layer.turned()
            if self.gathered and index:
                layer = Convolution(layer.rows, self.gathered, layer.size, 1, layer.side)
            layers.append(layer)
        return layers

    def work(self, *, align: int, block: int) -> Work:
        """Return the work of one run, changes of layout included."""
        total: Work = {}
        layout, channels, positions = "plain", self.layer.columns, self.layer.positions

        def add(part: Work) -> None:
            for key, amount in part.items():
                total[key] = total.get(key, 0.0) + amount

        def bring(to: str) -> None:
            nonlocal layout
            if layout != to:
                add(reorder(channels, positions, to=to, block=block))
            layout = to

        for index, layer in enumerate(self.layers()):
            if self.gathered and index:
                bring("plain")
                add(gather(self.gathered, positions))
                channels = self.gathered
            path = kernel(layer, align=align, block=block).partition(".")[2]
            bring("blocked" if path == "blocked" else "plain")
            add(work(layer, align=align, block=block))
            layout = "blocked" if path in ("blocked", "direct") else "plain"
            channels = layer.rows
            if self.added:
                add(addition(channels, positions))
        bring("plain")
        return total
