"""The contract as Python: generated from proto/ when this is imported, never committed.

The one thing to believe: this client knows nothing of the hub but proto/bellboard/v1. What is generated lives in a
temporary folder that goes with the process.
"""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

try:
    import grpc_tools
    from grpc_tools import protoc
except ImportError as missing:
    raise SystemExit(f"{missing}; './recipe tools python' installs it, and bellboard-python runs with it") from missing

ROOT = Path(__file__).resolve().parents[3]
PROTO = ROOT / "proto"


def generate():
    """Runs protoc over the contract and puts the result on the import path."""
    out = tempfile.mkdtemp(prefix="bellboard-python-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    files = [str(path.relative_to(PROTO)) for path in sorted(PROTO.glob("bellboard/v1/*.proto"))]
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    includes = [f"-I{PROTO}", f"-I{PROTO / 'third_party'}", f"-I{well_known}"]
    status = protoc.main(["protoc", *includes, f"--python_out={out}", f"--grpc_python_out={out}", *files])
    if status != 0:
        raise SystemExit(f"the contract does not compile as Python (protoc ended with {status})")
    sys.path.insert(0, out)


generate()

# Re-exported, so that everyone else imports from here and nobody before the code is there.
from bellboard.v1 import event_pb2 as event  # noqa: E402
from bellboard.v1 import interest_pb2 as interest  # noqa: E402
from bellboard.v1 import item_payload_pb2 as item_payload  # noqa: E402
from bellboard.v1 import session_events_service_pb2 as session_events  # noqa: E402
from bellboard.v1 import session_events_service_pb2_grpc as session_events_grpc  # noqa: E402
from bellboard.v1 import session_pb2 as session  # noqa: E402
from bellboard.v1 import subscribe_service_pb2 as subscribe  # noqa: E402
from bellboard.v1 import subscribe_service_pb2_grpc as subscribe_grpc  # noqa: E402

__all__ = [
    "ROOT",
    "event",
    "interest",
    "item_payload",
    "session",
    "session_events",
    "session_events_grpc",
    "subscribe",
    "subscribe_grpc",
]
