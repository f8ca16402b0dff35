"""Every exception the library raises on purpose.

::

    CompactMTLError                     exit 1
    ├── MissedError                          1   a paced run missed more frames than were accepted
    ├── UsageError (ValueError)              2   the call itself is wrong
    │   ├── RecipeError                      2   unknown key, wrong type, contradiction
    │   ├── PartError                        2   a named part cannot be found or imported
    │   └── PatternError                     2   a layer pattern that matches nothing, or twice
    ├── NotPossibleHereError                 2   this machine cannot do it
    ├── RefusedError                         3   refused by design
    │   └── UnsafeFileError                  3   the file wants to run code while it loads
    ├── MissingExtraError (ImportError)      4   an optional package is not installed
    ├── MissingFileError                    10   not there, or not readable
    ├── CorruptFileError                    11   truncated, damaged, another format or version
    ├── WeightsError                        12   weights and network do not fit
    ├── NonFiniteError                      13   NaN or Inf in a loss, a weight or an activation
    ├── WriteError                          14   folder not writable
    │   └── DiskFullError                   15
    ├── DataError                           16   a data set that is not what it should be
    ├── TrainingError                       17   training ran, but its result is not acceptable
    ├── CompilerError                       18
    │   ├── CaptureError                    18   torch.export refused the network
    │   └── VerificationError               19   compact and original outputs differ
    ├── ExportError                         20   a runtime refused, or its outputs differ
    ├── BenchError                          21
    │   └── RegressionError                 23   slower than the baseline allows
    ├── ResourceError                       22   not enough memory
    └── StoppedError                        75   a signal ended a run that can go on

A message says what, where, got and expected in one line; ``hint`` says what to do about it.
"""

from typing import ClassVar


class CompactMTLError(Exception):
    """Root of the tree.

    Args:
        message: What went wrong, where, what was got and what was expected. One line.
        hint: What the user can do about it. One line, or empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MissedError(CompactMTLError):
    """A paced run missed more frames than were accepted."""


class UsageError(CompactMTLError, ValueError):
    """The call itself is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe has an unknown key, a wrong type or a contradiction."""


class PartError(UsageError):
    """A named part (network, data set, task, ...) cannot be found or imported."""


class PatternError(UsageError):
    """A layer pattern matches nothing, or matches one layer twice."""


class NotPossibleHereError(CompactMTLError):
    """This machine cannot do it."""

    exit_code = 2


class RefusedError(CompactMTLError):
    """Refused by design."""

    exit_code = 3


class UnsafeFileError(RefusedError):
    """The file wants to run code while it loads."""


class MissingExtraError(CompactMTLError, ImportError):
    """An optional package is not installed."""

    exit_code = 4


class MissingFileError(CompactMTLError):
    """A file is not there, or is not readable."""

    exit_code = 10


class CorruptFileError(CompactMTLError):
    """A file is truncated, damaged, or of another format or version."""

    exit_code = 11


class WeightsError(CompactMTLError):
    """Weights and network do not fit."""

    exit_code = 12


class NonFiniteError(CompactMTLError):
    """NaN or Inf in a loss, a weight or an activation."""

    exit_code = 13


class WriteError(CompactMTLError):
    """A file could not be written; what stood there before is unchanged."""

    exit_code = 14


class DiskFullError(WriteError):
    """The disk is full; what stood there before is unchanged."""

    exit_code = 15


class DataError(CompactMTLError):
    """A data set is not what it should be."""

    exit_code = 16


class TrainingError(CompactMTLError):
    """Training ran, but its result is not acceptable."""

    exit_code = 17


class CompilerError(CompactMTLError):
    """The compiler cannot go on."""

    exit_code = 18


class CaptureError(CompilerError):
    """``torch.export`` refused the network."""


class VerificationError(CompilerError):
    """Compact and original outputs differ; nothing was written."""

    exit_code = 19


class ExportError(CompactMTLError):
    """A runtime refused the model, or computes something else than the compact model."""

    exit_code = 20


class BenchError(CompactMTLError):
    """A measurement could not be made."""

    exit_code = 21


class RegressionError(BenchError):
    """A candidate is slower than the baseline allows; the measurement itself went well."""

    exit_code = 23


class ResourceError(CompactMTLError):
    """The machine has not enough memory for it."""

    exit_code = 22


class StoppedError(CompactMTLError):
    """A signal (SIGTERM, SIGUSR1) ended a run that can go on: start it again."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h
