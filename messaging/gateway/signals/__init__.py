"""Signals: typing, presence and changed profiles, which reach sessions at once or never.

All sessions of a user are on the gateway that owns their partition, so that the owner knows whether the user is online
(`presences.py`). Sessions watch users of any partition (`watches.py`): their gateway asks the owners, which answer with
the present state, and send each change. Both sides remember little, and repair themselves: a gateway asks again every
minute, and when a partition gets another owner.
"""
