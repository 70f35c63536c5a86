"""The services that every gRPC server of ours adds to its own, for probes, balancers and tools such as grpcurl."""

from collections.abc import Sequence

from rookery.purerpc_compat import Servicer
from shared.rpc.server.health import HealthService
from shared.rpc.server.reflection import ProtoFiles, ReflectionService, ReflectionServiceV1Alpha
from shared.rpc.standard import health_pb2, reflection_pb2, reflection_v1alpha_pb2
from shared.telemetry.health import Health

REFLECTION = tuple(
    module.DESCRIPTOR.services_by_name["ServerReflection"].full_name
    for module in (reflection_pb2, reflection_v1alpha_pb2)
)
"""The full names of both versions of reflection."""

STANDARD_SERVICES = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, *REFLECTION)
"""The full names of all."""


def standard_services(servicers: Sequence[Servicer], health: Health) -> list[Servicer]:
    """Return the health of the process, and reflection of the servicers and of these services themselves.

    They need no token: they reveal only whether the process is ready, and the public content of `protos/`.
    """
    names = [servicer.service.name for servicer in servicers]
    files = ProtoFiles([*names, *STANDARD_SERVICES])
    return [HealthService(health, names), ReflectionService(files), ReflectionServiceV1Alpha(files)]
