"""Ask the server in this container one probe: exit 0 if it answers 200, else say what it answered and exit 1.

For the health checks of the image and of Compose, where there is no curl. Not part of the server.
"""

import http.client
import os
import sys

# http.client and not urllib, which would send this through a proxy that the environment names.
connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("MCP_PORT", "8100")), timeout=2)
try:
    connection.request("GET", sys.argv[1])
    answer = connection.getresponse()
    body = answer.read(1000).decode(errors="replace")
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.exit(0 if answer.status == 200 else body)
