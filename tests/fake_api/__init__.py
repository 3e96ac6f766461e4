"""A fake of the DefiLlama and Artemis HTTP APIs on a real loopback socket; every value in it is made up.

with FakeApi(latency=0.02, rate_limit=100) as api:
    subprocess.run([...], env=os.environ | api.environment())
    assert api.max_in_any_second() <= 12
"""

from tests.fake_api.faults import FAULT_KINDS, Options
from tests.fake_api.server import FakeApi, Request

__all__ = ["FAULT_KINDS", "FakeApi", "Options", "Request"]
