"""purerpc beside a newer h2: importing it leaves h2 as it was."""

import subprocess
import sys

CHECK = """
import h2.connection, h2.stream
before = dict(h2.stream._transitions)
methods = h2.connection.H2Connection.data_to_send, h2.connection.H2Connection.clear_outbound_data_buffer
import shared.rpc
assert h2.stream._transitions == before
assert (h2.connection.H2Connection.data_to_send, h2.connection.H2Connection.clear_outbound_data_buffer) == methods
"""


def test_importing_purerpc_leaves_h2_as_it_was() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True)
