"""The control changes of groups, which the gateway that owns the home partition of a group makes in order.

- `forms`: the form of a request; `commands`: the control change that a request makes of a roster, or its refusal. Both
  are pure.
- `sequencer`: makes one control change of a chat after the other, also over retries, failures and takeovers.
- `service`: the gRPC service.
"""
