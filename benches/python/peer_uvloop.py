"""asyncio on uvloop's event loop."""

import uvloop

import peer_asyncio
from peer_asyncio import *

peer_asyncio.run = uvloop.run
