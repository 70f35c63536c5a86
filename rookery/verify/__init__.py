"""The checker: clients on both transports that write to each other while someone kills servers, and what was lost.

    async with open_verification(Plan(urls=("http://127.0.0.1:8080",))) as run:
        await run.until(accepted=3_000)
        ...  # kill something
        result = await run.finish()

`records` is what is written down, `judge` what is made of it; `participant` is one client, `crowd` those who only get
in the way, `histories` reads the pages at the end, `run` holds all of it together and `result` shows what it came to.
"""

from rookery.verify.judge import Kind, Violation
from rookery.verify.plan import Plan, VerifyError
from rookery.verify.result import Result
from rookery.verify.run import Run, open_verification

__all__ = ["Kind", "Plan", "Result", "Run", "VerifyError", "Violation", "open_verification"]
