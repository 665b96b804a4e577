"""Types that several threads use for the first time at once."""

import subprocess
import sys

from tests.unit.test_architecture import MODULES, ROOT

# Threads take turns as often as they can, each round with types that nobody has used before.
ROUNDS = """
import sys, threading
import msgspec
from ledgermind_obs.dbt.decoding import decode

sys.setswitchinterval(1e-7)
for number in range(100):
    kind = int
    for depth in range(12):
        fields = [("inner", kind | None, None), *((f"text{n}", str, "") for n in range(6))]
        kind = msgspec.defstruct(f"Type{number}_{depth}", fields)
    together = threading.Barrier(6)

    def work(kind=kind, together=together):
        together.wait()
        assert decode(b'{"inner": {"text1": "x"}}', kind).inner.text1 == "x"

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_decode_a_new_type_at_once_do_not_crash() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_types_are_learnt_in_one_place() -> None:
    decoding = [m for m in MODULES if "json.Decoder(" in (ROOT / m).read_text()]
    typed = [m for m in MODULES if ", type=" in (ROOT / m).read_text() and m not in decoding]

    # The log's types are its own, and are learnt while it is imported.
    assert decoding == ["dbt/decoding.py", "dbt/log.py"]
    assert not [m for m in typed if "json.decode(" in (ROOT / m).read_text()]
