"""The project's own AWS: an endpoint for every service that can fail on request, and remembers what it was asked.

The client half is exported here; the server half runs in a process of its own (`python -m tests.standin`), so that the
server under test shares no interpreter lock with it. Nothing imported here imports moto.
"""

from tests.standin.client import Standin
from tests.standin.records import BASE_ACCOUNT, Call, Fault

__all__ = ["BASE_ACCOUNT", "Call", "Fault", "Standin"]
