"""Every error and warning of the library, each also the built-in that a caller would catch."""


class SkmindError(Exception):
    """Base of every error that skmind raises itself."""


class InvalidInputError(SkmindError, ValueError):
    """A table, column or argument is illegal; the message says which and what is legal."""


class IdTypeError(SkmindError, TypeError):
    """Ids of another kind than those of ``fit``, or ids or categories that are no scalars."""


class UnknownIdError(SkmindError, KeyError):
    """An id that ``fit`` has not seen, where the caller asked for known ids only."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DatasetUnavailableError(SkmindError, OSError):
    """A dataset is neither cached nor downloadable, or its download is damaged."""


class ExportError(SkmindError, RuntimeError):
    """An exported model does not give what the fitted one gives; nothing was written."""


class TrainingDivergedError(SkmindError, ArithmeticError):
    """The loss or a weight is no longer finite; the message says when, and what to change."""


class ModelFileError(SkmindError, ValueError):
    """A saved model or checkpoint is missing, damaged, forged or of an unknown version."""


class ModelWriteError(SkmindError, OSError):
    """A model or checkpoint could not be saved; one that was there before is still whole."""


class SkmindWarning(UserWarning):
    """Base of every warning that skmind raises itself."""


class NothingToLearnWarning(SkmindWarning):
    """No user has two interactions, so there is nothing to train on."""


class NothingToScoreWarning(SkmindWarning):
    """No row can be scored; the score is nan."""


class IgnoredDataWarning(SkmindWarning):
    """Columns or rows of the input are not used; the message names them."""


class InterestCollapseWarning(SkmindWarning):
    """The interests of users who have several are practically one vector."""


class ShortageWarning(SkmindWarning):
    """Some users get fewer items than were asked for, as no more are eligible."""


class ExactSearchWarning(SkmindWarning):
    """An approximate index is not used, as it would not be faster at the recall it must reach."""


class DeviceFallbackWarning(SkmindWarning):
    """The device of a fitted model is not on this machine; it answers from the CPU."""


class ForkedThreadsWarning(SkmindWarning):
    """The process was forked after torch was told to use threads, which a child doesn't inherit."""
