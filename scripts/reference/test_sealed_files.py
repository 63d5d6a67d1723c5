"""Tests of what writes files of a lake again: they are, byte for byte, those that the engine wrote."""
import glob
import os
import unittest

from crash_suites import sealed_files as sealed
from crash_suites.xxh3 import xxh3_64, xxh3_128

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden", "v2")
# The file of the test `format_is_the_one_that_lakes_were_written_with` of src/engine/format/state.rs.
STATE = bytes.fromhex(
    "4857535441544500020000003e0000000467617465021101020353756d0304526f6c6c030300050004eafbdbc9ba8be38c1c0105020989bfa1e3f49cd5f39a01"
    "00ff070000c2a9cec6d380a0832d6c8b6c75cdc4ad7b5d69ddeb1f53d53b66697665070707070707070707")
ALL_64, ALL_128 = 0x75533e42e25de785, 0xdf99c3b63115d922807ec4bfb62c6efb


class SealedFiles(unittest.TestCase):
    def test_manifests(self):
        paths = [path for path in glob.glob(os.path.join(GOLDEN, "*.json")) if not path.endswith("pieces.json")]
        self.assertTrue(paths)
        for path in paths:
            content = sealed.read(path)
            self.assertEqual(sealed.sealed_manifest(sealed.manifest(content)), content, path)

    def test_a_changed_byte_of_a_manifest_is_found(self):
        content = bytearray(sealed.read(os.path.join(GOLDEN, "claim.json")))
        content[10] ^= 1
        with self.assertRaises(ValueError):
            sealed.manifest(bytes(content))

    def test_segments(self):
        content = sealed.read(os.path.join(GOLDEN, "segment.json.gz"))
        texts = sealed.unfolded(sealed.lines(content))
        self.assertGreater(len(texts), 1)
        for text in texts:
            sealed.manifest(text)
        again = sealed.packed(sealed.folded(texts))
        self.assertEqual(sealed.unfolded(sealed.lines(again)), texts)

    def test_state_files(self):
        paths = glob.glob(os.path.join(GOLDEN, "lake", "**", "*.state"), recursive=True)
        for content in [STATE, *map(sealed.read, paths)]:
            file = sealed.State.read(content)
            self.assertEqual(file.sealed().content, content)
            for section in file.sections:
                self.assertEqual(section.checksum, xxh3_64(section.content))
        file = sealed.State.read(STATE)
        self.assertEqual((file.job, file.generation, file.epoch, file.worker), ("gate", 2, 17, 1))
        self.assertEqual([(one.operator, one.shard, one.kind, one.content) for one in file.sections], [(0, 5, 0, b"five"), (1, 5, 2, b"\x07" * 9), (0, 1023, 0, b"")])

    def test_checksums_of_all_lengths(self):
        """By a checksum over the checksums, which the C library gives, too."""
        data = bytes(number * 7 % 256 for number in range(3000))
        lengths = [*range(1100), *range(2030, 2060), 3000]
        self.assertEqual(xxh3_64(b"".join(xxh3_64(data[:length]).to_bytes(8, "little") for length in lengths)), ALL_64)
        self.assertEqual(xxh3_128(b"".join(xxh3_128(data[:length]).to_bytes(16, "little") for length in lengths[17:])), ALL_128)
