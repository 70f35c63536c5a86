"""The BFF: the HTTP API in front of everything, and the page of `web/`.

`app` opens it and says which routes there are; `server` speaks HTTP/1.1; `endpoints` makes a route of a typed function;
`accounts`, `profiles`, `chats`, `operations` and `site` answer; `problems` says what went wrong.
"""

from bff.app import Bff, open_bff

__all__ = ["Bff", "open_bff"]
