"""Users of a load upload and download files while others chat, on a real platform."""

import pytest

from rookery.load.report import show
from rookery.load.run import Plan, run
from tools.launch.process import Rookery


@pytest.mark.parametrize(("size", "is_refused"), [(300_000, False), (1 << 40, True)])
async def test_files_are_uploaded_and_downloaded_beside_messages(rookery: Rookery, size: int, is_refused: bool) -> None:
    result = await run(Plan(rookery.url, users=2, files=2, file_bytes=size, rate=20, seconds=1, warm_up=0.5))
    assert result.report.lost == 0
    assert result.files is not None
    assert result.files.failures == ({"too_large": 2} if is_refused else {})
    assert (result.files.uploaded_per_second > 0) == (result.files.downloaded_per_second > 0) == (not is_refused)
    assert " by 2 users" in show(result, as_json=False)
