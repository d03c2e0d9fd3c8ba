"""Errors and warnings of skmind; each error also inherits from a built-in exception."""


class SkmindError(Exception):
    """Base class of the errors that skmind raises."""


class InvalidInputError(SkmindError, ValueError):
    """A table, column or argument is invalid; the message says which one and what is valid."""


class IdTypeError(SkmindError, TypeError):
    """Ids are of another kind than in ``fit``, or ids or categories are not scalars."""


class UnknownIdError(SkmindError, KeyError):
    """An id was not in ``fit``, but the call allows only ids of ``fit``."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DatasetUnavailableError(SkmindError, OSError):
    """A dataset is neither cached nor downloadable, or its download is damaged."""


class ExportError(SkmindError, RuntimeError):
    """An exported model gives other results than the fitted model; nothing was written."""


class TrainingDivergedError(SkmindError, ArithmeticError):
    """The loss or a weight is not finite; the message says in which epoch and what to change."""


class ProcessLostError(SkmindError, RuntimeError):
    """Another process of a fit failed or was lost."""


class ModelFileError(SkmindError, ValueError):
    """A saved model or checkpoint is missing, damaged, manipulated or of an unknown version."""


class ModelWriteError(SkmindError, OSError):
    """A model or checkpoint could not be saved; an existing one is unchanged."""


class SkmindWarning(UserWarning):
    """Base class of the warnings that skmind issues."""


class NothingToLearnWarning(SkmindWarning):
    """No user has two interactions, so there is nothing to train on."""


class NothingToScoreWarning(SkmindWarning):
    """There is nothing to score; the score is nan."""


class IgnoredDataWarning(SkmindWarning):
    """Columns or rows of the input are not used; the message names them."""


class TiedTimesWarning(SkmindWarning):
    """Events of a user have no times or equal times, so the order of their rows is not used."""


class FeatureTypeWarning(SkmindWarning):
    """A feature column is read as categories that are probably another type of values."""


class InterestCollapseWarning(SkmindWarning):
    """The interests of a user are almost the same vector."""


class ShortageWarning(SkmindWarning):
    """Some users get fewer items than requested, because no more items are eligible."""


class ExactSearchWarning(SkmindWarning):
    """An approximate index is not used, because it is not faster at the required recall."""


class DeviceFallbackWarning(SkmindWarning):
    """The device of a fitted model is not available on this machine; the CPU is used."""


class ForkedThreadsWarning(SkmindWarning):
    """The process was forked after torch used several threads; torch now uses one thread."""
