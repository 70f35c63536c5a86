"""The services that every gRPC server of ours adds to its own, for probes, balancers and tools such as grpcurl."""

from collections.abc import Sequence

from rookery.purerpc_compat import Servicer
from shared.rpc.server.health import HealthService
from shared.rpc.server.reflection import ProtoFiles, ReflectionService, ReflectionServiceV1Alpha
from shared.rpc.standard import health_pb2, reflection_pb2, reflection_v1alpha_pb2
from shared.telemetry.health import Health

STANDARD_SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (health_pb2, "Health"),
        (reflection_pb2, "ServerReflection"),
        (reflection_v1alpha_pb2, "ServerReflection"),
    )
)
"""Their full names."""


def standard_services(servicers: Sequence[Servicer], health: Health) -> list[Servicer]:
    """Return the health of the process, and reflection of the servicers and of these services themselves.

    They need no token: they reveal only whether the process is ready, and the public content of `protos/`.
    """
    names = [servicer.service.name for servicer in servicers]
    files = ProtoFiles([*names, *STANDARD_SERVICES])
    return [HealthService(health, names), ReflectionService(files), ReflectionServiceV1Alpha(files)]
