"""The checker: clients write to each other while someone kills servers, and every broken promise is reported.

    async with open_verification(Plan(urls=("http://127.0.0.1:8080",))) as run:
        await run.until(accepted=3_000)
        ...  # kill something
        result = await run.finish()

`participant` is one client, which `absences` interrupts and which sends by `pipeline`, and `background_load` adds
churning and slow ones; `records` are the observations, `feeds` records the answers that a client reads after a Gap,
`histories` and `chat_lists` read the chats at the end, `checker` finds the violations, and `run` is one run with its
`result`. `files` uploads files during the run, and reads them at the end. `groups` changes the members of groups during
the run, and `membership` derives the rights and recipients of each member.
"""

from rookery.verify.plan import Plan, VerifyError
from rookery.verify.result import Result
from rookery.verify.run import Run, open_verification
from rookery.verify.violations import Kind, Violation

__all__ = ["Kind", "Plan", "Result", "Run", "VerifyError", "Violation", "open_verification"]
