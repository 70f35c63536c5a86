"""Redis on Trio: commands, scripts, and notifications by other processes.

Other packages use `client.py`. Only `link.py` imports the library; `subscriber.py` has the thread that listens.
"""

from shared.drivers.redis.client import RedisClient, open_redis
from shared.drivers.redis.link import Argument, Reply

__all__ = ["Argument", "RedisClient", "Reply", "open_redis"]
