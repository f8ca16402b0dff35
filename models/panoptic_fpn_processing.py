"""What makes Panoptic FPN of its static parts, as data: sizes and limits of the second stage."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PanopticProcessing(BaseModel):
    """The settings of the Python between the parts; ``compactmtl.board.panoptic`` reads them too.

    Attributes:
        tasks: The outputs, in order.
        num_things: Number of classes of things.
        stuff_area: Stuff of fewer pixels becomes void.
        anchor_sizes: See ``DetectorSettings``.
        proposals: See ``DetectorSettings``.
        detections: See ``DetectorSettings``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["panoptic_fpn"] = "panoptic_fpn"
    tasks: tuple[Literal["instances", "semantic", "panoptic"], ...] = Field(min_length=2)
    num_things: int = Field(ge=1)
    stuff_area: int = Field(ge=0)
    anchor_sizes: tuple[int, int, int, int, int]
    proposals: int = Field(ge=1)
    detections: int = Field(ge=1)
