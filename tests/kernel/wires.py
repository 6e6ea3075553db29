# SPDX-License-Identifier: Apache-2.0
"""The wires that the tests run over, and how much they carry in a test."""

import cable


class Clean:
    bulk_bytes = 16 << 20
    short_count = 2000

    def lay(self):
        return cable.Cable()

    def check(self, laid):
        laid.close()


class Lossy:
    """Three of a hundred segments are lost, each way."""
    bulk_bytes = 2 << 20
    short_count = 300

    def lay(self):
        return cable.Cable(lossy=True)

    def check(self, laid):
        dropped = laid.dropped()
        laid.close()
        if len(dropped) != 2 or 0 in dropped:
            raise AssertionError(f"dropped each way: {dropped}")


class Scrambled:
    """Some segments are overtaken by later ones, some come twice."""
    bulk_bytes = 2 << 20
    short_count = 300

    def lay(self):
        return cable.Cable(scrambled=True)

    def check(self, laid):
        reordered, repeated, lost = laid.close() or (0, 0, 0)
        if reordered == 0 or repeated == 0 or lost != 0:
            raise AssertionError(f"reordered {reordered}, repeated {repeated}, lost {lost}")
