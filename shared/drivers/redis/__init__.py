"""What Rookery needs of Redis, for Trio: commands, scripts, and notices of what other processes did.

`client.py` is what the rest uses; `link.py` is the only file that knows the library, `subscriber.py` the thread that
listens.
"""

from shared.drivers.redis.client import RedisClient, open_redis
from shared.drivers.redis.link import Reply, Word

__all__ = ["RedisClient", "Reply", "Word", "open_redis"]
