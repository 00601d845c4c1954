"""Joins the images of several clients into one batch for the network."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from faceproof.errors import FaceproofError
from faceproof.inference.predictor import stack_fitted
from faceproof.inference.verdicts import Fitted, Verdict

Judging = Callable[[Fitted], list[Verdict]]


class Batches:
    """Has an image wait a little for those of other threads, and judges them together.

    The first one waits and judges for all. It waits no longer once as many are there as there can
    be.

    Args:
        judge: returns the verdicts on a batch, such as `Predictor.judge`.
        most: how many threads there are, and so images of a batch.
        seconds: how long the first image waits; with 0 each is judged at once and by itself.
    """

    def __init__(self, judge: Judging, most: int, seconds: float) -> None:
        self._judge = judge
        self._most = most
        self._seconds = seconds
        self._changed = threading.Condition()
        self._waiting: list[tuple[Fitted, Future[Verdict]]] = []

    def judge(self, image: Fitted) -> Verdict:
        """Return the verdict on an image that `Predictor.fit` has fitted.

        Raises:
            FaceproofError: its score is not finite.
        """
        if not self._seconds:
            (verdict,) = self._judge(stack_fitted([image]))
            return verdict
        own: Future[Verdict] = Future()
        with self._changed:
            self._waiting.append((image, own))
            leads = len(self._waiting) == 1
            self._changed.notify_all()
        if leads:
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) >= self._most, self._seconds)
                batch, self._waiting = self._waiting, []
            self._settle(batch)
        return own.result()

    def _settle(self, batch: list[tuple[Fitted, "Future[Verdict]"]]) -> None:
        """Judge a batch, and hand each verdict or error to who waits for it."""
        try:
            verdicts = self._judge(stack_fitted([image for image, _ in batch]))
        except FaceproofError as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for one in batch:  # the error is of one image, and must not be every client's
                self._settle([one])
        except BaseException as error:
            for _, waits in batch:
                waits.set_exception(error)
        else:
            for (_, waits), verdict in zip(batch, verdicts, strict=True):
                waits.set_result(verdict)
