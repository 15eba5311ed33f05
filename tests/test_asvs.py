"""docs/asvs.md: every requirement of levels 1 and 2, with a status and paths that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([12]) \| (\S+) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
# The numbers of ASVS 5.0.0, by section. A star marks level 1, all others are level 2.
# https://github.com/OWASP/ASVS/tree/v5.0.0_release/5.0
NUMBERS = """
1.1: 1 2
1.2: 1* 2* 3* 4* 5* 6 7 8 9
1.3: 1* 2* 3 4 5 6 7 8 9 10 11
1.4: 1 2 3
1.5: 1* 2
2.1: 1* 2 3
2.2: 1* 2* 3
2.3: 1* 2 3 4
2.4: 1
3.2: 1* 2*
3.3: 1* 2 3 4
3.4: 1* 2* 3 4 5 6
3.5: 1* 2* 3* 4 5
3.7: 1 2
4.1: 1* 2 3
4.2: 1
4.3: 1 2
4.4: 1* 2 3 4
5.1: 1
5.2: 1* 2* 3
5.3: 1* 2*
5.4: 1 2 3
6.1: 1* 2 3
6.2: 1* 2* 3* 4* 5* 6* 7* 8* 9 10 11 12
6.3: 1* 2* 3 4
6.4: 1* 2* 3 4
6.5: 1 2 3 4 5
6.6: 1 2 3
6.8: 1 2 3 4
7.1: 1 2 3
7.2: 1* 2* 3* 4*
7.3: 1 2
7.4: 1* 2* 3 4 5
7.5: 1 2
7.6: 1 2
8.1: 1* 2
8.2: 1* 2* 3
8.3: 1*
8.4: 1
9.1: 1* 2* 3*
9.2: 1* 2 3 4
10.1: 1 2
10.2: 1 2
10.3: 1 2 3 4
10.4: 1* 2* 3* 4* 5* 6 7 8 9 10 11
10.5: 1 2 3 4 5
10.6: 1 2
10.7: 1 2 3
11.1: 1 2
11.2: 1 2 3
11.3: 1* 2* 3
11.4: 1* 2 3 4
11.5: 1
11.6: 1
12.1: 1* 2 3
12.2: 1* 2*
12.3: 1 2 3 4
13.1: 1
13.2: 1 2 3 4 5
13.3: 1 2
13.4: 1* 2 3 4 5
14.1: 1 2
14.2: 1* 2 3 4
14.3: 1* 2 3
15.1: 1* 2 3
15.2: 1* 2 3
15.3: 1* 2 3 4 5 6 7
16.1: 1
16.2: 1 2 3 4 5
16.3: 1 2 3 4
16.4: 1 2 3
16.5: 1 2 3
17.1: 1
17.2: 1 2 3 4
17.3: 1 2
"""

rows = ROW.findall((ROOT / "docs" / "asvs.md").read_text())


def test_no_requirement_is_missing_and_none_is_invented() -> None:
    expected = {}
    for line in NUMBERS.strip().splitlines():
        section, _, numbers = line.partition(": ")
        for number in numbers.split():
            expected[f"{section}.{number.rstrip('*')}"] = "1" if number.endswith("*") else "2"

    assert len(rows) == len(expected) == 253
    assert {number: level for number, level, *_ in rows} == expected


@pytest.mark.parametrize("number", [row[0] for row in rows])
def test_row_has_a_status_a_reason_and_paths_that_exist(number: str) -> None:
    _, _, status, words, where = next(row for row in rows if row[0] == number)
    paths = re.findall(r"`([^`]+)`", where)

    assert status in ("met", "n/a", "open")
    assert len(words) > 5
    assert bool(paths) == (status == "met") or status == "open"
    assert [path for path in paths if not (ROOT / path).exists()] == []
