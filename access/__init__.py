"""Who calls, as whom at AWS, and whether they may; botocore is first imported from here.

botocore imports its C library, awscrt, where that is installed: 70 ms of every start. Only profiles made by `aws login`
need it, and `sources.py` loads it for those.
"""

import sys

if "botocore.compat" not in sys.modules and "awscrt" not in sys.modules:
    sys.modules["awscrt"] = None  # type: ignore[assignment]  # not to be found, while botocore looks
    try:
        import botocore.compat  # noqa: F401 - so that it looks now
    finally:
        del sys.modules["awscrt"]
