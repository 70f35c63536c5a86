"""Redis on Trio: commands, scripts, and notifications by other processes.

Other packages use `client.py` and `messages.py`. Only `link.py` imports the library; `listening.py` has the threads
that listen.
"""

from shared.drivers.redis.client import RedisClient, open_redis
from shared.drivers.redis.link import Argument, Reply

__all__ = ["Argument", "RedisClient", "Reply", "open_redis"]
