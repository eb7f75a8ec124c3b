"""What Schemathesis cannot know: how a batch is written."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_context, value):
    """One line, whatever it is."""
    return json.dumps(value).encode() + b"\n"
