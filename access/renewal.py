"""Credentials that renew themselves: one acquisition at a time, ahead of expiry, and never anybody else's.

Nothing here knows where credentials come from; `credentials.py` hands in how to obtain them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.credentials import Credentials, ReadOnlyCredentials

from access.trace import seconds_left
from errors import DeadlineExceeded, UnreadableConfiguration

log = logging.getLogger("aws_ops.credentials")
_FAILURE_MEMORY_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Obtained:
    """Frozen credentials and when they end, in seconds since the epoch; None for those that never do."""

    frozen: ReadOnlyCredentials = field(repr=False)
    expires_at: float | None = None


class RenewingCredentials(Credentials):  # type: ignore[misc]  # botocore has no types
    """What a client signs with.

    The signer asks `get_frozen_credentials()` at every attempt:

    - fresh: answered at once;
    - within the renewal window: answered at once, and one thread renews behind;
    - expired or never obtained: one caller obtains while the others wait for its result;
    - without an end: looked up again every few minutes behind, since files may come to hold others;
    - obtaining failed: still valid credentials serve on; else the failure is raised, and for a few seconds to
      everybody, so that a broken identity does not hammer STS.
    """

    def __init__(self, obtain: Callable[[], Obtained]) -> None:
        self.method = "aws-ops"
        self._obtain = obtain
        self._lock = threading.Lock()
        self._current: Obtained | None = None
        self._window = self._since = 0.0
        self._failure: tuple[float, BaseException, bool] | None = None
        self._renewing = False

    def __repr__(self) -> str:
        return "RenewingCredentials()"

    # botocore reads these three on some paths; they are the frozen ones' at that moment.
    @property
    def access_key(self) -> str:
        return str(self.get_frozen_credentials().access_key)

    @property
    def secret_key(self) -> str:
        return str(self.get_frozen_credentials().secret_key)

    @property
    def token(self) -> str | None:
        return self.get_frozen_credentials().token  # type: ignore[no-any-return]

    @property
    def account_id(self) -> str | None:
        return self.get_frozen_credentials().account_id  # type: ignore[no-any-return]

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        current = self._current
        left = _seconds_left(current)
        if current is not None and left > self._window:
            if current.expires_at is None and time.monotonic() - self._since > _LOOK_AGAIN_SECONDS:
                self._renew_behind()
            return current.frozen
        if current is not None and left > min(5.0, self._window / 4):
            self._renew_behind()
            return current.frozen
        return self._obtain_once(current).frozen

    @property
    def expires_at(self) -> float | None:
        """When the credentials that sign now end, in seconds since the epoch; None where they never do."""
        self.get_frozen_credentials()
        return self._current.expires_at if self._current is not None else None

    def renew(self, signed_as: str | None = None, *, older_than: float = 0.0) -> bool:
        """Forget the credentials held; the next signature obtains new ones. Tell whether that is so.

        Args:
            signed_as: The Authorization header of a request whose credentials AWS called expired. Where it was signed
                with others than those held, somebody has renewed them already.
            older_than: Keep those that were obtained fewer seconds ago: they have not expired.
        """
        current = self._current
        if current is not None and (signed_as is None or current.frozen.access_key in signed_as):
            if time.monotonic() - self._since < older_than:
                return False
            self._current = None
        return True

    def recheck(self) -> None:
        """Obtain anew what never expires by itself, so that vanished or changed credentials are noticed."""
        if self._current is None or self._current.expires_at is not None:
            self.get_frozen_credentials()
            return
        with self._locked():  # whoever signs meanwhile goes on with what is held
            try:
                self._keep(self._obtain())
            except UnreadableConfiguration:  # it says nothing of those held, which serve on
                return
            except Exception:
                self._current = None
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for one's turn to obtain, no longer than the call at hand may take: another's may never end."""
        left = seconds_left()
        if not self._lock.acquire(timeout=-1 if left is None else left):
            raise DeadlineExceeded("The call ran out of time.", next_step="Retry.")
        try:
            yield
        finally:
            self._lock.release()

    def _keep(self, obtained: Obtained) -> None:
        self._window, self._since = _window(obtained), time.monotonic()
        self._failure, self._current = None, obtained

    def _renew_behind(self) -> None:
        if self._renewing or self._recent_failure(ahead=True) is not None:
            return
        self._renewing = True
        threading.Thread(target=self._renew_quietly, name="renew-credentials", daemon=True).start()

    def _renew_quietly(self) -> None:
        try:
            self._obtain_once(self._current)
        except Exception as error:  # those held are still valid; should they end, the failure is raised then
            log.warning("credentials could not be renewed ahead of time", extra={"error": type(error).__name__})
        finally:
            self._renewing = False

    def _obtain_once(self, seen: Obtained | None) -> Obtained:
        with self._locked():
            if self._current is not None and self._current is not seen:
                return self._current
            ahead = _seconds_left(seen) > 0
            if (failure := self._recent_failure(ahead)) is None:
                try:
                    obtained = self._obtain()
                except DeadlineExceeded:  # this caller's own time ran out; the next one tries with his
                    raise
                except Exception as error:
                    self._failure = (time.monotonic(), failure := error, ahead)
                else:
                    self._keep(obtained)
                    return obtained
            if seen is not None and _seconds_left(seen) > 0:
                return seen
            raise failure.with_traceback(None)  # it is raised more than once, and would gather frames

    def _recent_failure(self, ahead: bool) -> BaseException | None:
        """Return what a new attempt need not find out again; one that failed ahead of the end says nothing after it."""
        if self._failure is None:
            return None
        when, failure, was_ahead = self._failure
        old = time.monotonic() - when > _FAILURE_MEMORY_SECONDS
        return None if old or (was_ahead and not ahead) else failure


def _seconds_left(obtained: Obtained | None) -> float:
    if obtained is None:
        return 0.0
    return float("inf") if obtained.expires_at is None else obtained.expires_at - time.time()


def _window(obtained: Obtained) -> float:
    """How long before the end renewal starts: a fifth of the session's length, 15 minutes at most."""
    left = _seconds_left(obtained)
    return 0.0 if left == float("inf") else min(max(left, 0.0) / 5, 900.0)
