"""The memory budget of a large pull: the engine's own process, and everything it starts for it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.image_files import Image, Layer, file, tar
from tests.integration.registry import RealRegistry

ENGINE_MAX_MIB = 100
EVERYTHING_MAX_MIB = 150
LAYER_BYTES = 100 << 20

PROGRAM = """
import asyncio, json, sys, threading, time
sys.path.insert(0, {root!r})
from pathlib import Path
from bench.pull import Memory
from runtime.config import RegistryConfig
from tests.integration.runtime.images.conftest import Engine, HASTY, told

async def main():
    engine = Engine(Path({place!r}), {{{host!r}: RegistryConfig({host!r}, insecure=True)}}, {{}}, HASTY)
    await engine.images.start()
    import os
    with Memory(os.getpid()) as memory:
        messages = await told(engine.images.pull("{host}/large:latest"))
    assert "error" not in messages[-1], messages[-1]
    await engine.images.close()
    print(json.dumps([memory.engine_mib, memory.all_mib]))

asyncio.run(main())
"""


async def test_a_large_pull_stays_within_its_memory(real_registry: RealRegistry, place: Path) -> None:
    noise = os.urandom(LAYER_BYTES // 2)
    layers = [Layer(tar(file(f"f{at}", noise + bytes([at]) * (LAYER_BYTES // 2)))) for at in range(4)]
    real_registry.put("large", "latest", Image(layers))
    root = str(Path(__file__).resolve().parents[4])
    program = PROGRAM.format(root=root, place=str(place), host=real_registry.host)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    engine_mib, all_mib = json.loads(done.stdout)
    assert engine_mib < ENGINE_MAX_MIB
    assert all_mib < EVERYTHING_MAX_MIB
