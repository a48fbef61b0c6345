"""The real devices that tests run: boards in QEMU, Zephyr servers, a serial server, their images.

Each is a context manager that gives a device which answers, and leaves nothing behind; one whose
program is not installed skips the test and says what is missing.

    with mps2("raw", image=board_image("mps2", "1.2.3", build="raw")) as lock:
        restore(lock.url)
"""

from devicekit.asking import ask
from devicekit.boards import M0, M0_SLOTS, MPS2_BUILDS, MPS2_SLOTS, Mps2, Slot, m0, mps2
from devicekit.firmware import firmware, fixtures
from devicekit.images import Damage, board_image, damaged, new_key, payload
from devicekit.native_sim import NATIVE_SIM_BUILDS, NativeSim, native_sim
from devicekit.running import Running, until
from devicekit.ser2net import Ser2net, ser2net

__all__ = [
    "M0",
    "M0_SLOTS",
    "MPS2_BUILDS",
    "MPS2_SLOTS",
    "NATIVE_SIM_BUILDS",
    "Damage",
    "Mps2",
    "NativeSim",
    "Running",
    "Ser2net",
    "Slot",
    "ask",
    "board_image",
    "damaged",
    "firmware",
    "fixtures",
    "m0",
    "mps2",
    "native_sim",
    "new_key",
    "payload",
    "ser2net",
    "until",
]
